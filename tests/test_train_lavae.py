import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lavae_rl.data.sources import SceneSpec
from lavae_rl.evaluation.evaluate import METRICS
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.checkpoint import load_model
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretrain import train_lavae as program
from lavae_rl.pretraining.recipes import SMOKE as RECIPE
from lavae_rl.pretraining.run import read_run
from lavae_rl.runs.config import write_json

ROOT = Path(__file__).parents[1]
SMOKE = ["--recipe", "smoke", "--device", "cpu"]
STEPS = 40  # a checkpoint every 10 steps, and time to stop a run after the first


def _fails(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(argv)
    captured = capsys.readouterr()
    return stop.value.code, " ".join((captured.out + captured.err).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A complete smoke run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    program.main([*SMOKE, "--steps", str(STEPS), "--out", str(out)])
    return out


@pytest.mark.slow
def test_a_run_folder_describes_itself(finished):
    run = read_run(finished)
    assert run.data == SceneSpec("multi-dsprites")
    assert run.recipe == dataclasses.replace(RECIPE, steps=STEPS)
    assert (run.recipe_name, run.seed, run.device, run.processes, run.resumed) == ("smoke", 0, "cpu", 1, [])
    assert run.provenance.command
    assert run.training_seconds is not None
    assert run.training_seconds > 0
    assert run.skipped_steps == 0
    assert tuple(run.metrics or {}) == METRICS
    names = {path.name for path in finished.iterdir()}
    assert {"config.json", "metrics.csv", "checkpoint.pt", "model.safetensors", "figures", "README.md"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert list((finished / "figures").glob("reconstructions-*.png"))


@pytest.mark.slow
def test_a_run_folder_is_a_pretrained_model(finished):
    assert LAVAE.from_pretrained(finished).config.channels == 3


@pytest.mark.slow
def test_the_baseline_trains_by_the_same_program(tmp_path, capsys):
    out = tmp_path / "baseline"
    argv = [*SMOKE, "--model", "baseline", "--out", str(out)]
    program.main(argv)
    run = read_run(out)
    assert (run.method, run.model_type) == ("vae", "conv-vae")
    metrics: Any = run.metrics
    assert metrics["log_likelihood_bound"] < -metrics["entropy_floor"]
    assert isinstance(load_model(out), ConvVAE)
    assert load_model(out).config == run.model
    assert "ConvVAE.from_pretrained" in capsys.readouterr().out
    program.main(["--model", "baseline", "--device", "cpu", "--resume", "--out", str(out)])
    code, message = _fails(["--model", "lavae", "--resume", "--out", str(out)], capsys)
    assert code == 1
    assert "has model 'baseline', got 'lavae'" in message


@pytest.mark.slow
def test_the_sizes_of_the_recipe_are_those_of_the_test(finished, tmp_path, monkeypatch):
    measured = []

    def evaluate(model, data, *sizes):
        measured.append(sizes)
        return read_run(finished).metrics

    monkeypatch.setattr(program, "evaluate", evaluate)
    program.main([*SMOKE, "--steps", "1", "--out", str(tmp_path / "run")])
    assert measured == [(RECIPE.test_scenes, program.BOUND_SAMPLES, RECIPE.bound_scenes)]


def test_a_recipe_of_another_model_is_refused(tmp_path, capsys):
    code, message = _fails(["--model", "baseline", "--recipe", "joint", "--out", str(tmp_path / "x")], capsys)
    assert code == 1
    assert "expected --recipe of fast, long, smoke for --model baseline, got joint" in message


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_interrupted_run_resumes_to_bit_identical_weights(number, finished, tmp_path, capsys):
    out = tmp_path / "run"
    # The same number of threads as the run in this process: sums depend on how they are split.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "pretrain/train_lavae.py", "--out", str(out)]
    process = subprocess.Popen(
        [*command, *SMOKE, "--steps", str(STEPS)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    while not (out / "checkpoint.pt").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    output, _ = process.communicate()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "continue with --resume" in output
    assert read_run(out).metrics is None
    if number == signal.SIGKILL:  # in the middle of writing, too
        (out / "checkpoint.tmp.pt").write_bytes(b"half")
    program.main(["--device", "cpu", "--resume", "--out", str(out)])
    assert "resuming" in capsys.readouterr().out
    whole, parts = (load_file(folder / "model.safetensors") for folder in (finished, out))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert _steps(out) == _steps(finished)
    run, original = read_run(out), read_run(finished)
    assert len(run.resumed) == 1
    measured, expected = (dict(each.metrics or {}) for each in (run, original))
    assert measured == expected | {"seconds": measured["seconds"]}


def _steps(out):
    return [line.split(",")[0] for line in (out / "metrics.csv").read_text().splitlines()]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--dataset", "multi-cats"], "invalid choice: 'multi-cats' (choose from"),
        (["--recipe", "slow"], "invalid choice: 'slow'"),
        (["--steps", "many"], "invalid int value"),
        (["--learning-rate", "1"], "unrecognized arguments: --learning-rate"),
        (["--step", "3"], "unrecognized arguments: --step"),
    ],
    ids=["data set", "recipe", "steps", "unknown flag", "abbreviated flag"],
)
def test_unusable_arguments_are_errors(argv, message, capsys):
    code, output = _fails(argv, capsys)
    assert code == 2
    assert message in output


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--steps", "0"], "expected steps of at least 1, got 0"),
        (["--seed", "-1"], "expected --seed of 0 to 2^63 - 1, got -1"),
        (["--mnist-dir", "/nowhere"], "leave mnist_dir out"),
        (["--dataset", "multi-mnist-1k", "--mnist-dir", "/nowhere"], "is it the folder of MNIST's IDX files?"),
    ],
    ids=["no steps", "seed", "digits for shapes", "no digits"],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(argv, message, tmp_path, capsys):
    code, output = _fails([*SMOKE, *argv, "--out", str(tmp_path / "run")], capsys)
    assert code == 1
    assert message in output
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_device_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, output = _fails(["--device", "cuda", "--out", str(tmp_path / "run")], capsys)
    assert code == 1
    assert "PyTorch sees no CUDA device" in output


@pytest.mark.slow
def test_a_folder_with_another_run_is_left_alone(finished, capsys):
    before = (finished / "model.safetensors").read_bytes()
    code, output = _fails([*SMOKE, "--out", str(finished)], capsys)
    assert code == 1
    assert "holds another run" in output
    assert (finished / "model.safetensors").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--seed", "3"], "has seed 0, got 3"),
        (["--steps", "9"], f"has steps {STEPS}, got 9"),
        (["--recipe", "fast"], "has recipe 'smoke', got 'fast'"),
        (["--compile"], "has compile False, got True"),
    ],
    ids=["seed", "steps", "recipe", "compile"],
)
def test_resuming_with_other_settings_is_refused(argv, message, finished, capsys):
    code, output = _fails([*argv, "--resume", "--out", str(finished)], capsys)
    assert code == 1
    assert message in output


@pytest.mark.slow
def test_resuming_a_complete_run_shows_its_results_and_changes_nothing(finished, capsys):
    before = (finished / "config.json").read_bytes()
    program.main(["--resume", "--out", str(finished)])
    assert "is complete" in capsys.readouterr().out
    assert (finished / "config.json").read_bytes() == before


@pytest.mark.slow
def test_as_many_processes_resume_a_run_as_started_it(finished, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    write_json(out, dataclasses.replace(read_run(finished), metrics=None, processes=2).content())
    code, output = _fails(["--resume", "--device", "cpu", "--out", str(out)], capsys)
    assert code == 1
    assert "started by 2 processes, got 1; launch as many" in output


@pytest.mark.slow
def test_the_papers_recipe_trains_by_the_same_program(tmp_path, capsys):
    out = tmp_path / "run"
    program.main(["--recipe", "paper-smoke", "--steps", "4", "--device", "cpu", "--out", str(out)])
    run = read_run(out)
    assert run.model.networks == "paper-small"
    assert isinstance(run.data, SceneSpec)
    assert run.model.max_objects == run.data.max_objects == 2
    assert "entropy bound" in capsys.readouterr().out
    LAVAE.from_pretrained(out)


@pytest.mark.slow
def test_a_truncated_checkpoint_is_refused(finished, tmp_path, capsys):
    write_json(tmp_path, dataclasses.replace(read_run(finished), metrics=None).content())
    (tmp_path / "checkpoint.pt").write_bytes((finished / "checkpoint.pt").read_bytes()[:9999])
    code, output = _fails(["--resume", "--out", str(tmp_path)], capsys)
    assert code == 1
    assert "is truncated or not a checkpoint" in output


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"format": 2, "colour": "blue"}', "to hold a pretraining by wake-sleep or world or paper or vae"),
        ('{"format": 2, "method": "vae", "model": {"depth": 3}, "recipe": {}}', "BaselineConfig of channels, latents"),
        ('{"format": 2, "method": "vae", "model": {}, "recipe": 3}', "BaselineRecipe of steps,"),
        ('{"format": 3}', "update lavae-rl"),
        ('{"recipe": {"steps": 3}}', "was written by lavae-rl 0.1.0: its weights can be used"),
        ("[1]", "is damaged"),
        ('{"recipe": ', "is damaged"),
    ],
)
def test_a_folder_of_something_else_is_not_resumed(config, message, tmp_path, capsys):
    (tmp_path / "config.json").write_text(config)
    code, output = _fails(["--resume", "--out", str(tmp_path)], capsys)
    assert code == 1
    assert message in output
