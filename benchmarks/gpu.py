"""Everything that a GPU is for, checked and measured by one command in a few minutes.

    python benchmarks/gpu.py --minutes 8 --json gpu.json
    python benchmarks/gpu.py --device cpu --small          # the same checks in a minute, without learning

The checks are: the tests of tests/test_cuda.py, the fast recipe on the three data sets to its end, in fewer and larger
steps than on a CPU, frames encoded per second, PPO on tokens, a step of the paper's recipe, and the recipe for
environments on Pong. When the time is up, the program reports the checks that are done and names the others. Every
figure is written to the file as soon as it is known.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from agent_speed import Timed
from rich.table import Table

from lavae_rl.data.sources import DATASETS, load_dataset, open_source
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretrain.train_lavae import choose_accelerator
from lavae_rl.pretraining.run import new_run
from lavae_rl.pretraining.state import Training
from lavae_rl.rl.agents import make_agent
from lavae_rl.rl.run import new_run as new_agent_run
from lavae_rl.rl.vec_envs import make_training_vec_env
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import program_console
from lavae_rl.runs.provenance import Provenance

ROOT = Path(__file__).parents[1]
LARGER_STEPS = ("--steps", "1200", "--batch-size", "128")
"""Options of the fast recipe: a GPU takes as long for a step of 128 scenes as for one of 64."""
FIGURES = ("training_seconds", "count_accuracy_0_3", "count_accuracy_7", "log_likelihood_bound", "explained")


class Setting(NamedTuple):
    """Device and time limit of a check."""

    device: str
    small: bool
    seconds: float
    """Seconds that are left."""


def tests(setting: Setting) -> dict[str, Any]:
    """The tests that need a GPU."""
    if setting.device == "cpu":
        return {"skipped": "no GPU"}
    command = [sys.executable, "-m", "pytest", "-q", str(ROOT / "tests" / "test_cuda.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=setting.seconds, check=False)
    return {"exit status": done.returncode, "summary": done.stdout.strip().splitlines()[-1]}


def pretraining(*source: str, larger: Sequence[str] = ()) -> Callable[[Setting], dict[str, Any]]:
    """Make a check that trains a model to the end of its recipe, with the options ``larger`` unless it is small."""

    def check(setting: Setting) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            small = ["--recipe", "world-smoke" if "--env" in source else "smoke"]
            command = [sys.executable, str(ROOT / "pretrain" / "train_lavae.py"), *source]
            command += small if setting.small else larger
            command += ["--device", setting.device, "--out", str(Path(folder) / "run")]
            subprocess.run(command, capture_output=True, timeout=setting.seconds, check=True)
            config = json.loads((Path(folder) / "run" / "config.json").read_text())
        found = {**config["metrics"], "training_seconds": config["training_seconds"]}
        return {name: found[name] for name in FIGURES if name in found}

    return check


def encoding(setting: Setting) -> dict[str, Any]:
    """Frames of 2 to 4 objects encoded per second."""
    model, frames = LAVAE.from_pretrained("multi-dsprites", setting.device), load_dataset("multi-dsprites", "test")
    speeds: dict[str, Any] = {}
    for batch in (64, 512):
        times = []
        for _ in range(3 if setting.small else 20):
            start = time.perf_counter()
            model.encode(frames[:batch])  # hands out arrays of NumPy, so the GPU is done
            times.append(time.perf_counter() - start)
        speeds[f"frames/s at batch {batch}"] = batch / median(times)
    return speeds


def agents(setting: Setting) -> dict[str, Any]:
    """PPO on tokens, perception and policy on the device: steps per second from frames to updated weights."""
    run = new_agent_run({"task": "OddOneOut", "observation": "lavae", **({"num_envs": 8} if setting.small else {})})
    venv = make_training_vec_env(run, setting.device)
    agent = Timed(make_agent(run.observation, run.preset, venv, 0, setting.device))
    for _ in range(2 if setting.small else 8):
        agent.rollout()
    return {f"{part}, steps/s": speed for part, speed in agent.speeds().items()}


def paper(setting: Setting) -> dict[str, Any]:
    """A step of the paper's recipe in mixed precision."""
    run = new_run("lavae", "paper-smoke" if setting.small else "paper", "multi-dsprites", seed=0)
    accelerator = choose_accelerator(setting.device, "bf16")
    training = Training(run.make_method(accelerator), run.recipe, 0, accelerator)
    source, times = open_source(run.data, "train"), []
    for _ in range(4 if setting.small else 30):
        start = time.perf_counter()
        training.step(source)  # reads what it measured, so the GPU is done
        times.append(time.perf_counter() - start)
    return {"ms": 1_000 * median(times)}


CHECKS: Mapping[str, Callable[[Setting], dict[str, Any]]] = {
    "encode": encoding,
    "PPO on tokens": agents,
    "a step of the paper's recipe": paper,
    **{f"fast recipe, {name}": pretraining("--dataset", name, larger=LARGER_STEPS) for name in DATASETS},
    "own environment, Pong": pretraining("--env", "ALE/Pong-v5"),
    "tests": tests,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8, help="(default: 8)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: auto)")
    parser.add_argument("--small", action="store_true", help="a few steps of each check")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args(argv)
    device, end = choose_device(args.device), time.monotonic() + 60 * args.minutes
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    found: dict[str, Any] = {"device": name, "commit": Provenance.here().commit}
    for check, measure in CHECKS.items():
        start = time.monotonic()
        try:
            figures = measure(Setting(device, args.small, max(end - start, 1.0)))
        except subprocess.TimeoutExpired:
            figures = {"skipped": "the time was up"}
        except (subprocess.CalledProcessError, RuntimeError) as error:
            figures = {"failed": str(getattr(error, "stdout", None) or error)[-500:]}
        found[check] = {**figures, "seconds": round(time.monotonic() - start, 1)}
        print(check, found[check], flush=True)
        if args.json is not None:
            args.json.write_text(json.dumps(found, indent=2) + "\n")
    table = Table("check", "figures", title=name)
    for check in CHECKS:
        table.add_row(check, ", ".join(f"{key} {_shown(value)}" for key, value in found[check].items()))
    program_console().print(table)
    if any("failed" in found[check] for check in CHECKS):
        sys.exit(1)


def _shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
