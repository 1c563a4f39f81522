"""The config.json of agents: what it holds, what is refused, and agents that version 0.1.0 saved."""

import importlib
import json
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from lavae_rl.agents import evaluate_agent, train_agent
from lavae_rl.policies.set_extractor import SetFeaturesExtractor
from lavae_rl.rl.agents import load_agent, make_agent, save_agent
from lavae_rl.rl.presets import Preset
from lavae_rl.rl.run import Evaluation, new_run, read_run, resumed_run, write_run
from lavae_rl.rl.vec_envs import make_task_vec_env

OLD_MODULE = "lavae_rl.perception.set_extractor"
PRESET = Preset(steps=64, num_envs=4, num_objects=(2, 3), rollout=8, batch_size=16, epochs=1, width=16)


@pytest.fixture
def run():
    """A run with an evaluation and a resumption."""
    begun = new_run({"task": "ObjectGoal", "observation": "oracle", "eval_episodes": 10})
    return replace(begun, preset=PRESET, evaluations=[Evaluation(32, 0.5, 1.5)], resumed=[begun.provenance])


@pytest.fixture
def old_run(run, tmp_path, monkeypatch):
    """The folder of an agent as version 0.1.0 wrote it, and the agent itself."""
    folder = tmp_path / "old"
    venv = make_task_vec_env("ObjectGoal", "oracle", 4, seed=0)
    agent = make_agent("oracle", PRESET, venv, seed=0).learn(32)
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        importlib.import_module(OLD_MODULE)  # or the class would be pickled by value
        patch.setattr(SetFeaturesExtractor, "__module__", OLD_MODULE)  # pickle writes this path, and looks it up there
        save_agent(folder, agent, run)
    sys.modules.pop(OLD_MODULE)  # or the next import of it would not warn
    content = json.loads((folder / "config.json").read_text())
    del content["format"], content["resumed"], content["preset"]["episode_steps"], content["model_fingerprint"]
    content |= content.pop("provenance")
    (folder / "config.json").write_text(json.dumps(content))
    return folder, agent


def change(folder, **entries):
    """Changes entries of config.json; None removes one."""
    content = json.loads((folder / "config.json").read_text()) | entries
    (folder / "config.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_config_survives_writing_and_reading(run, tmp_path):
    write_run(tmp_path, run)
    assert json.loads((tmp_path / "config.json").read_text())["format"] == 2
    assert read_run(tmp_path) == run


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": 3}, "has format 3, and this version of lavae-rl reads formats 1 to 2: update lavae-rl"),
        ({"colour": "red"}, "colour"),
        ({"seed": "zero"}, "seed"),
        ({"seed": None}, "seed"),
        ({"seed": -1}, "seed of 0 to 4294967295, got -1"),
        ({"eval_every": 0}, "eval_every of at least 1, got 0"),
        ({"observation": "sound"}, "observation of lavae, oracle, pixels, vae, got 'sound'"),
        ({"task": "Chess"}, "LAVAE/OddOneOut-v0"),
        ({"preset": {"colour": 1}}, "colour"),
        ({"preset": {"steps": "many"}}, "steps"),
        ({"preset": {"steps": 0}}, "steps of at least 1, got 0"),
        ({"evaluations": [{"step": 1}]}, "success_rate"),
    ],
)
def test_other_configs_are_refused_by_name(run, entries, message, tmp_path):
    write_run(tmp_path, run)
    change(tmp_path, **entries)
    with pytest.raises(ValueError, match=message) as refused:
        read_run(tmp_path)
    assert str(tmp_path / "config.json") in str(refused.value)


def test_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        read_run(tmp_path)


def test_agent_of_version_0_1_0_loads(old_run, run):
    folder, agent = old_run
    assert OLD_MODULE.encode() in (folder / "agent.zip").read_bytes()
    loaded = load_agent(folder)  # a warning would be an error
    assert loaded.run == replace(run, resumed=[])
    ours, theirs = loaded.agent.policy.state_dict(), agent.policy.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_agent_of_version_0_1_0_is_evaluated_and_resumed(old_run, tmp_path):
    folder, _ = old_run
    file = tmp_path / "success.json"
    evaluate_agent.main([str(folder), "--episodes", "50", "--json", str(file)])
    assert [row["num_objects"] for row in json.loads(file.read_text())["results"]] == [2, 3]
    train_agent.main(["--out", str(folder), "--resume", "--num-objects", "2", "3"])
    agent, run = load_agent(folder)
    assert agent.num_timesteps == run.evaluations[-1].step == 64
    assert len(run.resumed) == 1
    assert json.loads((folder / "config.json").read_text())["format"] == 2
    assert OLD_MODULE.encode() not in (folder / "agent.zip").read_bytes()


def test_stable_baselines3_loads_agents_of_version_0_1_0_with_a_deprecation_warning(old_run):
    folder, agent = old_run
    observations = agent.get_env().reset()
    with pytest.warns(DeprecationWarning, match=r"use lavae_rl\.policies\.set_extractor"):
        loaded = PPO.load(folder / "agent.zip", device="cpu")
    for one, other in zip(*(known.predict(observations, deterministic=True) for known in (agent, loaded)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def on_a_model(untrained, tmp_path, monkeypatch):
    """The folder of a run in a project, on a model there that has been named by a relative path."""
    project = tmp_path / "project"
    untrained.save_pretrained(project / "runs/mine")
    monkeypatch.chdir(project)
    run = new_run({"task": "MatchDigit", "observation": "lavae", "model": "runs/mine"})
    (project / "runs/agent").mkdir()
    write_run(project / "runs/agent", run)
    return project / "runs/agent"


def test_models_of_agents_are_found_from_any_working_directory(on_a_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = on_a_model.with_name("mine")
    assert read_run(on_a_model).model_folder() == mine
    change(on_a_model, model="runs/mine")  # as runs made from Python may have it
    assert read_run(on_a_model).model_folder() == mine


def test_a_model_of_an_agent_that_moved_is_named_anew(on_a_model, tmp_path):
    moved = str(on_a_model.with_name("mine").rename(tmp_path / "moved"))
    with pytest.raises(FileNotFoundError, match=r"there is no such folder.*if it is elsewhere now: --model FOLDER$"):
        resumed_run(on_a_model, {})
    assert resumed_run(on_a_model, {"model": moved}).model == moved
    (tmp_path / "moved" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="has model"):
        resumed_run(on_a_model, {"model": moved})
