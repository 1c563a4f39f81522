"""Trains agents on tasks x observations x seeds, tests them with several numbers of objects, and draws the results.

    python agents/benchmark.py                    # two tasks, one seed
    python agents/benchmark.py --full --jobs 2    # all tasks; lavae, oracle, pixels; three seeds: many hours

It can be resumed: complete agents are kept, interrupted ones go on. Several of these programs can share one --out; each
agent is trained by one of them. The report gains the complete ones of the agents asked for, and keeps all others.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape

from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.registration import TASKS, task_name
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.report import TESTS_FILE, write_report
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.exits import EXIT_FAILED, clean_exit, program_parser
from lavae_rl.runs.sweep import check_steps, running, sweep

QUICK = (["ObjectGoal", "OddOneOut"], ["lavae", "oracle"], [0])
FULL = (list(TASKS), ["lavae", "oracle", "pixels"], [0, 1, 2])
"""Tasks, observations and seeds."""

MODES = ("train", "test")
"""Attribute combinations of the training, and combinations held out from it."""


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
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("--full", action="store_true", help="all tasks, three observations, three seeds")
    parser.add_argument("--tasks", nargs="+", help=f"of {', '.join(TASKS)} (default: {' '.join(QUICK[0])})")
    parser.add_argument(
        "--observations", nargs="+", choices=list(OBSERVATIONS), help=f"(default: {' '.join(QUICK[1])})"
    )
    parser.add_argument("--archs", nargs="+", choices=ARCHITECTURES, help="of set networks (default: the presets')")
    parser.add_argument("--vae", help="folder of the baseline that observation vae needs, for the sprites of the tasks")
    parser.add_argument("--seeds", nargs="+", type=int, help="(default: 0; with --full 0 1 2)")
    parser.add_argument("--steps", type=int, help="environment steps of each agent (default: the task's preset)")
    parser.add_argument("--episodes", type=int, default=500, help="of each test (default: 500)")
    jobs = "agents trained at a time, sharing the cores unless OMP_NUM_THREADS is set (default: 1)"
    parser.add_argument("--jobs", type=int, default=1, help=jobs)
    parser.add_argument("--out", type=Path, default=Path("runs/agents"), help="(default: runs/agents)")
    parser.add_argument("--report", type=Path, help="folder for the CSV files, agents.md and the PNGs (default: --out)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 complete, 1 failed or incomplete, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        cells = chosen_cells(args)
    check, work = partial(is_complete, args=args), partial(complete, args=args)
    done = sweep(cells, args.out, args.jobs, check, work, console)
    report = args.report or args.out
    write_report([args.out / cell.name for cell, ready in zip(cells, done, strict=True) if ready], report)
    console.print(f"{sum(done)} of {len(cells)} agents complete; table and plots in {escape(str(report))}")
    if not all(done):
        sys.exit(EXIT_FAILED)


def chosen_cells(args: argparse.Namespace) -> list[Cell]:
    """The agents asked for, one seed after the other, so that a table of everything is there early."""
    for name in ("jobs", "episodes"):
        if getattr(args, name) < 1:
            raise ValueError(f"expected --{name} of at least 1, got {getattr(args, name)}")
    tasks, observations, seeds = FULL if args.full else QUICK
    if args.steps is not None and args.report not in (None, args.out):
        raise ValueError("expected --report with the presets' own --steps: other runs stay in --out")
    observations = args.observations or observations
    if (args.vae is None) == any(OBSERVATIONS[name].needs_model for name in observations):
        needing = " or ".join(name for name, kind in OBSERVATIONS.items() if kind.needs_model)
        raise ValueError(f"expected --vae FOLDER with --observations {needing}, and only then")
    cells = []
    for seed, name, observation in itertools.product(args.seeds or seeds, args.tasks or tasks, observations):
        task = task_name(name)
        usual = preset_for(task).arch
        archs = args.archs if args.archs and OBSERVATIONS[observation].reads_tokens else [usual]
        cells += [Cell(task, observation, seed, None if arch == usual else arch) for arch in archs]
    return cells


def is_complete(cell: Cell, folder: Path, args: argparse.Namespace) -> bool:
    """Whether an agent is trained, and tested in as many episodes as are asked for."""
    check_steps(folder, "preset", preset_for(cell.task).steps if args.steps is None else args.steps)
    return is_tested(folder, cell.task, args.episodes)


def is_tested(folder: Path, task: str, episodes: int) -> bool:
    """Whether an agent has been tested with all numbers of objects, in this many episodes each."""
    try:
        tests = json.loads((folder / TESTS_FILE).read_text())
        done = {(test["mode"], row["num_objects"], row["episodes"]) for test in tests for row in test["results"]}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or a damaged file: it is tested again
        return False
    return done == set(itertools.product(MODES, TASKS[task].tested, [episodes]))


def complete(cell: Cell, folder: Path, args: argparse.Namespace) -> None:
    """Train an agent to the end, from where an earlier run stopped, and test it in both modes."""

    def execute(program: str, *options: str) -> None:
        with running(Path(__file__).with_name(program), options, folder, args.jobs):
            pass

    if (folder / CONFIG_FILE).exists():
        execute("train_agent.py", "--out", str(folder), "--resume")
    else:
        given = {"--steps": args.steps, "--arch": cell.arch}
        given["--model"] = args.vae if OBSERVATIONS[cell.observation].needs_model else None
        flags = [text for flag, value in given.items() if value is not None for text in (flag, str(value))]
        agent = ["--env", cell.task, "--observation", cell.observation, "--seed", str(cell.seed)]
        execute("train_agent.py", *agent, *flags, "--out", str(folder))
    tests = []
    for mode in MODES:
        file = folder / f"{mode}.json"
        options = ["--num-objects", *map(str, TASKS[cell.task].tested), "--mode", mode, "--json", str(file)]
        execute("evaluate_agent.py", str(folder), *options, "--episodes", str(args.episodes))
        tests.append(json.loads(file.read_text()))
        file.unlink()
    (folder / TESTS_FILE).write_text(json.dumps(tests, indent=2) + "\n")


if __name__ == "__main__":
    main()
