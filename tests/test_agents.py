from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from lavae_rl.registration import TASKS, register_envs
from lavae_rl.rl.agents import find_run, load_agent, make_agent, save_agent
from lavae_rl.rl.presets import MOVING, POINTING, PRESETS, Preset, preset_for
from lavae_rl.rl.run import AgentRun, new_run, write_run
from lavae_rl.rl.success import success_rate
from lavae_rl.rl.vec_envs import make_task_vec_env

SMALL = Preset(rollout=8, batch_size=16, epochs=1, width=16)


@pytest.fixture
def describe():
    """Makes the run of an agent with given settings."""

    def make(observation: str = "oracle", preset: Preset = SMALL) -> AgentRun:
        return replace(new_run({"observation": observation}), preset=preset)

    return make


def test_presets_are_of_tasks():
    assert set(PRESETS) <= set(TASKS)
    assert {preset_for(task).algorithm for task in TASKS} == {"ppo", "sac"}


@pytest.mark.parametrize(("task", "preset"), [("Largest", MOVING), ("MatchDigit", POINTING)])
def test_new_task_trains_without_a_preset_of_its_own(task, preset, monkeypatch):
    monkeypatch.setitem(TASKS, "Ninth", TASKS[task])
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    register_envs()
    try:
        assert preset_for("Ninth") == preset
    finally:
        preset_for.cache_clear()
    agent = make_agent("oracle", preset, make_task_vec_env("Ninth", "oracle", 2), seed=0)
    assert agent.learn(8).num_timesteps >= 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "task", "kind"),
    [("ppo", "OddOneOut", PPO), ("a2c", "OddOneOut", A2C), ("dqn", "OddOneOut", DQN), ("sac", "MatchDigit", SAC)],
)
def test_algorithms_learn_on_tokens(algorithm, task, kind):
    venv = make_task_vec_env(task, "oracle", 4, seed=0)
    agent = make_agent("oracle", replace(SMALL, algorithm=algorithm), venv, seed=0)
    assert isinstance(agent, kind)
    before = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    if isinstance(agent, OffPolicyAlgorithm):
        agent.learning_starts = 20
    agent.learn(120)
    assert any(not torch.equal(value, before[name]) for name, value in agent.policy.state_dict().items())


def test_pixels_are_read_by_a_cnn():
    agent = make_agent("pixels", SMALL, make_task_vec_env("OddOneOut", "pixels", 2, seed=0), seed=0)
    assert type(agent.policy.features_extractor).__name__ == "NatureCNN"


def test_unknown_algorithm_is_refused():
    with pytest.raises(ValueError, match=r"ppo, a2c, dqn.* for actions Discrete\(5\), got 'reinforce'"):
        make_agent("oracle", replace(SMALL, algorithm="reinforce"), make_task_vec_env("OddOneOut", "oracle", 2), seed=0)


@pytest.mark.parametrize(
    ("observation", "algorithm"), [("oracle", "ppo"), ("oracle", "a2c"), ("oracle", "dqn"), ("pixels", "ppo")]
)
def test_saved_agent_acts_as_before(observation: Any, algorithm, tmp_path, describe):
    run = describe(observation, replace(SMALL, algorithm=algorithm))
    venv = make_task_vec_env("OddOneOut", observation, 4, seed=0)
    agent = make_agent(observation, run.preset, venv, seed=0)
    agent.learn(64)
    save_agent(tmp_path, agent, run)
    again = load_agent(find_run(tmp_path))
    assert again.run == run
    observation = venv.reset()
    for one, other in zip(
        agent.predict(observation, deterministic=True),
        again.agent.predict(observation, deterministic=True),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.zip", "config.json"]


def test_missing_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"agent\.zip"):
        find_run(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "kind", "episode_steps", "steps"), [("ObjectGoal", PPO, 10, 20_000), ("DigitOrder", SAC, 3, 24_000)]
)
def test_small_task_is_solved_from_the_true_state(task, kind, episode_steps, steps):
    preset = replace(preset_for(task), arch="deepsets", batch_size=256)
    small: dict[str, Any] = {"num_objects": 1, "canvas_size": (48, 48), "max_episode_steps": episode_steps}
    venv = make_task_vec_env(task, "oracle", 64, seed=0, reward="shaped", **small)
    test = make_task_vec_env(task, "oracle", 50, seed=1_000, **small)
    agent = make_agent("oracle", preset, venv, seed=0)
    assert isinstance(agent, kind)
    assert success_rate(agent.predict, test, 200).rate < 0.5
    agent.learn(steps)
    assert success_rate(agent.predict, test, 200).rate > 0.9


def test_agent_of_other_networks_is_refused(tmp_path, describe):
    venv = make_task_vec_env("OddOneOut", "oracle", 2, seed=0)
    agent = make_agent("oracle", SMALL, venv, seed=0)
    extractor: Any = agent.policy.features_extractor
    extractor.network.second = torch.nn.Linear(3, 3)  # what is saved has other weights
    agent.policy.pi_features_extractor = agent.policy.vf_features_extractor = agent.policy.features_extractor
    save_agent(tmp_path, agent, describe())
    with pytest.raises(ValueError, match="another version of the networks; train it again"):
        load_agent(find_run(tmp_path))


def test_damaged_files_are_named(tmp_path, describe):
    write_run(tmp_path, describe())
    (tmp_path / "agent.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"agent\.zip cannot be loaded"):
        load_agent(find_run(tmp_path))
    write_run(tmp_path, describe(preset=replace(SMALL, algorithm="reinforce")))
    with pytest.raises(ValueError, match=r"config\.json with algorithm of ppo, .*, got 'reinforce'"):
        load_agent(find_run(tmp_path))


@pytest.mark.slow
def test_off_policy_agent_fills_its_replay_buffer_before_it_goes_on(tmp_path, describe):
    run = describe(preset=replace(SMALL, algorithm="dqn"))
    venv = make_task_vec_env("OddOneOut", "oracle", 4, seed=0)
    agent = make_agent("oracle", run.preset, venv, seed=0)
    agent.learn(1_008)
    save_agent(tmp_path, agent, run)
    save_agent(tmp_path, load_agent(tmp_path, venv).agent, run)
    again: Any = load_agent(tmp_path, venv).agent
    assert again.learning_starts == 2_008
    assert again.replay_buffer.size() == 0
    before = {name: value.clone() for name, value in again.policy.state_dict().items()}
    again.learn(900, reset_num_timesteps=False)
    assert all(torch.equal(value, before[name]) for name, value in again.policy.state_dict().items())


@pytest.mark.parametrize("values", [{"steps": 0}, {"batch_size": -1}, {"episode_steps": 0}])
def test_presets_of_numbers_below_one_are_refused(values):
    with pytest.raises(ValueError, match="of at least 1, got"):
        replace(SMALL, **values)


@pytest.mark.parametrize(("limit", "lengths"), [(2, [2, 2]), (None, [50])])
def test_episodes_in_training_can_be_cut_short(limit, lengths):
    preset = replace(preset_for("MatchDigit"), episode_steps=limit)
    venv = make_task_vec_env("MatchDigit", "oracle", 1, seed=0, **preset.env_options())
    venv.reset()
    corner = np.array([[-1.0, -1.0]], np.float32)  # the cue's, where pointing does nothing
    ended = [info["episode"]["l"] for _ in range(sum(lengths)) for info in venv.step(corner)[3] if "episode" in info]
    assert ended == lengths
