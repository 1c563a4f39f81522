"""Train agents on tasks x observations x seeds, test them with several numbers of objects, and draw the results.

    python agents/benchmark.py                    # two tasks, one seed
    python agents/benchmark.py --full --jobs 2    # all tasks; lavae, oracle, pixels; three seeds: many hours
    python agents/benchmark.py --tasks ALE/Pong-v5 --observations lavae pixels --seeds 0 1 2

The installed command is lavae-benchmark-agents.

It can be resumed: complete agents are kept, interrupted ones go on. Several of these programs can share one --out; each
agent is trained by one of them. The report gains the complete ones of the agents asked for, and keeps all others.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.markup import escape

from lavae_rl.model.checkpoint import find
from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.registration import TASKS
from lavae_rl.rl.environments import environment_name, is_task
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.report import TESTS_FILE, write_report
from lavae_rl.rl.run import usual_episodes
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.exits import EXIT_FAILED, clean_exit
from lavae_rl.runs.sweep import check_flags, check_steps, running, sweep, sweep_parser

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
        return f"{self.task.replace('/', '-')}-{self.observation}{arch}-seed{self.seed}"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = sweep_parser(__doc__, seeds="0; with --full 0 1 2", out="runs/agents")
    parser.add_argument("--full", action="store_true", help="all tasks, three observations, three seeds")
    tasks = f"tasks of {', '.join(TASKS)}, or ids of other environments (default: {' '.join(QUICK[0])})"
    parser.add_argument("--tasks", nargs="+", help=tasks)
    observations = f"(default: {' '.join(QUICK[1])})"
    parser.add_argument("--observations", nargs="+", choices=list(OBSERVATIONS), help=observations)
    parser.add_argument(
        "--archs", nargs="+", choices=ARCHITECTURES, help="architectures of set networks (default: the presets')"
    )
    parser.add_argument("--vae", help="folder of the baseline that observation vae needs, for the sprites of the tasks")
    episodes = "episodes of each test (default: 500, and 20 where an environment is none of our tasks)"
    parser.add_argument("--episodes", type=int, help=episodes)
    parser.set_defaults(out=Path("runs/agents"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 complete, 1 failed or incomplete, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        cells = {cell.name: cell for cell in chosen_cells(args)}
    done, report = sweep(cells, args, is_complete, complete, console), args.report or args.out
    write_report([args.out / name for name, ready in done.items() if ready], report)
    console.print(f"{sum(done.values())} of {len(done)} agents complete; table and plots in {escape(str(report))}")
    if not all(done.values()):
        sys.exit(EXIT_FAILED)


def chosen_cells(args: argparse.Namespace) -> list[Cell]:
    """The agents asked for, one seed after the other, so that a table of everything is there early."""
    check_flags(args)
    if args.episodes is not None and args.episodes < 1:
        raise ValueError(f"expected --episodes of at least 1, got {args.episodes}")
    tasks, observations, seeds = FULL if args.full else QUICK
    observations = args.observations or observations
    if (args.vae is None) == any(OBSERVATIONS[name].needs_model for name in observations):
        needing = " or ".join(name for name, kind in OBSERVATIONS.items() if kind.needs_model)
        raise ValueError(f"expected --vae FOLDER with --observations {needing}, and only then")
    if args.vae is not None:
        find(args.vae)  # a folder that is missing is refused before anything is trained
    cells = []
    for seed, name, observation in itertools.product(args.seeds or seeds, args.tasks or tasks, observations):
        task = environment_name(name)
        usual = preset_for(task).arch
        archs = args.archs if args.archs and OBSERVATIONS[observation].reads_tokens else [usual]
        cells += [Cell(task, observation, seed, None if arch == usual else arch) for arch in archs]
    return cells


def is_complete(cell: Cell, folder: Path, args: argparse.Namespace) -> bool:
    """Return whether an agent is trained, and tested in enough episodes with each of the numbers of objects."""
    check_steps(folder, "preset", preset_for(cell.task).steps if args.steps is None else args.steps)
    try:
        tests = json.loads((folder / TESTS_FILE).read_text())
        rows = [(test.get("mode"), row) for test in tests for row in test["results"]]
        done = {(mode, row.get("num_objects"), row["episodes"]) for mode, row in rows}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or a damaged file: it is tested again
        return False
    asked = (MODES, TASKS[cell.task].tested) if is_task(cell.task) else ([None], [None])
    return done == set(itertools.product(*asked, [args.episodes or usual_episodes(cell.task)]))


def complete(cell: Cell, folder: Path, args: argparse.Namespace) -> None:
    """Train an agent to the end, from where an earlier run stopped, and test it in both modes."""

    def execute(program: str, *options: str) -> None:
        with running(Path(__file__).with_name(program), options, folder, args.jobs):
            pass

    options = ["--resume"]
    if not (folder / CONFIG_FILE).exists():
        options = ["--env", cell.task, "--observation", cell.observation, "--seed", str(cell.seed)]
        vae = args.vae if OBSERVATIONS[cell.observation].needs_model else None
        given = {"--steps": args.steps, "--arch": cell.arch, "--model": vae}
        options += [text for flag, value in given.items() if value is not None for text in (flag, str(value))]
    execute("train_agent.py", *options, "--out", str(folder))
    tests = []
    for mode in MODES if is_task(cell.task) else ("test",):
        file = folder / f"{mode}.json"
        options = ["--json", str(file), "--episodes", str(args.episodes or usual_episodes(cell.task))]
        if is_task(cell.task):
            options += ["--num-objects", *map(str, TASKS[cell.task].tested), "--mode", mode]
        execute("evaluate_agent.py", str(folder), *options)
        tests.append(json.loads(file.read_text()))
        file.unlink()
    with replacing(folder / TESTS_FILE) as temporary:
        temporary.write_text(json.dumps(tests, indent=2) + "\n")


if __name__ == "__main__":
    main()
