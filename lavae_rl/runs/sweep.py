"""Many runs of our programs for one table: each has its folder, is kept when complete and resumed otherwise."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape

from lavae_rl.runs.config import CONFIG_FILE, read_json
from lavae_rl.runs.exits import EXIT_STOPPED

_PROGRAMS: set["subprocess.Popen[bytes]"] = set()
"""The programs at work: whoever stops a sweep stops them too."""


class RunError(Exception):
    """A run that failed, or whose folder holds another run; the message says what to do."""


@runtime_checkable
class Cell(Protocol):
    """One run of a table."""

    @property
    def name(self) -> str:
        """Name of its folder."""


AnyCell = TypeVar("AnyCell", bound=Cell)


def sweep(
    cells: Sequence[AnyCell],
    out: Path,
    jobs: int,
    is_complete: Callable[[AnyCell, Path], bool],
    work: Callable[[AnyCell, Path], None],
    console: Console,
) -> list[bool]:
    """Complete runs, each in its folder in ``out``, except those that another process works on.

    Ctrl-C and SIGTERM also stop the programs at work, and exit with EXIT_STOPPED.

    Args:
        cells: the runs.
        out: folder of their folders.
        jobs: number of runs at a time.
        is_complete: whether nothing is left to do in a folder. May raise RunError.
        work: completes a run in a folder. May raise RunError, which is shown; the others go on.
        console: for messages.

    Returns:
        Whether each run is complete.
    """

    def complete(cell: AnyCell) -> bool:
        return _complete(cell, out / cell.name, is_complete, work, console)

    out.mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool = ThreadPoolExecutor(jobs)
    try:
        return list(pool.map(complete, cells))
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(_PROGRAMS):
            process.terminate()
        console.print("stopped; the same command goes on")
        sys.exit(EXIT_STOPPED)
    finally:
        pool.shutdown(cancel_futures=True)
        signal.signal(signal.SIGTERM, before)


def _complete(
    cell: AnyCell,
    folder: Path,
    is_complete: Callable[[AnyCell, Path], bool],
    work: Callable[[AnyCell, Path], None],
    console: Console,
) -> bool:
    """Complete one run, print whether that worked or why not, and return it."""
    try:
        with FileLock(f"{folder}.lock", timeout=0):
            if not is_complete(cell, folder):
                console.print(f"{cell.name}: see {escape(str(log_file(folder)))}")
                work(cell, folder)
                console.print(f"{cell.name}: complete")
            return True
    except (RunError, Timeout) as error:
        why = "another process is at it" if isinstance(error, Timeout) else f"[red]{escape(str(error))}[/]"
        console.print(f"{cell.name}: {why}")
    return False


def check_steps(folder: Path, settings: str, steps: int) -> None:
    """Refuse a run folder whose run has another number of steps than the run asked for.

    Args:
        folder: of the run.
        settings: the entry of its config.json that holds its "steps".
        steps: their expected number.

    Raises:
        RunError: the run has another number, or its config.json is not one of a training.
    """
    if not (folder / CONFIG_FILE).exists():
        return
    try:
        found = f"{read_json(folder)[settings]['steps']:,} steps"
    except (KeyError, TypeError, ValueError) as error:
        found = f"no config.json of a training ({error})"
    if found != f"{steps:,} steps":
        raise RunError(f"has {found}, expected {steps:,} steps; remove {folder} or choose another --out")


@contextmanager
def running(program: Path, options: Sequence[str], folder: Path, jobs: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program on a run until it ends. Its output goes to ``log_file``.

    Args:
        program: path of the program.
        options: its command line.
        folder: of the run.
        jobs: runs at a time; each has its share of the cores, unless OMP_NUM_THREADS is set.

    Raises:
        RunError: its exit status is not 0.
    """
    threads = str(max((os.cpu_count() or 1) // jobs, 1))
    log = log_file(folder)
    with log.open("a") as stream:
        process = subprocess.Popen(
            [sys.executable, str(program), *options],
            env={"OMP_NUM_THREADS": threads} | os.environ,
            stdout=stream,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for us alone; the sweep passes it on, once
        )
        _PROGRAMS.add(process)
        try:
            yield process
            status = process.wait()
        finally:
            _PROGRAMS.discard(process)
    if status in (EXIT_STOPPED, -signal.SIGTERM):
        raise RunError("stopped")
    if status:
        raise RunError(f"exit status {status}\n{log.read_text()[-2_000:]}")


def log_file(folder: Path) -> Path:
    """The log of a run: beside its folder, which has to be empty for a new run."""
    return folder.with_name(folder.name + ".log")
