"""Policies with a model inside: their zip holds all that it takes to load them from any folder."""

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl.model.checkpoint import BUNDLED
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The working directory, with a model in runs/mine."""
    shutil.copytree(BUNDLED / "multi-dsprites", tmp_path / "project/runs/mine")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def _agent(make_env, algorithm=PPO, model="runs/mine", **options):
    policy = {"features_extractor_class": LAVAEFeaturesExtractor, "features_extractor_kwargs": {"model": model}}
    return algorithm("CnnPolicy", DummyVecEnv([make_env]), policy_kwargs=policy, device="cpu", **options)


def _absent(project, monkeypatch):
    monkeypatch.chdir(project.parent / "elsewhere")


def _other_model(project, monkeypatch):
    monkeypatch.chdir(project.parent / "elsewhere")
    LAVAE(LAVAEConfig(channels=3, latents=4)).save_pretrained("runs/mine")


def _removed(project, monkeypatch):
    shutil.rmtree("runs")


PPO_OPTIONS = {"n_steps": 8, "batch_size": 8}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leave", "algorithm", "options"),
    [
        (_absent, PPO, PPO_OPTIONS),
        (_other_model, PPO, PPO_OPTIONS),
        (_removed, DQN, {"buffer_size": 10}),
    ],
)
def test_agents_are_loaded_without_the_folder_of_their_model(leave, algorithm, options, project, make_env, monkeypatch):
    agent = _agent(make_env, algorithm, **options)
    frames = agent.get_env().reset()
    expected = agent.policy.state_dict()
    agent.save(project.parent / "agent")
    leave(project, monkeypatch)
    loaded = algorithm.load(project.parent / "agent", device="cpu")
    assert all(torch.equal(value, expected[name]) for name, value in loaded.policy.state_dict().items())
    np.testing.assert_array_equal(
        loaded.predict(frames, deterministic=True)[0], agent.predict(frames, deterministic=True)[0]
    )
    loaded.save(project.parent / "again")
    algorithm.load(project.parent / "again", device="cpu")


def test_a_model_that_was_trained_again_in_its_folder_is_read_anew(project, make_env):
    env = make_env()
    first = LAVAEFeaturesExtractor(env.observation_space, "runs/mine")
    LAVAE(LAVAEConfig(channels=3, latents=4)).save_pretrained("runs/mine")
    second = LAVAEFeaturesExtractor(env.observation_space, "runs/mine")
    assert (first.lavae.config.latents, second.lavae.config.latents) == (11, 4)


def test_a_model_without_weights_is_never_used(project, make_env, monkeypatch):
    agent = _agent(make_env, **PPO_OPTIONS)
    agent.save(project.parent / "agent")
    monkeypatch.chdir(project.parent / "elsewhere")
    space: Any = PPO.load(project.parent / "agent", device="cpu").observation_space
    extractor = LAVAEFeaturesExtractor(space, "runs/mine")
    with pytest.raises(ValueError, match="expected the weights of model 'runs/mine'"):
        extractor(torch.zeros(1, 3, 64, 64))


def test_a_model_that_never_was_there_is_refused():
    with pytest.raises(FileNotFoundError, match=r"got 'runs/mine': there is no such folder"):
        LAVAEFeaturesExtractor(spaces.Box(0, 255, (64, 64, 3), np.uint8), "runs/mine")
