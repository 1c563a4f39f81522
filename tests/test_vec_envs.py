from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecFrameStack

from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.perception.vae_vector import VecVAEObservation
from lavae_rl.rl.agents import make_agent
from lavae_rl.rl.observations import OBSERVATIONS, Observation
from lavae_rl.rl.presets import Preset
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_task_env, make_task_vec_env


def test_unknown_tasks_and_observations_are_refused():
    with pytest.raises(ValueError, match=r"LAVAE/Collect-v0.*got 'OddManOut'"):
        make_task_vec_env("OddManOut", "oracle", 2)
    with pytest.raises(ValueError, match="lavae, oracle, pixels, vae, got 'sound'"):
        make_task_vec_env("Collect", "sound", 2)


@pytest.mark.parametrize(
    ("observation", "shapes"),
    [
        ("lavae", {"tokens": (3, 8, 13), "mask": (3, 8)}),
        ("oracle", {"tokens": (3, 8, 11), "mask": (3, 8)}),
        ("pixels", (3, 64, 64, 3)),
    ],
)
def test_observations_of_a_task(observation, shapes):
    venv = make_task_vec_env("ObjectGoal", observation, 3, seed=5, num_objects=2)
    seen: Any = venv.reset()
    assert shapes == ({key: value.shape for key, value in seen.items()} if isinstance(seen, dict) else seen.shape)
    if isinstance(seen, dict):
        np.testing.assert_array_equal(seen["mask"].sum(axis=1), [3, 3, 3])  # two objects and the agent


def test_last_info_of_an_episode_holds_its_success():
    venv = make_task_vec_env("ObjectGoal", "oracle", 2, seed=0, num_objects=1, max_episode_steps=2)
    venv.reset()
    venv.step(np.zeros(2, np.int64))
    infos = venv.step(np.zeros(2, np.int64))[3]
    for info in infos:
        assert info["is_success"] is False or info["is_success"] == np.False_
        assert info["TimeLimit.truncated"]
        assert info["episode"]["l"] == 2
        assert "terminal_observation" in info


def test_tasks_of_digits_have_their_own_model():
    venv = make_task_vec_env("MatchDigit", "lavae", 2, seed=0)
    seen: Any = venv.reset()
    assert seen["tokens"].shape == (2, 8, 18)


def test_vae_observation_encodes_the_frames(tmp_path):
    torch.manual_seed(0)
    vae = ConvVAE(BaselineConfig(latents=2))
    vae.save_pretrained(tmp_path)
    options: dict[str, Any] = {"seed": 3, "num_objects": 1, "max_episode_steps": 2}
    vectors, frames = (
        make_task_vec_env("ObjectGoal", observation, 3, model=str(tmp_path), **options)
        for observation in ("vae", "pixels")
    )
    assert vectors.observation_space.shape == (2 * 8 * 8,)

    def vector(seen: Any) -> Any:
        return vae.encode(np.asarray(seen)).flatten(1).numpy()

    np.testing.assert_allclose(np.asarray(vectors.reset()), vector(frames.reset()), atol=1e-5)
    for _ in range(2):
        seen, _, dones, infos = vectors.step(np.zeros(3, np.int64))
        pixels, _, _, pixel_infos = frames.step(np.zeros(3, np.int64))
        np.testing.assert_allclose(np.asarray(seen), vector(pixels), atol=1e-5)
    assert dones.all()
    finals = [info["terminal_observation"] for info in pixel_infos]
    np.testing.assert_allclose([info["terminal_observation"] for info in infos], vector(finals), atol=1e-5)


def test_vae_observation_needs_a_model_and_frames(tmp_path):
    with pytest.raises(ValueError, match="--model baseline"):
        make_task_vec_env("ObjectGoal", "vae", 2)
    with pytest.raises(TypeError, match="frames as a uint8 Box"):
        VecVAEObservation(make_task_vec_env("ObjectGoal", "oracle", 2), str(tmp_path))


def test_more_objects_than_tokens_have_slots_are_refused():
    for observation in (name for name, kind in OBSERVATIONS.items() if kind.reads_tokens):
        with pytest.raises(ValueError, match="8 objects need"):
            make_task_vec_env("OddOneOut", observation, 2, num_objects=8)
    assert make_task_vec_env("OddOneOut", "pixels", 2, num_objects=8).num_envs == 2


def test_vae_of_other_channels_is_refused(tmp_path):
    ConvVAE(BaselineConfig(channels=3)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="height, width, 3"):
        make_task_vec_env("MatchDigit", "vae", 2, model=str(tmp_path))


@pytest.mark.parametrize("observation", [name for name, kind in OBSERVATIONS.items() if kind.watch])
def test_single_environment_observes_the_same_as_a_vector(observation):
    single = make_task_env("ObjectGoal", observation, num_objects=3)
    many = make_task_vec_env("ObjectGoal", observation, 2, seed=4, num_objects=3)
    seen, _ = single.reset(seed=4)
    batch: Any = many.reset()
    for one, first in zip(
        *((value.values() if isinstance(value, dict) else [value]) for value in (seen, batch)), strict=True
    ):
        np.testing.assert_array_equal(one, first[0])
    assert np.asarray(single.render()).dtype == np.uint8
    with pytest.raises(ValueError, match="a film with observation lavae or oracle or pixels, got it with vae"):
        make_task_env("ObjectGoal", "vae")


def test_new_kind_of_observation_is_one_entry_of_the_table(monkeypatch):
    stacked = Observation("pixels", "CnnPolicy", wrap=lambda venv, *_: VecFrameStack(venv, 2), bundled=True, watch=None)
    monkeypatch.setitem(OBSERVATIONS, "stacked", stacked)
    run = new_run({"task": "ObjectGoal", "observation": "stacked", "num_objects": 8})
    assert run.model_fingerprint == new_run({}).model_fingerprint  # that of the bundled model
    venv = make_task_vec_env("ObjectGoal", "stacked", 2)
    assert venv.observation_space.shape == (64, 64, 6)
    agent = make_agent("stacked", Preset(rollout=8, batch_size=16, epochs=1), venv, seed=0)
    assert agent.learn(16).num_timesteps == 16
    with pytest.raises(ValueError, match="--arch with observation lavae or oracle, got it with stacked"):
        new_run({"observation": "stacked", "arch": "flat"})
    with pytest.raises(ValueError, match="a film with observation lavae or oracle or pixels, got it with stacked"):
        make_task_env("ObjectGoal", "stacked")
