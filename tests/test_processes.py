"""Training in several processes, as torchrun and Accelerate launch it; here on CPUs, by gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretrain import train_lavae

PROGRAM = Path(__file__).parents[1] / "pretrain" / "train_lavae.py"

# LAVAE's own loss by the paper's recipe. A scene's noise is that of its place in the batch of all processes, and what a
# process measures of its own batch alone (batch norms, the level of the auxiliary's map) stays what it is at first: so
# two processes have to do what one does with twice the batch.
EXACT = """
import dataclasses, json, torch
from lavae_rl.data.sources import load_dataset
from lavae_rl.model import auxiliary
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.pretraining.paper import PaperMethod
from lavae_rl.pretraining.recipes import PAPER_SMOKE, PRESETS
from lavae_rl.pretraining.state import Training, make_accelerator

accelerator = make_accelerator(cpu=True)
processes, rank = accelerator.num_processes, accelerator.process_index

def sliced(draw):
    def rows(shape, generator, device):
        first, *rest = [shape] if isinstance(shape, int) else shape
        return draw(first * processes, *rest, generator=noise)[rank * first : (rank + 1) * first]
    return rows

noise = torch.Generator().manual_seed(0)
recipe = dataclasses.replace(PAPER_SMOKE, batch_size=8 // processes, forced_at_first=0.5)
preset = PRESETS["lavae"]["paper-smoke"]
method = PaperMethod(LAVAEConfig(latents=4, max_objects=2, **preset.model), recipe, 0, accelerator)
training = Training(method, recipe, 0, accelerator)
for module in [*method.model.modules(), *method.auxiliary.modules()]:
    if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
        module.eval().train = lambda mode=True: None
method.auxiliary.level.fill_(1.0)
auxiliary._LEVEL_DECAY = 1.0
torch.rand, torch.randn = sliced(torch.rand), sliced(torch.randn)
dataset = load_dataset("multi-dsprites", "validation", **preset.data)
steps = [training.step(dataset) for _ in range(4)]
agreed = training.agree(rank == processes - 1)
if accelerator.is_main_process:
    weights = sum(parameter.abs().sum().item() for parameter in method.model.parameters())
    print("RESULT", json.dumps({"processes": processes, "steps": steps, "weights": weights, "agreed": agreed}))
accelerator.wait_for_everyone()  # a process that leaves early can abort the other
accelerator.end_training()
"""

PROTOTYPES = """
import dataclasses, json
from lavae_rl.data.sources import load_dataset
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.pretraining.recipes import SMOKE
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.pretraining.wake_sleep import WakeSleep

accelerator = make_accelerator(cpu=True)
recipe = dataclasses.replace(SMOKE, joint_fraction=0.0, prototypes_from_step=8, corrections_fraction=0.4)
method = WakeSleep(LAVAEConfig(latents=9, networks="prototypes"), recipe, 0, accelerator)
training, dataset = Training(method, recipe, 0, accelerator), load_dataset("multi-dsprites", "validation")
for _ in range(14):
    training.step(dataset)
decoder = method.model.sprite_decoder
found = [decoder.order.tolist(), decoder.used.tolist(), bool(decoder.corrects), decoder.templates.sum().item()]
print(f"RESULT {json.dumps(found)}\\n", end="", flush=True)  # in one piece, beside the other process
accelerator.wait_for_everyone()
accelerator.end_training()
"""

DYING = """
import os, sys
from pathlib import Path
from lavae_rl.pretrain import train_lavae as program

marker, step = Path(sys.argv.pop(1)), program.Training.step
def dies_once(training, source):
    if os.environ["RANK"] == "1" and training.progress.step == 12 and not marker.exists():
        marker.touch()
        os._exit(9)
    return step(training, source)
program.Training.step = dies_once
program.main(sys.argv[1:])
"""


def _launch(processes, *command):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    finished = subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), *command],
        capture_output=True,
        # Otherwise restarted processes may read addresses of those before (pytorch/pytorch#135712).
        env={**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_with_twice_the_batch(tmp_path):
    script = tmp_path / "exact.py"
    script.write_text(EXACT)
    one, two = (json.loads(_launch(processes, str(script)).split("RESULT ")[1].splitlines()[0]) for processes in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    for alone, together in zip(one["steps"], two["steps"], strict=True):
        assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)
    assert two["weights"] == pytest.approx(one["weights"], rel=1e-6)
    assert one["steps"][0] != one["steps"][-1]
    assert one["agreed"]
    assert two["agreed"]


@pytest.mark.slow
def test_two_processes_hold_the_same_prototypes(tmp_path):
    """Each remembers sprites of its own, and clusters them; those of the first count."""
    script = tmp_path / "prototypes.py"
    script.write_text(PROTOTYPES)
    lines = _launch(2, str(script)).split("RESULT ")[1:]
    first, second = (json.loads(line.splitlines()[0]) for line in lines)
    assert first == second
    assert first[2]


@pytest.mark.slow
def test_the_program_trains_in_two_processes_and_one_of_them_writes(tmp_path):
    out = tmp_path / "run"
    options = ["--recipe", "paper-smoke", "--steps", "4", "--device", "cpu", "--mixed-precision", "bf16"]
    output = _launch(2, str(PROGRAM), *options, "--out", str(out))
    assert output.count("Test splits") == 1
    config = json.loads((out / "config.json").read_text())
    assert (config["processes"], config["mixed_precision"]) == (2, "bf16")
    assert len((out / "metrics.csv").read_text().splitlines()) == 2
    LAVAE.from_pretrained(out)


@pytest.mark.slow
def test_a_process_that_dies_is_started_again(tmp_path):
    script, out = tmp_path / "dying.py", tmp_path / "run"
    script.write_text(DYING)
    options = ["--recipe", "paper-smoke", "--device", "cpu", "--auto-resume", "--out", str(out)]
    output = _launch(2, "--max-restarts", "1", str(script), str(tmp_path / "died"), *options)
    assert (tmp_path / "died").exists()
    assert "at step 10" in output
    config = json.loads((out / "config.json").read_text())
    assert config["metrics"] is not None
    assert len(config["resumed"]) == 1


RESUMED = """
import json, sys, torch
from pathlib import Path
from lavae_rl.data.sources import open_source
from lavae_rl.pretraining.run import new_run
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.runs.folder import RunFolder

accelerator = make_accelerator(cpu=True)
run = new_run("lavae", "paper-smoke", "multi-dsprites", seed=0)
source = open_source(run.data, "train")
whole, begun, resumed = (Training(run.make_method(accelerator), run.recipe, 0, accelerator) for _ in range(3))
folder = RunFolder(Path(sys.argv[1]), resume=False)
for training, steps in ((whole, 4), (begun, 2)):
    for _ in range(steps):
        training.step(source)
if accelerator.is_main_process:
    folder.path.mkdir()
    folder.save_checkpoint(begun.state())
accelerator.wait_for_everyone()
resumed.load(folder.load_checkpoint(accelerator.device))
resumed.check_agreement()
for _ in range(2):
    resumed.step(source)
# Averages of the first process alone are saved: in others, statistics of batch norms are of their own batches.
ours, theirs = (each.average.state_dict() if accelerator.is_main_process else {} for each in (whole, resumed))
same = all(torch.equal(ours[name], theirs[name]) for name in ours)
if accelerator.process_index == 1:  # a folder of its own, with another checkpoint
    next(iter(resumed.average.parameters())).data.add_(1)
try:
    resumed.check_agreement()
    refused = ""
except ValueError as error:
    refused = str(error)
print(f"RESULT {json.dumps([same, refused])}\\n", end="", flush=True)  # in one piece
accelerator.wait_for_everyone()
accelerator.end_training()
"""


@pytest.mark.slow
def test_two_processes_resume_to_the_same_weights(tmp_path):
    script = tmp_path / "resumed.py"
    script.write_text(RESUMED)
    lines = _launch(2, str(script), str(tmp_path / "run")).split("RESULT ")[1:]
    for same, refused in (json.loads(line.splitlines()[0]) for line in lines):
        assert same
        assert "of steps 4, 4: --out has to be a folder that all machines share" in refused
    assert len(lines) == 2


@pytest.mark.slow
def test_auto_resume_starts_a_run_and_goes_on_with_it(tmp_path, capsys):
    command = ["--recipe", "smoke", "--steps", "2", "--device", "cpu", "--auto-resume", "--out", str(tmp_path / "run")]
    for said in ("2 steps on cpu", "is complete"):
        train_lavae.main(command)
        assert said in " ".join(capsys.readouterr().out.split())


def test_a_machine_without_the_run_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        train_lavae.main(["--resume", "--out", str(tmp_path / "run")])
    assert "--out has to be a folder that all machines share" in " ".join(capsys.readouterr().out.split())
