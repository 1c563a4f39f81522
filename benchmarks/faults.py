"""Kill programs at random moments (SIGKILL), and look at what is left: nothing half-written, nothing that cannot go on.

    python benchmarks/faults.py --kills 20

Cases are a pretraining, an agent's training, two exports (save_pretrained, make_dataset) and a checkpoint. After each
kill, files under their final names have to load, and the next process has to go on with the folder, until it is killed
too: by --resume where there is a config.json, and elsewhere by the same command. What is left after the last kill goes
on to its end. A pretraining has to end with the same bits as one that was never killed.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from lavae_rl.runs.exits import program_console
from lavae_rl.runs.folder import CHECKPOINT_FILE, RunFolder

ROOT = Path(__file__).parents[1]
PRETRAINING = [str(ROOT / "pretrain/train_lavae.py"), "--recipe", "smoke", "--dataset", "multi-mnist-1k"]
PRETRAINING += ["--steps", "30", "--device", "cpu"]
AGENT = [str(ROOT / "agents/train_agent.py"), "--env", "ObjectGoal", "--observation", "oracle", "--arch", "deepsets"]
AGENT += ["--num-envs", "8", "--steps", "1024", "--eval-every", "256", "--eval-episodes", "10"]
DATASET = [str(ROOT / "pretrain/make_dataset.py"), "--dataset", "multi-dsprites", "--split", "test"]
DATASET += ["--num-scenes", "3000"]

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
    """Raise an error where a file under its final name is not whole."""
    resumable: bool
    """True for trainings, which --resume continues."""
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


def dataset_command(out: Path) -> list[str]:
    """The export of a data set to a folder, which is made if needed; a file that is whole is removed first."""
    out.mkdir(exist_ok=True)
    (out / "x.npz").unlink(missing_ok=True)
    return [*DATASET, "--out", str(out / "x.npz")]


CASES = {
    "pretraining": Case(lambda out: [*PRETRAINING, "--out", str(out)], check_run, True, WEIGHTS_FILE),
    "agent": Case(lambda out: [*AGENT, "--out", str(out)], check_agent, True),
    "save_pretrained": Case(lambda out: ["-c", EXPORT, str(out), "60"], check_run, False),
    "make_dataset": Case(dataset_command, check_dataset, False),
    "checkpoint": Case(lambda out: ["-c", CHECKPOINT, str(out), "60"], check_checkpoint, False),
}


def start(arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start Python with arguments; it finds this checkout, wherever it is started."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def files(out: Path) -> dict[str, int]:
    """Time at which each file of a folder was written."""
    found = {}
    for path in out.iterdir() if out.exists() else ():
        with suppress(FileNotFoundError):  # it is just being renamed
            found[path.name] = path.stat().st_mtime_ns
    return found


def wait_for_files(out: Path, process: "subprocess.Popen[bytes]", before: dict[str, int]) -> float:
    """Wait until a process writes; return the time."""
    while process.poll() is None and files(out) == before:
        time.sleep(0.002)
    return time.monotonic()


def span(case: Case, out: Path) -> float:
    """Seconds from the first file to the end, undisturbed."""
    process = start(case.command(out))
    begun = wait_for_files(out, process, {})
    process.communicate()
    return time.monotonic() - begun


def next_command(case: Case, out: Path) -> list[str]:
    """The command that continues a folder: --resume where there is a run, otherwise the same command once more."""
    command = case.command(out)
    if not case.resumable or not (out / CONFIG_FILE).exists():
        return command
    return [command[0], "--resume", "--out", str(out), *(["--device", "cpu"] if case.same else [])]


def kill(case: Case, out: Path, delay: float) -> tuple[str, str]:
    """Go on with a folder and kill that; return "killed", "ended" or "failed", and what is wrong."""
    before = files(out)
    process = start(next_command(case, out))
    wait_for_files(out, process, before)
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    process.kill()
    printed, _ = process.communicate()
    ended = {0: "ended", -signal.SIGKILL: "killed"}.get(process.returncode, "failed")
    if ended == "failed":
        return ended, f"dead end: {printed.decode()[-300:]}"
    try:
        case.check(out)
    except Exception as error:
        return "failed", f"half-written: {error}"
    return ended, ""


def measure(name: str, kills: int, rng: random.Random, console: Console) -> list[str]:
    """Kill one process after the other on the same folder, and return the row of the table."""
    case = CASES[name]
    found: list[str] = []
    same: list[bool] = []
    with tempfile.TemporaryDirectory() as temporary:
        whole, out = Path(temporary) / "whole", Path(temporary) / "killed"
        seconds, left = span(case, whole), kills
        while left or files(out):
            # After the last kill, what is left goes on to its end.
            what, wrong = kill(case, out, rng.uniform(0, seconds / 2) if left else 10 * seconds + 600)
            left -= what != "ended" and left > 0
            if wrong:
                found.append(wrong)
                console.print(f"{name}: {wrong}", markup=False)
            if what == "ended" and case.same:
                same.append((out / case.same).read_bytes() == (whole / case.same).read_bytes())
            if what != "killed":
                shutil.rmtree(out, ignore_errors=True)
    half = sum(text.startswith("half") for text in found)
    bits = f"{sum(same)} of {len(same)}" if case.same else ""
    return [name, str(kills), str(kills - len(found)), str(half), str(len(found) - half), bits]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 if all survived, 1 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each case (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), help="(default: all)")
    args = parser.parse_args(argv)
    rng, console = random.Random(args.seed), program_console()
    table = Table("case", "kills", "survived", "half-written", "dead ends", "ends with the same bits")
    rows = []
    for name in args.cases:
        rows.append(measure(name, args.kills, rng, console))
        table.add_row(*rows[-1])
        console.print(table)  # after each case, for the next takes minutes
    if any(row[1] != row[2] or len({*row[5].split(" of ")}) > 1 for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
