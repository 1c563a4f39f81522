"""Where a run comes from: what config.json needs so that somebody else can repeat it."""

import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def provenance() -> dict[str, Any]:
    """Commit, versions, machine and command line of this process."""
    packages = ("lavae-rl", "torch", "numpy", "opencv-python", "gymnasium", "stable-baselines3")
    return {
        "command": shlex.join(["python", _program(), *sys.argv[1:]]),
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "machine": {"processor": _processor(), "threads": torch.get_num_threads()},
    }


def _version(package: str) -> str:
    """Version of a package. On servers, OpenCV often goes by the name of another distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _program() -> str:
    """What was run, as somebody in the root of another checkout calls it."""
    root, program = Path(__file__).parents[2], Path(sys.argv[0])
    return str(program.relative_to(root) if program.is_relative_to(root) else program)


def _commit() -> str:
    """The commit of the checkout this file is in, with "+changes" where tracked files differ; "unknown" elsewhere."""
    here = Path(__file__).parent
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return result.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        if cpuinfo.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
