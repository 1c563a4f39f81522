"""Versions of installed packages."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of packages, by name."""
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def _version(package: str) -> str:
    # On servers, OpenCV often goes by the name of another distribution.
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
