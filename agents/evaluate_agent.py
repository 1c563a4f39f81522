"""Measures a trained agent on other numbers of objects, and films it.

    python agents/evaluate_agent.py bundled:OddOneOut --num-objects 3 4 5 6 7 --video agent.gif

*chance* is the random baseline, the success rate of going to objects at random; intervals are Wilson's, of 95 %.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import progress as bars
from rich.console import Console
from rich.table import Table

from lavae_rl.pictures import write_gif
from lavae_rl.rl.agents import SavedAgent, find_run, load_agent
from lavae_rl.rl.observations import require
from lavae_rl.rl.run import AgentRun
from lavae_rl.rl.success import SuccessRate, success_rate
from lavae_rl.rl.vec_envs import make_run_vec_env, make_task_env
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.shapes import Picture

TEST_SEED = 2_000_000
"""First seed of these episodes: used neither in training nor in its evaluations."""
VIDEO_EPISODES = 3
"""Episodes of each number of objects in a video."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        saved = load_agent(find_run(args.run), device=choose_device(args.device))
        if args.model is None:
            saved.run.check_model()
        else:
            saved.run.model = args.model
        check(args, saved.run)
        trained = saved.run.preset.num_objects
        args.num_objects = args.num_objects or range(np.min(trained), np.max(trained) + 1)
        results = evaluate(args, saved, console)
        console.print(table(results))
        if args.json is not None:
            args.json.write_text(json.dumps(results, indent=2) + "\n")
        if args.video is not None:
            write_gif(args.video, film(args, saved), fps=6.0)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("run", help="run folder, or bundled:TASK for an agent that comes with the package")
    parser.add_argument("--num-objects", type=int, nargs="+", help="numbers to test (default: as in training)")
    mode = "test: held-out combinations (default: train)"
    parser.add_argument("--mode", choices=["train", "test"], default="train", help=mode)
    parser.add_argument("--episodes", type=int, default=500, help="per number of objects (default: 500)")
    parser.add_argument("--stochastic", action="store_true", help="sample actions (default: the likeliest ones)")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help=f"of the episodes (default: {TEST_SEED})")
    parser.add_argument("--model", help="that makes the observations (default: as in training)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="of policy and perception (default: cpu)")
    parser.add_argument("--video", type=Path, metavar="FILE.gif", help="film some episodes")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser.parse_args(argv)


def check(args: argparse.Namespace, run: AgentRun) -> None:
    """Refuse flags that cannot be followed, before hours are spent on the others."""
    if not 0 <= args.seed < 2**31:
        raise ValueError(f"expected --seed of 0 to {2**31 - 1}, got {args.seed}")
    for file in (args.video, args.json):
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"the folder of {file} does not exist; make it first")
        if file is not None and file.is_dir():
            raise IsADirectoryError(f"expected a file to write to, got the folder {file}")
    if args.model is not None:
        require("--model", run.observation, lambda kind: kind.wrap)
    if args.video is not None:
        require("--video", run.observation, lambda kind: kind.watch)
        if args.video.suffix.lower() != ".gif":
            raise ValueError(f"expected --video as a file that ends in .gif, got {args.video}")


def evaluate(args: argparse.Namespace, saved: SavedAgent, console: Console) -> dict[str, Any]:
    """Measure success for each number of objects, under a progress bar."""
    agent, run = saved
    same = {"seed": args.seed, "device": agent.device.type, "mode": args.mode}
    # All environments first: a number that the task cannot have is refused before the others are tested.
    venvs = {number: make_run_vec_env(run, 50, num_objects=number, **same) for number in args.num_objects}
    agent.set_random_seed(args.seed)  # for --stochastic
    rows = []
    columns = bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeRemainingColumn()
    with bars.Progress(*columns, bars.TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=args.episodes * len(venvs))
        for number, venv in venvs.items():

            def show(rate: SuccessRate, number: int = number) -> None:
                bar.update(task, advance=1, description=f"{number} objects  success {rate.rate:.2f}")

            measured = success_rate(agent.predict, venv, args.episodes, not args.stochastic, show)
            row = {"num_objects": number, "success_rate": measured.rate, "ci95": list(measured.ci95)}
            rows.append(row | {"chance": venv.get_attr("chance")[0], "episodes": measured.episodes})
    asked = {"observation": run.observation, "mode": args.mode, "stochastic": args.stochastic}
    return {"env": f"LAVAE/{run.task}-v0", **asked, "results": rows}


def table(results: dict[str, Any]) -> Table:
    """The results as a table to print."""
    combinations = "combinations of the training" if results["mode"] == "train" else "held-out combinations"
    actions = "sampled" if results["stochastic"] else "likeliest"
    title = f"{results['env']}, {results['observation']}, {combinations}, {actions} actions"
    table = Table("objects", "success", "95 %", "chance", "episodes", title=title)
    for row in results["results"]:
        rates = f"{row['success_rate']:.3f}", "{:.3f} to {:.3f}".format(*row["ci95"]), f"{row['chance']:.3f}"
        table.add_row(str(row["num_objects"]), *rates, str(row["episodes"]))
    return table


def film(args: argparse.Namespace, saved: SavedAgent) -> Iterator[tuple[Picture, int]]:
    """Pictures of a few episodes for each number of objects, with their durations in frames."""
    agent, run = saved
    for number in args.num_objects:
        env: Any = make_task_env(run.task, run.observation, run.model, num_objects=number, mode=args.mode)
        for episode in range(VIDEO_EPISODES):
            observation, _ = env.reset(seed=args.seed + episode)
            over = False
            while not over:
                yield env.render(), 1
                action, _ = agent.predict(observation, deterministic=not args.stochastic)
                observation, _, terminated, truncated, _ = env.step(action)
                over = terminated or truncated
            yield env.render(), 8  # the last picture of an episode stays longer


if __name__ == "__main__":
    main()
