"""Versions of installed packages."""

import platform
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def own_version() -> str:
    """Version of this package: what the checkout that it lies in states, or else that of the installed distribution."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    if not project.is_file():
        return _version("lavae-rl")
    return str(tomllib.loads(project.read_text())["project"]["version"])


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of packages, by name."""
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    # On servers, OpenCV often goes by the name of another distribution.
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
