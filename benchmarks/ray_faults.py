"""Kill processes of trainings under RLlib, which still have to end with the steps asked for.

    python benchmarks/ray_faults.py

Every case is a run of train_rllib.py with two env runners on this machine, on the true state of ObjectGoal. In case
"runner" an env runner is killed (SIGKILL) several times at random moments, between samplings and inside them. In case
"driver" the program itself is killed, and the run is resumed. In case "node" one of the two nodes of a cluster is
removed while a runner is on it.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from rich.table import Table

from lavae_rl.rl.agents import load_agent
from lavae_rl.rl.run import read_run
from lavae_rl.runs import cluster  # noqa: F401  # before Ray, see there

# isort: split
import ray
from ray.cluster_utils import Cluster

from lavae_rl.runs.exits import program_console

PROGRAM = Path(__file__).parents[1] / "agents" / "train_rllib.py"


def start(folder: Path, steps: int, *options: str) -> "subprocess.Popen[bytes]":
    """Start the program, or resume its run."""
    size = ["--env", "ObjectGoal", "--observation", "oracle", "--steps", str(steps), "--eval-every", "8192"]
    begun = ["--resume"] if (folder / "config.json").exists() else [*size, "--eval-episodes", "20"]
    command = [sys.executable, str(PROGRAM), "--env-runners", "2", "--out", str(folder), *begun, *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def wait_for_evaluation(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the run has been evaluated once."""
    while process.poll() is None and not ((folder / "config.json").exists() and read_run(folder).evaluations):
        time.sleep(0.2)


def runners(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The env runners of a program."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if any("SingleAgentEnvRunner" in part for part in child.cmdline())]


def kill_runners(folder: Path, steps: int) -> str:
    process, rng, killed = start(folder, steps), random.Random(0), 0
    wait_for_evaluation(folder, process)
    while process.poll() is None and killed < 4:
        time.sleep(rng.uniform(2, 8))
        if process.poll() is None and (alive := runners(process)):
            rng.choice(alive).kill()
            killed += 1
    process.wait()
    return f"{killed} kills"


def kill_driver(folder: Path, steps: int) -> str:
    process = start(folder, steps)
    wait_for_evaluation(folder, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    start(folder, steps).wait()
    return "killed after the first evaluation, resumed"


def remove_node(folder: Path, steps: int) -> str:
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = nodes.add_node(num_cpus=1)
    try:
        process = start(folder, steps, "--address", nodes.address)
        wait_for_evaluation(folder, process)
        nodes.remove_node(second)
        process.wait()
    finally:
        ray.shutdown()
        nodes.shutdown()
    return "the second of two nodes removed"


CASES: dict[str, Callable[[Path, int], str]] = {"runner": kill_runners, "driver": kill_driver, "node": remove_node}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="(default: all)")
    parser.add_argument("--steps", type=int, default=65_536, help="of each run (default: 65,536)")
    args = parser.parse_args(argv)
    table = Table("what dies", "what was done", "steps asked for", "steps at the end", "seconds")
    for name in args.cases:
        with tempfile.TemporaryDirectory() as temporary:
            folder, began = Path(temporary) / "run", time.monotonic()
            done = CASES[name](folder, args.steps)
            reached = load_agent(folder).agent.num_timesteps
            table.add_row(name, done, f"{args.steps:,}", f"{reached:,}", f"{time.monotonic() - began:.0f}")
    program_console().print(table)


if __name__ == "__main__":
    main()
