"""Provenance: the part of config.json that somebody else needs to repeat a run."""

import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from lavae_rl.runs.programs import PROGRAMS
from lavae_rl.runs.versions import installed_versions

PACKAGES = ("lavae-rl", "torch", "numpy", "opencv-python", "gymnasium", "stable-baselines3")


@dataclass(frozen=True)
class Provenance:
    """A process that trained."""

    command: str
    """Command line, as it is typed in the root of a checkout or after an installation."""
    commit: str
    """Abbreviated commit of the checkout, with "+changes" where tracked files differ; "unknown" outside of one."""
    versions: dict[str, str]
    """Versions of Python and of ``PACKAGES``, by name."""
    machine: dict[str, str | int]
    """Name of the "processor", and number of "threads" of PyTorch."""

    @classmethod
    def here(cls) -> "Provenance":
        """The provenance of this process."""
        root, program = Path(__file__).parents[2], Path(sys.argv[0])
        program = program.relative_to(root) if program.is_relative_to(root) else program
        start = [program.name] if program.name in PROGRAMS.values() else ["python", str(program)]
        return cls(
            command=shlex.join([*start, *sys.argv[1:]]),
            commit=_commit(),
            versions=installed_versions(PACKAGES),
            machine={"processor": _processor(), "threads": torch.get_num_threads()},
        )


def _commit() -> str:
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8", "replace").splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
