"""Many runs of our programs for one table: each has its folder, is kept when complete and resumed otherwise."""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from threading import Lock
from typing import TypeVar

from filelock import Timeout
from rich.console import Console
from rich.markup import escape

from lavae_rl.runs.cluster import RemoteWork, WorkLostError, ray_cluster
from lavae_rl.runs.config import CONFIG_FILE, read_json
from lavae_rl.runs.exits import EXIT_STOPPED, program_parser
from lavae_rl.runs.locks import locked
from lavae_rl.runs.signals import handling

_PROGRAMS: set["subprocess.Popen[bytes]"] = set()
"""The programs at work; stopping a sweep stops them too."""


class RunError(Exception):
    """A run that failed, or whose folder holds another run; the message says what to do."""


Cell = TypeVar("Cell")


def sweep_parser(description: str | None, seeds: str, out: str) -> argparse.ArgumentParser:
    """Make a parser with the flags of all sweeps; the help names ``seeds`` and ``out`` as their defaults."""
    parser = program_parser(description)
    parser.add_argument("--seeds", nargs="+", type=int, help=f"seeds of the runs (default: {seeds})")
    parser.add_argument("--steps", type=int, help="length of each run (default: the preset's)")
    jobs = "runs at a time, sharing the cores unless OMP_NUM_THREADS is set (default: 1)"
    parser.add_argument("--jobs", type=int, default=1, help=jobs)
    engines = "local: on this machine; ray: on a Ray cluster, one core each (default: local)"
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help=engines)
    address = "with --engine ray: address of the cluster, HOST:PORT, auto or local (default: auto)"
    parser.add_argument("--address", help=address)
    parser.add_argument("--out", type=Path, help=f"folder of the runs (default: {out})")
    parser.add_argument("--report", type=Path, help="folder for the tables (default: --out)")
    return parser


def check_flags(args: argparse.Namespace) -> None:
    """Refuse flags of ``sweep_parser`` that cannot be followed, with a ValueError."""
    if args.jobs < 1:
        raise ValueError(f"expected --jobs of at least 1, got {args.jobs}")
    if args.engine == "local" and args.address is not None:
        raise ValueError("expected --address with --engine ray, and only then")
    if args.steps is not None and args.report not in (None, args.out):
        raise ValueError("expected --report with the presets' own --steps: other runs stay in --out")


def sweep(
    cells: Mapping[str, Cell],
    args: argparse.Namespace,
    is_complete: Callable[[Cell, Path, argparse.Namespace], bool],
    work: Callable[[Cell, Path, argparse.Namespace], None],
    console: Console,
) -> dict[str, bool]:
    """Complete runs, each in the folder of its name in ``args.out``, and return by name whether they are complete.

    Runs that another process works on are left to it, others go to ``work`` unless they are complete. Both functions
    may raise RunError, and the rest goes on. Ctrl-C and SIGTERM stop the programs at work and exit with EXIT_STOPPED.

    With ``args.engine`` "ray", ``work`` is done on all cores of a Ray cluster, whose machines share ``args.out``.

    Raises:
        ValueError: no Ray, or no cluster.
    """
    if args.engine == "local":
        return _sweep(cells, args, is_complete, work, _stop_programs, args.jobs, console)
    args.out = args.out.resolve()
    with ray_cluster(args.address or "auto", 1) as cores:
        remote = RemoteWork(work)
        return _sweep(cells, args, is_complete, remote, remote.cancel, cores, console)


def _stop_programs() -> None:
    for process in list(_PROGRAMS):
        process.terminate()


def _sweep(
    cells: Mapping[str, Cell],
    args: argparse.Namespace,
    is_complete: Callable[[Cell, Path, argparse.Namespace], bool],
    work: Callable[[Cell, Path, argparse.Namespace], None],
    stop: Callable[[], None],
    jobs: int,
    console: Console,
) -> dict[str, bool]:
    pace = _Pace(len(cells), jobs)

    def complete(name: str) -> bool:
        folder, job = args.out / name, pace.begin()
        try:
            with locked(folder.with_name(f"{folder.name}.lock"), timeout=0):
                if is_complete(cells[name], folder, args):
                    pace.leave_out()
                    return True
                console.print(f"{job}, {name}: see {escape(str(log_file(folder)))}")
                took = pace.run(lambda: work(cells[name], folder, args))
                console.print(f"{name}: complete in {took}")
                return True
        except (RunError, WorkLostError, Timeout) as error:
            pace.leave_out()
            why = "another process is at it" if isinstance(error, Timeout) else f"[red]{escape(str(error))}[/]"
            console.print(f"{name}: {why}")
            return False

    args.out.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(jobs)
    with handling(signal.default_int_handler, signal.SIGTERM):
        try:
            return dict(zip(cells, pool.map(complete, cells), strict=True))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            stop()
            console.print("stopped; the same command goes on")
            sys.exit(EXIT_STOPPED)
        finally:
            pool.shutdown(cancel_futures=True)


class _Pace:
    """Number of each job, and how long all will take if those to come take as long as those that are over."""

    def __init__(self, total: int, jobs: int) -> None:
        self._total, self._jobs, self._begun, self._left_out = total, jobs, 0, 0
        self._seconds: list[float] = []
        self._lock = Lock()

    def begin(self) -> str:
        with self._lock:
            self._begun += 1
            return f"job {self._begun} of {self._total}"

    def leave_out(self) -> None:
        with self._lock:
            self._left_out += 1

    def run(self, work: Callable[[], None]) -> str:
        """Do the work of a job; return how long it took and, if there are others, how long they will take."""
        started = time.monotonic()
        work()
        seconds = time.monotonic() - started
        with self._lock:
            self._seconds.append(seconds)
            left = self._total - self._left_out - len(self._seconds)
            needed = fmean(self._seconds) * -(-left // self._jobs)
        took = _duration(seconds)
        return f"{took}; {left} to go, in about {_duration(needed)}" if left else took


def _duration(seconds: float) -> str:
    """Hours and minutes, or seconds below two minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def check_steps(folder: Path, settings: str, steps: int) -> None:
    """Refuse a run in a folder whose config.json has another number of "steps" in its entry ``settings``.

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
    """Run a program on a run until it ends; its output goes to ``log_file(folder)``.

    Each of ``jobs`` programs has its share of the cores, unless OMP_NUM_THREADS is set.

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
        told = log.read_text("utf-8", "replace")
        raise RunError(f"exit status {status}\n{told[-2_000:]}")


def log_file(folder: Path) -> Path:
    """The log of a run: beside its folder, which has to be empty for a new run."""
    return folder.with_name(folder.name + ".log")
