"""Measure a trained agent, for our tasks also on other numbers of objects, and film it.

    python agents/evaluate_agent.py bundled:OddOneOut --num-objects 3 4 5 6 7 --video agent.gif
    python agents/evaluate_agent.py runs/pong-agent --episodes 20 --json pong.json

The installed command is lavae-evaluate-agent.

Of our tasks it measures success: *chance* is the random baseline, the success rate of going to objects at random;
intervals are Wilson's, of 95 %. Of other environments it measures the return, with Student's interval of its mean;
*random* is the mean return of as many episodes of random actions.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich import progress as bars
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.pictures import gif
from lavae_rl.rl.agents import SavedAgent, find_run, load_agent
from lavae_rl.rl.environments import is_task
from lavae_rl.rl.observations import require
from lavae_rl.rl.run import AgentRun, read_run, usual_episodes
from lavae_rl.rl.scores import Episode, MeanReturn, play_episodes
from lavae_rl.rl.success import SuccessRate
from lavae_rl.rl.vec_envs import MOST_TEST_ENVS, make_run_env, make_run_vec_env
from lavae_rl.runs.atomic import optional
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.shapes import Picture

TEST_SEED = 2_000_000
"""First seed of these episodes: used neither in training nor in its evaluations."""
VIDEO_EPISODES, VIDEO_STEPS = 3, 600
"""Episodes of each number of objects in a video, one of other environments, and most steps of each."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        folder = find_run(args.run)
        run = read_run(folder)
        check(args, run)
        if args.model is None:
            run.check_model()
        with optional(args.video) as video:
            with optional(args.json) as file:
                saved = load_agent(folder, device=choose_device(args.device), model=args.model)
                results = evaluate(args, saved, console)
                console.print(table(results))
                if file is not None:
                    file.write_text(json.dumps(results, indent=2) + "\n")
            if video is not None:
                video.write_bytes(gif(film(args, saved), fps=6.0 if is_task(run.task) else 15.0))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("run", help="run folder, or bundled:TASK for one of the package; runs no code from it")
    numbers = "numbers of objects to test, for our tasks (default: as in training)"
    parser.add_argument("--num-objects", type=int, nargs="+", help=numbers)
    mode = "train, or test for held-out combinations, for our tasks (default: train)"
    parser.add_argument("--mode", choices=["train", "test"], help=mode)
    episodes = "per number of objects (default: 500; 20 where the environment is none of our tasks)"
    parser.add_argument("--episodes", type=int, help=episodes)
    parser.add_argument("--stochastic", action="store_true", help="sample actions (default: the likeliest ones)")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help=f"seed of the episodes (default: {TEST_SEED})")
    parser.add_argument("--model", help="model that makes the observations (default: as in training)")
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="device of policy and perception (default: cpu)"
    )
    parser.add_argument("--video", type=Path, metavar="FILE.gif", help="film some episodes")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser.parse_args(argv)


def check(args: argparse.Namespace, run: AgentRun) -> None:
    """Refuse flags that cannot be followed, before hours are spent on the others, and set what was not given."""
    if not 0 <= args.seed < 2**31:
        raise ValueError(f"expected --seed of 0 to {2**31 - 1}, got {args.seed}")
    if not is_task(run.task) and (args.num_objects or args.mode):
        raise ValueError(f"expected --num-objects and --mode with one of our tasks, got them with {run.task}")
    args.mode = args.mode or "train"
    args.episodes = usual_episodes(run.task) if args.episodes is None else args.episodes
    if args.episodes < 1:
        raise ValueError(f"expected at least one episode, got --episodes {args.episodes}")
    if args.model is not None:
        require("--model", run.observation, lambda kind: kind.wrap)
    if args.video is not None:
        require("--video", run.observation, lambda kind: kind.watch)
        if args.video.suffix.lower() != ".gif":
            raise ValueError(f"expected --video as a file that ends in .gif, got {args.video}")


