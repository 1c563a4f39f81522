"""Trains agents on tasks x observations x seeds, tests each with several numbers of objects; a table and plots.

    python agents/benchmark.py                    # two tasks, one seed
    python agents/benchmark.py --full --jobs 2    # all tasks; lavae, oracle, pixels; three seeds: many hours

Resumable: what is complete is kept, what was interrupted goes on. Any number of these may share one --out: each agent
is trained by one of them. Run once more, it draws the table of all agents there. Agents that the report has already,
from elsewhere, stay in it unless they are trained again.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape

from lavae_rl.learning.agents import POLICIES
from lavae_rl.learning.presets import PRESETS
from lavae_rl.learning.report import TESTS_FILE, write_report
from lavae_rl.learning.vec_envs import OBSERVATIONS
from lavae_rl.model.pretrained import CONFIG_FILE, read_facts
from lavae_rl.perception.set_extractor import ARCHITECTURES
from lavae_rl.registration import task_name

QUICK = (["ObjectGoal", "OddOneOut"], ["lavae", "oracle"], [0])
FULL = (list(PRESETS), ["lavae", "oracle", "pixels"], [0, 1, 2])
"""Tasks, observations and seeds."""

EXIT_STOPPED = 130

MODES = ("train", "test")
"""Looks of the training, and looks held out from it."""

TESTED = {
    "ObjectGoal": range(1, 8),
    "OddOneOut": range(3, 8),
    "OddOneOutProperty": range(4, 8),
    "Push": range(1, 5),
    "Collect": range(2, 8),
    "Largest": range(2, 8),
    "MatchDigit": range(2, 8),
    "DigitOrder": range(2, 7),
}
"""Numbers of objects that agents are tested with."""


class Cell(NamedTuple):
    """One agent of the table."""

    task: str
    observation: str
    seed: int
    arch: str | None
    """Set network that reads the tokens; None is the preset's."""

    @property
    def name(self) -> str:
        """Name of the run folder."""
        arch = f"-{self.arch}" if self.arch else ""
        return f"{self.task}-{self.observation}{arch}-seed{self.seed}"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--full", action="store_true", help="all tasks, three observations, three seeds")
    parser.add_argument("--tasks", nargs="+", help=f"of {', '.join(PRESETS)} (default: {' '.join(QUICK[0])})")
    parser.add_argument("--observations", nargs="+", choices=OBSERVATIONS, help=f"(default: {' '.join(QUICK[1])})")
    parser.add_argument("--archs", nargs="+", choices=ARCHITECTURES, help="that read tokens (default: the presets')")
    parser.add_argument("--vae", help="folder of the baseline that observation vae needs, for the sprites of the tasks")
    parser.add_argument("--seeds", nargs="+", type=int, help="(default: 0; with --full 0 1 2)")
    parser.add_argument("--steps", type=int, help="environment steps of each agent (default: the task's preset)")
    parser.add_argument("--episodes", type=int, default=500, help="of each test (default: 500)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="agents trained at a time, sharing the cores unless OMP_NUM_THREADS is set (default: 1)",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/agents"), help="(default: runs/agents)")
    parser.add_argument("--report", type=Path, help="folder for the CSV files, agents.md and the PNGs (default: --out)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program. Exit status: 0 complete, 1 failed or incomplete, 2 unusable arguments, 130 stopped."""
    args, console = parse_args(argv), Console(highlight=False, soft_wrap=True)
    try:
        cells = chosen_cells(args)
    except ValueError as error:
        console.print(f"[red]error:[/] {escape(str(error))}")
        sys.exit(1)
    args.out.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(args.jobs)
    try:
        complete = list(pool.map(lambda cell: run_cell(cell, args, console), cells))
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on")
        sys.exit(EXIT_STOPPED)
    finally:
        pool.shutdown(cancel_futures=True)
    report = args.report or args.out
    write_report(args.out, report, [cell.name for cell in cells if differs(cell, args.out / cell.name, args)])
    console.print(f"{sum(complete)} of {len(cells)} agents complete; table and plots in {escape(str(report))}")
    if not all(complete):
        sys.exit(1)


def chosen_cells(args: argparse.Namespace) -> list[Cell]:
    """The agents asked for, one seed after the other, so that a table of everything is there early."""
    for name in ("jobs", "episodes"):
        if getattr(args, name) < 1:
            raise ValueError(f"expected --{name} of at least 1, got {getattr(args, name)}")
    tasks, observations, seeds = FULL if args.full else QUICK
    if args.steps is not None and args.report not in (None, args.out):
        raise ValueError("expected --report with the presets' own --steps: other runs stay in --out")
    observations = args.observations or observations
    if (args.vae is None) == ("vae" in observations):
        raise ValueError("expected --vae FOLDER with --observations vae, and only then")
    chosen = itertools.product(args.seeds or seeds, args.tasks or tasks, observations)
    cells = []
    for seed, task, observation in chosen:
        usual = PRESETS[task_name(task)].arch
        archs = [usual] if observation in POLICIES else args.archs or [usual]
        cells += [Cell(task_name(task), observation, seed, None if arch == usual else arch) for arch in archs]
    return cells


def run_cell(cell: Cell, args: argparse.Namespace, console: Console) -> bool:
    """Trains and tests one agent; returns whether it is complete, which it is not while another process is at it."""
    folder = args.out / cell.name
    try:
        with FileLock(f"{folder}.lock", timeout=0):
            if difference := differs(cell, folder, args):
                console.print(
                    f"{cell.name}: [red]{difference}[/]; remove {escape(str(folder))} or choose another --out"
                )
                return False
            if not is_tested(folder, args.episodes):
                console.print(f"{cell.name}: see {escape(str(log_file(folder)))}")
                train(cell, folder, args)
                test(cell, folder, args)
    except Timeout:
        console.print(f"{cell.name}: another process is at it")
        return False
    except subprocess.CalledProcessError as error:
        last = log_file(folder).read_text()[-2_000:]
        console.print(f"{cell.name}: [red]exit status {error.returncode}[/]\n{escape(last)}")
        return False
    console.print(f"{cell.name}: complete")
    return True


def differs(cell: Cell, folder: Path, args: argparse.Namespace) -> str | None:
    """How a run that is there already is another than the one asked for."""
    if not (folder / CONFIG_FILE).exists():
        return None
    steps = PRESETS[cell.task].steps if args.steps is None else args.steps
    try:
        trained = read_facts(folder)["preset"]["steps"]
    except (KeyError, TypeError, ValueError) as error:
        return f"has no config.json of a training ({error})"
    return None if steps == trained else f"has {trained:,} steps of training, expected {steps:,}"


def is_tested(folder: Path, episodes: int) -> bool:
    """Whether a run is complete, tested in so many episodes."""
    if not (folder / TESTS_FILE).exists():
        return False
    tests = json.loads((folder / TESTS_FILE).read_text())
    return all(row["episodes"] == episodes for test in tests for row in test["results"])


def train(cell: Cell, folder: Path, args: argparse.Namespace) -> None:
    """Trains to the end, from where an earlier run stopped."""
    if (folder / CONFIG_FILE).exists():
        execute("train_agent.py", ["--out", str(folder), "--resume"], folder, args)
        return
    options = ["--env", cell.task, "--observation", cell.observation, "--seed", str(cell.seed), "--out", str(folder)]
    if args.steps is not None:
        options += ["--steps", str(args.steps)]
    if cell.arch is not None:
        options += ["--arch", cell.arch]
    if cell.observation == "vae" and args.vae is not None:
        options += ["--model", args.vae]
    execute("train_agent.py", options, folder, args)


def test(cell: Cell, folder: Path, args: argparse.Namespace) -> None:
    """Tests in both modes."""
    tests = []
    for mode in MODES:
        file = folder / f"{mode}.json"
        numbers = [str(number) for number in TESTED[cell.task]]
        options = [str(folder), "--num-objects", *numbers, "--mode", mode, "--episodes", str(args.episodes)]
        execute("evaluate_agent.py", [*options, "--json", str(file)], folder, args)
        tests.append(json.loads(file.read_text()))
        file.unlink()
    (folder / TESTS_FILE).write_text(json.dumps(tests, indent=2) + "\n")


def execute(program: str, options: Sequence[str], folder: Path, args: argparse.Namespace) -> None:
    """Runs a program that stands beside this one, on its share of the cores unless OMP_NUM_THREADS is set."""
    threads = str(max((os.cpu_count() or 1) // args.jobs, 1))
    command = [sys.executable, str(Path(__file__).with_name(program)), *options]
    with log_file(folder).open("a") as log:
        environment = {"OMP_NUM_THREADS": threads} | os.environ
        subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)


def log_file(folder: Path) -> Path:
    """What the programs print goes here: beside the run folder, which has to be empty for a new run."""
    return folder.with_name(folder.name + ".log")


if __name__ == "__main__":
    main()
