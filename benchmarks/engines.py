"""Stable-Baselines3 and RLlib on the same task with the same settings: success after as many steps, and steps/s.

    python benchmarks/engines.py --env ObjectGoal --num-objects 2 --steps 122880 --seeds 0 1 --out runs/engines

Runs take turns and are kept: the same command goes on where it was stopped. Every agent is tested in 500 episodes with
the combinations of its training and in 500 with held-out ones. OMP_NUM_THREADS=1 gives every process one thread.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from lavae_rl.rl.run import read_run
from lavae_rl.runs.exits import program_console

ROOT = Path(__file__).parents[1]
MODES = ("train", "test")


def program(name: str, *options: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "agents" / name), *options], check=True, stdout=subprocess.DEVNULL)


def train(folder: Path, engine: str, processes: Sequence[int], options: Sequence[str]) -> None:
    """Train an agent to its end, once."""
    if engine == "sb3":
        name, more = "train_agent.py", []
    else:
        name, more = "train_rllib.py", ["--env-runners", str(processes[0]), "--learners", str(processes[1])]
    begun = (folder / "config.json").exists()
    program(name, "--out", str(folder), *more, *(["--resume"] if begun else options))


def tested(folder: Path, mode: str) -> float:
    """Success in one mode, measured once."""
    file = folder / f"{mode}.json"
    if not file.exists():
        program("evaluate_agent.py", str(folder), "--mode", mode, "--json", str(file))
    return float(json.loads(file.read_text())["results"][0]["success_rate"])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="ObjectGoal", help="(default: ObjectGoal)")
    parser.add_argument("--num-objects", default="2", help="(default: 2)")
    parser.add_argument("--observations", nargs="+", default=["oracle", "lavae"], help="(default: oracle lavae)")
    parser.add_argument("--seeds", nargs="+", default=["0", "1"], help="(default: 0 1)")
    parser.add_argument("--steps", default="122880", help="(default: 122,880)")
    parser.add_argument("--env-runners", type=int, default=0, help="of RLlib (default: 0)")
    parser.add_argument("--learners", type=int, default=0, help="of RLlib (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/engines"), help="(default: runs/engines)")
    args = parser.parse_args(argv)
    processes = (args.env_runners, args.learners)
    columns = ("observation", "seed", "engine", "steps", "success", "held-out combinations", "seconds", "steps/s")
    table = Table(*columns, title=f"{args.env}, {processes[0]} env runners and {processes[1]} learners of RLlib")
    for observation in args.observations:
        for seed in args.seeds:
            for engine in ("sb3", "rllib"):
                kind = engine if engine == "sb3" else f"rllib{processes[0]}-{processes[1]}"
                folder = args.out / f"{args.env}-{observation}-{kind}-seed{seed}"
                options = ["--env", args.env, "--observation", observation, "--seed", seed, "--steps", args.steps]
                # One evaluation, at the end: what is timed is training.
                options += ["--num-objects", args.num_objects, "--eval-every", "1000000000"]
                train(folder, engine, processes, options)
                run = read_run(folder)
                steps, success = run.evaluations[-1].step, [tested(folder, mode) for mode in MODES]
                row = [observation, seed, engine, f"{steps:,}", *(f"{rate:.3f}" for rate in success)]
                table.add_row(*row, f"{run.seconds:.0f}", f"{steps / run.seconds:,.0f}")
    program_console().print(table)


if __name__ == "__main__":
    main()
