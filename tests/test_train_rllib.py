"""The program that trains under RLlib, with a Ray of its own on this machine."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lavae_rl.agents import evaluate_agent, train_agent, train_rllib
from lavae_rl.rl.agents import load_agent
from lavae_rl.rl.run import read_run
from lavae_rl.runs import cluster

PROGRAM = Path(__file__).parents[1] / "agents" / "train_rllib.py"

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra rllib")


def _start(*options):
    command = [sys.executable, str(PROGRAM), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_runners(tmp_path, capsys):
    out = tmp_path / "run"
    size = ["--observation", "oracle", "--num-envs", "16", "--steps", "3000", "--eval-every", "1000"]
    first = _start("--env", "ObjectGoal", *size, "--eval-episodes", "10", "--env-runners", "1", "--out", str(out))
    while not (out / "config.json").exists() or not read_run(out).evaluations:
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    output, _ = first.communicate()
    assert first.returncode == 130, output
    stopped, _ = load_agent(out)
    assert [path.name for path in out.glob("checkpoint-*")] == [f"checkpoint-{stopped.num_timesteps}"]

    second = _start("--resume", "--out", str(out), "--env-runners", "0")
    output, _ = second.communicate()
    assert second.returncode == 0, output
    agent, run = load_agent(out)
    assert agent.num_timesteps >= 3_000 > stopped.num_timesteps
    steps = [evaluation.step for evaluation in run.evaluations]
    assert steps == sorted(set(steps))
    assert steps[-1] == agent.num_timesteps
    assert (run.engine, len(run.resumed)) == ("rllib", 1)

    evaluate_agent.main([str(out), "--episodes", "10", "--json", str(tmp_path / "test.json")])
    assert json.loads((tmp_path / "test.json").read_text())["results"][0]["episodes"] == 10
    with pytest.raises(SystemExit):
        train_agent.main(["--resume", "--out", str(out)])
    assert "is a run of train_rllib.py: continue it with that" in " ".join(capsys.readouterr().out.split())


def test_without_ray_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        train_rllib.main(["--env", "ObjectGoal"])
    assert "pip install 'lavae-rl[rllib]'" in " ".join(capsys.readouterr().out.split())
