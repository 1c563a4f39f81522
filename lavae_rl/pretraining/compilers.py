"""The compilers that ``torch.compile`` calls."""

import os
import subprocess
import sys
from shutil import which


def check_compiler(device: str) -> None:
    """Refuse ``--compile`` where the compiler is missing that it needs on a device, "cpu" or "cuda".

    Raises:
        ValueError: no compiler; PyTorch itself would say so after minutes, in a hundred lines.
    """
    language, variable, known = ("C", "CC", ("gcc", "clang")) if device == "cuda" else ("C++", "CXX", _cpp())
    named = os.environ.get(variable)
    compilers = known if named is None else (named,)
    if not any(map(_works, compilers)):
        found = f"found no {' or '.join(compilers)}" + ("" if named is None else f" (by {variable})")
        raise ValueError(
            f"expected a {language} compiler for --compile, {found}: install one, name one by {variable}, or go on "
            "without, by --no-compile"
        )


def _cpp() -> tuple[str, ...]:
    return ({"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"),)


def _works(compiler: str) -> bool:
    if which(compiler) is None:
        return False
    if sys.platform == "win32":  # whose compiler takes no such flag
        return True
    try:
        return subprocess.run([compiler, "--version"], capture_output=True).returncode == 0
    except OSError:
        return False