def evaluate(args: argparse.Namespace, saved: SavedAgent, console: Console) -> dict[str, Any]:
    """Measure each of the conditions asked for, under a progress bar."""
    agent, run = saved
    same = {"seed": args.seed, "device": agent.device.type}
    most = min(MOST_TEST_ENVS, args.episodes)
    # All environments first: a number that the task cannot have is refused before the others are tested.
    tested = [(asked, make_run_vec_env(run, most, **same, **asked)) for asked in conditions(args, run)]
    agent.set_random_seed(args.seed)  # for --stochastic
    rows = []
    columns = bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeRemainingColumn()
    with bars.Progress(*columns, bars.TextColumn("{task.description}"), console=console, transient=True) as bar:
        task = bar.add_task("", total=args.episodes * len(tested))
        for asked, venv in tested:

            def show(played: Sequence[Episode], number: int | None = asked.get("num_objects")) -> None:
                text = f"return {MeanReturn.of(played).mean:.1f}"
                if number is not None:
                    text = f"{number} objects  success {SuccessRate.of(played).rate:.2f}"
                bar.update(task, advance=1, description=text)

            played = play_episodes(agent.predict, venv, args.episodes, not args.stochastic, show)
            rows.append(success_row(asked["num_objects"], played, venv) if asked else return_row(args, played, venv))
    name = f"LAVAE/{run.task}-v0" if is_task(run.task) else run.task
    mode = {"mode": args.mode} if is_task(run.task) else {}
    return {"env": name, "observation": run.observation, **mode, "stochastic": args.stochastic, "results": rows}


def conditions(args: argparse.Namespace, run: AgentRun) -> list[dict[str, Any]]:
    """Options of the environments to test in: of our tasks those for each number of objects, of others none."""
    if not is_task(run.task):
        return [{}]
    trained: Any = run.preset.num_objects
    numbers = args.num_objects or range(np.min(trained), np.max(trained) + 1)
    return [{"num_objects": int(number), "mode": args.mode} for number in numbers]


def success_row(number: int, played: Sequence[Episode], venv: VecEnv) -> dict[str, Any]:
    """The success with a number of objects, beside the random baseline."""
    measured = SuccessRate.of(played)
    row = {"num_objects": number, "success_rate": measured.rate, "ci95": list(measured.ci95)}
    return row | {"chance": venv.get_attr("chance")[0], "episodes": measured.episodes}


def return_row(args: argparse.Namespace, played: Sequence[Episode], venv: VecEnv) -> dict[str, Any]:
    """The mean return, beside that of random actions."""
    measured = MeanReturn.of(played)
    row = {"mean_return": measured.mean, "ci95": list(measured.ci95), "episodes": len(played)}
    row["mean_steps"] = fmean(episode.steps for episode in played)
    venv.action_space.seed(args.seed)
    venv.seed(args.seed)

    def act(observations: Any, deterministic: bool) -> tuple[np.ndarray, None]:
        return np.array([venv.action_space.sample() for _ in range(venv.num_envs)]), None

    return row | {"random_return": MeanReturn.of(play_episodes(act, venv, args.episodes)).mean}


def table(results: dict[str, Any]) -> Table:
    """The results as a table to print."""
    actions = "sampled" if results["stochastic"] else "likeliest"
    if "mode" not in results:
        title = f"{results['env']}, {results['observation']}, {actions} actions"
        table = Table("return", "95 %", "random", "episodes", "steps per episode", title=title)
        for row in results["results"]:
            mean, random = (f"{row[name]:.2f}" for name in ("mean_return", "random_return"))
            interval, steps = "{:.2f} to {:.2f}".format(*row["ci95"]), f"{row['mean_steps']:,.0f}"
            table.add_row(mean, interval, random, str(row["episodes"]), steps)
        return table
    combinations = "combinations of the training" if results["mode"] == "train" else "held-out combinations"
    title = f"{results['env']}, {results['observation']}, {combinations}, {actions} actions"
    table = Table("objects", "success", "95 %", "chance", "episodes", title=title)
    for row in results["results"]:
        rates = f"{row['success_rate']:.3f}", "{:.3f} to {:.3f}".format(*row["ci95"]), f"{row['chance']:.3f}"
        table.add_row(str(row["num_objects"]), *rates, str(row["episodes"]))
    return table


def film(args: argparse.Namespace, saved: SavedAgent) -> Iterator[tuple[Picture, int]]:
    """Pictures of a few episodes for each condition, with their durations in frames."""
    agent, run = saved
    for asked in conditions(args, run):
        env: Any = make_run_env(run, **asked)
        for episode in range(VIDEO_EPISODES if asked else 1):
            observation, _ = env.reset(seed=args.seed + episode)
            over, steps = False, 0
            memory: dict[str, Any] = {}  # of recurrent policies
            while not over and steps < VIDEO_STEPS:
                yield env.render(), 1
                action, state = agent.predict(observation, deterministic=not args.stochastic, **memory)
                memory = {} if state is None else {"state": state, "episode_start": np.zeros(1, bool)}
                observation, _, terminated, truncated, _ = env.step(action)
                over, steps = terminated or truncated, steps + 1
            yield env.render(), 8  # the last picture of an episode stays longer


if __name__ == "__main__":
    main()
