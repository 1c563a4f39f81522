"""Training in several processes, as torchrun and Accelerate launch it; here on CPUs, by gloo."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lavae_rl.model.lavae import LAVAE

PROGRAM = Path(__file__).parents[1] / "pretrain" / "train_lavae.py"

# A training whose loss has neither noise nor batch norms: two processes have to do what one does with twice the batch.
EXACT = """
import dataclasses, json, sys, torch
from lavae_rl.datasets import load_dataset
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.training.base import make_accelerator
from lavae_rl.training.recipes import BASELINE_SMOKE
from lavae_rl.training.vae import VAETraining

class Exact(VAETraining):
    def _loss(self, frames):
        self.model.eval()
        images = self.model.images(frames)
        mean, _ = self.model.posterior(images)
        loss = (self.model.decoder(mean) - images).square().mean()
        return loss, {"kl": mean.square().mean().item()}

accelerator = make_accelerator(cpu=True)
recipe = dataclasses.replace(BASELINE_SMOKE, batch_size=8 // accelerator.num_processes, canvas_size=24, patch_size=10)
training = Exact(1, recipe, 0, accelerator)
dataset = load_dataset("multi-mnist-1k", "validation", canvas_size=24, patch_size=14, max_objects=1)
losses = [training.step(dataset)["loss"] for _ in range(4)]
agreed = training.agree(accelerator.process_index == accelerator.num_processes - 1)
if accelerator.is_main_process:
    total = sum(parameter.abs().sum().item() for parameter in training.model.parameters())
    print("RESULT", json.dumps({"processes": accelerator.num_processes, "losses": losses, "weights": total,
        "agreed": agreed}))
accelerator.wait_for_everyone()  # a process that leaves early can abort the other
accelerator.end_training()
"""


def _launch(processes, *command):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    finished = subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), *command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_two_processes_take_the_steps_of_one_with_twice_the_batch(tmp_path):
    script = tmp_path / "exact.py"
    script.write_text(EXACT)
    one, two = (json.loads(_launch(processes, str(script)).split("RESULT ")[1].splitlines()[0]) for processes in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-6)
    assert one["losses"][0] != one["losses"][-1]
    assert one["agreed"]
    assert two["agreed"]


def test_the_program_trains_in_two_processes_and_one_of_them_writes(tmp_path):
    out = tmp_path / "run"
    options = ["--recipe", "paper-smoke", "--steps", "4", "--device", "cpu", "--mixed-precision", "bf16"]
    output = _launch(2, str(PROGRAM), *options, "--out", str(out))
    assert output.count("Test splits") == 1
    config = json.loads((out / "config.json").read_text())
    assert (config["processes"], config["mixed_precision"]) == (2, "bf16")
    assert len((out / "metrics.csv").read_text().splitlines()) == 2
    LAVAE.from_pretrained(out)
