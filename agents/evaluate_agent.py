"""Measures a trained agent on other numbers of objects, and shows it at work.

    python agents/evaluate_agent.py bundled:OddOneOut --num-objects 3 4 5 6 7 --video agent.gif

*chance* is the success rate of going to objects at random; the interval is Wilson's, of 95 % confidence.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from rich.console import Console
from rich.table import Table

from lavae_rl.pictures import write_gif
from lavae_rl.rl.agents import SavedAgent, find_run, load_agent
from lavae_rl.rl.settings import check_model
from lavae_rl.rl.success import success_rate
from lavae_rl.rl.vec_envs import make_run_vec_env, make_task_env
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import clean_exit
from lavae_rl.shapes import Picture

TEST_SEED = 2_000_000
"""Seeds of these episodes begin here: neither in training nor in its evaluations."""

VIDEO_EPISODES = 3
"""Episodes of each number of objects in a video."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    args, console = parse_args(argv), Console(highlight=False, soft_wrap=True)
    with clean_exit(console):
        saved = load_agent(find_run(args.run), device=choose_device(args.device))
        if args.model is None:
            check_model(saved.facts)
        else:
            saved = SavedAgent(saved.agent, {**saved.facts, "model": args.model})
        check(args, saved)
        results = evaluate(args, saved)
        console.print(table(results))
        if args.json is not None:
            args.json.write_text(json.dumps(results, indent=2) + "\n")
        if args.video is not None:
            write_gif(args.video, record(args, saved), fps=6.0)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", help="run folder, or bundled:TASK for an agent that comes with the package")
    parser.add_argument("--num-objects", type=int, nargs="+", help="numbers to test (default: as in training)")
    parser.add_argument(
        "--mode", choices=["train", "test"], default="train", help="test: held-out looks (default: train)"
    )
    parser.add_argument("--episodes", type=int, default=500, help="per number of objects (default: 500)")
    parser.add_argument("--stochastic", action="store_true", help="sample actions (default: the likeliest ones)")
    parser.add_argument("--seed", type=int, default=TEST_SEED, help=f"of the episodes (default: {TEST_SEED})")
    parser.add_argument("--model", help="LAVAE or, for vae, baseline that it sees by (default: as in training)")
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="of policy and perception (default: cpu)")
    parser.add_argument("--video", type=Path, metavar="FILE.gif", help="record some episodes, with what the agent sees")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser.parse_args(argv)


def check(args: argparse.Namespace, saved: SavedAgent) -> None:
    """Refuses what cannot be done before hours are spent on the rest."""
    if not 0 <= args.seed < 2**31:
        raise ValueError(f"expected --seed of 0 to {2**31 - 1}, got {args.seed}")
    for file in (args.video, args.json):
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"the folder of {file} does not exist; make it first")
        if file is not None and file.is_dir():
            raise IsADirectoryError(f"expected a file to write to, got the folder {file}")
    if args.model is not None and saved.facts["observation"] not in ("lavae", "vae"):
        raise ValueError(f"expected --model for an agent on lavae or vae, got one on {saved.facts['observation']}")
    if args.video is not None and args.video.suffix.lower() != ".gif":
        raise ValueError(f"expected --video as a file that ends in .gif, got {args.video}")
    if args.video is not None and saved.facts["observation"] == "vae":
        raise ValueError("expected an agent on lavae, oracle or pixels for --video, got one on vae")


def numbers(args: argparse.Namespace, saved: SavedAgent) -> Sequence[int]:
    """Numbers of objects to test: those asked for, or those of the training."""
    trained = saved.facts["preset"]["num_objects"]
    return args.num_objects or ([trained] if isinstance(trained, int) else range(trained[0], trained[1] + 1))


def evaluate(args: argparse.Namespace, saved: SavedAgent) -> dict[str, Any]:
    """Success for each number of objects."""
    facts = saved.facts
    # All of them first: a number that the task does not have is to be told before the others are tested.
    venvs = {
        number: make_run_vec_env(
            facts, 50, seed=args.seed, device=saved.agent.device.type, num_objects=number, mode=args.mode
        )
        for number in numbers(args, saved)
    }
    saved.agent.set_random_seed(args.seed)  # for --stochastic
    rows = []
    for number, venv in venvs.items():
        measured = success_rate(saved.agent.predict, venv, args.episodes, not args.stochastic)
        rows.append(
            {
                "num_objects": number,
                "success_rate": measured.rate,
                "ci95": list(measured.ci95),
                "chance": venv.get_attr("chance")[0],
                "episodes": measured.episodes,
            }
        )
    env_id = f"LAVAE/{facts['task']}-v0"
    asked = {"observation": facts["observation"], "mode": args.mode, "stochastic": args.stochastic}
    return {"env": env_id, **asked, "results": rows}


def table(results: dict[str, Any]) -> Table:
    """The results, to be read."""
    looks = "looks of the training" if results["mode"] == "train" else "held-out looks"
    actions = "sampled" if results["stochastic"] else "likeliest"
    title = f"{results['env']}, {results['observation']}, {looks}, {actions} actions"
    table = Table("objects", "success", "95 %", "chance", "episodes", title=title)
    for row in results["results"]:
        low, high = row["ci95"]
        table.add_row(
            str(row["num_objects"]),
            f"{row['success_rate']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{row['chance']:.3f}",
            str(row["episodes"]),
        )
    return table


def record(args: argparse.Namespace, saved: SavedAgent) -> Iterator[tuple[Picture, int]]:
    """Pictures of a few episodes of each number of objects, the last of each seen for longer."""
    facts = saved.facts
    for number in numbers(args, saved):
        env = make_task_env(facts["task"], facts["observation"], facts["model"], num_objects=number, mode=args.mode)
        for episode in range(VIDEO_EPISODES):
            seen, _ = env.reset(seed=args.seed + episode)
            over = False
            while not over:
                yield picture(env), 1
                action, _ = saved.agent.predict(seen, deterministic=not args.stochastic)
                seen, _, terminated, truncated, _ = env.step(action)
                over = terminated or truncated
            yield picture(env), 8


def picture(env: gym.Env[Any, Any]) -> Picture:
    """What the environment renders."""
    rendered: Any = env.render()
    return rendered


if __name__ == "__main__":
    main()
