"""Kill programs at random moments (SIGKILL), and look at what is left: nothing half-written, nothing that cannot go on.

    python benchmarks/faults.py --kills 20

Cases are a pretraining, an agent's training, two exports (save_pretrained, make_dataset) and a checkpoint.
Every kill is of a process of its own. What is in a file under its final name has to load. A training has to go on to
its end, by --resume where there is a config.json and without it elsewhere; a pretraining has to end with the same bits
as one that was never killed. Of the others, the same command again has to end.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from lavae_rl.data.files import load_npz
from lavae_rl.model.checkpoint import WEIGHTS_FILE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.rl.agents import AGENT_FILE, load_agent
from lavae_rl.runs.config import CONFIG_FILE, read_json
from lavae_rl.runs.folder import CHECKPOINT_FILE, RunFolder

ROOT = Path(__file__).parents[1]
PRETRAINING = [str(ROOT / "pretrain/train_lavae.py"), "--recipe", "smoke", "--dataset", "multi-mnist-1k"]
PRETRAINING += ["--steps", "30", "--device", "cpu"]
AGENT = [str(ROOT / "agents/train_agent.py"), "--env", "ObjectGoal", "--observation", "oracle", "--arch", "deepsets"]
AGENT += ["--num-envs", "8", "--steps", "2048", "--eval-every", "512", "--eval-episodes", "10"]
DATASET = [
    str(ROOT / "pretrain/make_dataset.py"),
    "--dataset",
    "multi-dsprites",
    "--split",
    "test",
    "--num-scenes",
    "3000",
]

# Both save again and again, so that most kills hit them while they do.
EXPORT = """
import sys
from lavae_rl.model.lavae import LAVAE
model = LAVAE.from_pretrained("multi-mnist-1k")
for i in range(int(sys.argv[2])):
    model.count_logits.data.fill_(float(i))
    model.save_pretrained(sys.argv[1], {"seed": i})
"""
CHECKPOINT = """
import sys, torch
from lavae_rl.model.lavae import LAVAE
from lavae_rl.runs.folder import RunFolder
folder = RunFolder(sys.argv[1], resume=False)
folder.path.mkdir(exist_ok=True)
for i in range(int(sys.argv[2])):
    folder.save_checkpoint({"step": i, "weights": torch.full((1_000_000,), float(i))})
"""


class Case(NamedTuple):
    """Something to kill."""

    command: Callable[[Path], list[str]]
    """Arguments of Python that write to a place."""
    check: Callable[[Path], None]
    """Raises an error where a file under its final name is not whole."""
    resumable: bool
    """Whether it is a training, which --resume continues."""
    same: str | None = None
    """File that has the same bits as if there had been no kill."""


def check_run(out: Path) -> None:
    """Read what a pretraining has written."""
    if (out / CONFIG_FILE).exists():
        read_json(out)
    if (out / WEIGHTS_FILE).exists():
        LAVAE.from_pretrained(out)
    if (out / CHECKPOINT_FILE).exists():
        RunFolder(out, resume=True).load_checkpoint(torch.device("cpu"))


def check_agent(out: Path) -> None:
    """Read what an agent's training has written."""
    if (out / AGENT_FILE).exists():
        load_agent(out)


def check_dataset(out: Path) -> None:
    """Read an exported file."""
    if (out / "x.npz").exists():
        load_npz(out / "x.npz")


def check_checkpoint(out: Path) -> None:
    """Read a checkpoint."""
    if (out / CHECKPOINT_FILE).exists():
        (out / CONFIG_FILE).write_text("{}")  # for RunFolder, which resumes runs alone
        state = RunFolder(out, resume=True).load_checkpoint(torch.device("cpu"))
        if state is None or not (state["weights"] == state["step"]).all():
            raise ValueError(f"{out} holds a mixture of two checkpoints")
        shutil.rmtree(out)


CASES = {
    "pretraining": Case(lambda out: [*PRETRAINING, "--out", str(out)], check_run, True, WEIGHTS_FILE),
    "agent": Case(lambda out: [*AGENT, "--out", str(out)], check_agent, True),
    "save_pretrained": Case(lambda out: ["-c", EXPORT, str(out), "60"], check_run, False),
    "make_dataset": Case(lambda out: [*DATASET, "--out", str(out / "x.npz")], check_dataset, False),
    "checkpoint": Case(lambda out: ["-c", CHECKPOINT, str(out), "60"], check_checkpoint, False),
}


def start(arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start Python with arguments; it finds this checkout, wherever it is started."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(arguments: Sequence[str]) -> str:
    """Run Python to its end, and return what it printed if it failed."""
    process = start(arguments)
    printed, _ = process.communicate()
    return printed.decode()[-300:] if process.returncode else ""


def first_sign(out: Path, process: "subprocess.Popen[bytes]") -> float:
    """Wait for a first file in a folder; return the time."""
    while process.poll() is None and not (out.exists() and any(out.iterdir())):
        time.sleep(0.002)
    return time.monotonic()


def span(case: Case, out: Path) -> float:
    """Seconds from the first file to the end, undisturbed."""
    process = start(case.command(out))
    begun = first_sign(out, process)
    process.communicate()
    return time.monotonic() - begun


def kill(case: Case, out: Path, delay: float) -> tuple[bool, str]:
    """Kill a process some seconds after its first file; return whether it lived so long, and what is wrong after."""
    process = start(case.command(out))
    first_sign(out, process)
    time.sleep(delay)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    try:
        case.check(out)
    except Exception as error:
        return alive, f"half-written: {error}"
    again = case.command(out)
    if case.resumable and (out / CONFIG_FILE).exists():
        again = [again[0], "--resume", "--out", str(out)]
        again += ["--device", "cpu"] if case.same else []
    elif case.command is CASES["make_dataset"].command and (out / "x.npz").exists():
        return alive, ""
    failed = finish(again)
    return alive, f"dead end: {failed}" if failed else ""


def measure(name: str, kills: int, rng: random.Random, console: Console) -> list[str]:
    """Kill processes of a case, and return its row of the table."""
    case, found, alive, same = CASES[name], [], 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        if name == "make_dataset":
            whole.mkdir()
        seconds = span(case, whole)
        for number in range(kills):
            out = Path(temporary) / str(number)
            if name == "make_dataset":
                out.mkdir()
            hit, wrong = kill(case, out, rng.uniform(0, seconds))
            alive += hit
            if not wrong and case.same:
                same += (out / case.same).read_bytes() == (whole / case.same).read_bytes()
            if wrong:
                found.append(wrong)
                console.print(f"{name}, kill {number}: {wrong}", markup=False)
            shutil.rmtree(out, ignore_errors=True)
    half = sum(text.startswith("half") for text in found)
    bits = f"{same} of {kills - len(found)}" if case.same else ""
    return [name, str(kills), str(alive), str(kills - len(found)), str(half), str(len(found) - half), bits]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 if all survived, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each case (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="(default: all)")
    args = parser.parse_args(argv)
    rng, console = random.Random(args.seed), Console()
    table = Table("case", "tried", "hit alive", "survived", "half-written", "dead ends", "same bits")
    rows = [measure(name, args.kills, rng, console) for name in args.cases]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if any(row[3] != row[1] or (row[6] and row[6] != f"{row[1]} of {row[1]}") for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
