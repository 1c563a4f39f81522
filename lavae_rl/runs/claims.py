"""Folders that a program works in: empty at the start, and its own as long as it takes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from lavae_rl.runs.atomic import is_leftover
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.locks import locked


@contextmanager
def claimed(folder: Path, work: str = "trains") -> Iterator[None]:
    """Hold a folder for this process alone. Raises FileExistsError where another process ``work``s in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(lock := folder / ".lock", timeout=0):
            try:
                yield
            finally:
                with suppress(OSError):  # Windows removes no file that is open
                    lock.unlink()
    except Timeout as error:
        raise FileExistsError(f"another process {work} in {folder}; wait for it, or choose another --out") from error


@contextmanager
def claimed_run(folder: Path, resume: bool, *allowed: str) -> Iterator[None]:
    """Hold the folder of a run, new or resumed; see ``claimed``, and for a new one ``check_empty``."""
    with claimed(folder):
        if not resume:  # another process may have trained here since this one has looked
            check_empty(folder, *allowed)
        yield


def check_empty(folder: Path, *allowed: str) -> None:
    """Refuse a folder that holds something, but for names that are allowed and what a killed process left.

    Raises:
        FileExistsError: it does, or it is a file.
    """
    if not folder.exists():
        return
    if not folder.is_dir() or any(entry.name not in allowed and not is_leftover(entry) for entry in folder.iterdir()):
        there = "; continue that run with --resume, or"
        if not (folder / CONFIG_FILE).exists():
            there = f", but no {CONFIG_FILE} for --resume to continue from;"
        raise FileExistsError(f"{folder} holds another run or other files{there} choose an empty folder with --out")
