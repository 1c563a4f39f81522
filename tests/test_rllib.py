"""Agents under RLlib: the environments of its runners, its networks, its settings. None of these starts Ray."""

import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from lavae_rl.rl.agents import make_agent
from lavae_rl.rl.observations import SLOTS
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_run_vec_env, make_task_vector

pytest.importorskip("ray", reason="needs the extra rllib")

from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from lavae_rl.rl import rllib
from lavae_rl.rl.rllib import PolicyModule, ScatteredSeeds, make_runner_env, ppo_config, scattered

# RLlib registers one name for all of its environments, and several runners here share a process.
pytestmark = pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env-v0")
SINGLE: dict[str, tuple[str, Any]] = {
    "oracle": ("LAVAE/ObjectGoal-v0", {"observation": "oracle", "max_objects": SLOTS}),
    "lavae": ("LAVAE/ObjectGoalTokens-v0", {}),
}


@pytest.fixture(autouse=True)
def _same_randomness_after():
    """RLlib seeds all global generators, and asks PyTorch for deterministic algorithms."""
    states, deterministic = (random.getstate(), torch.get_rng_state()), torch.are_deterministic_algorithms_enabled()
    yield
    random.setstate(states[0])
    torch.set_rng_state(states[1])
    torch.use_deterministic_algorithms(deterministic)


def _run(task="ObjectGoal", observation="oracle", **given):
    return new_run({"task": task, "observation": observation, "algorithm": "ppo", "num_envs": 4, **given}, "rllib")


def _equal(one, other):
    return np.allclose(one["tokens"], other["tokens"], atol=1e-5) and np.array_equal(one["mask"], other["mask"])


def _play_again(run):
    """Plays every episode of a runner in single environments, and returns how many there were."""
    runner = SingleAgentEnvRunner(config=ppo_config(run), worker_index=0)
    left = runner.sample(num_episodes=12, random_actions=True)
    number, (env_id, options) = len(left), SINGLE[run.observation]
    for i in range(run.preset.num_envs):
        single = gym.make(env_id, **options, **run.preset.env_options())
        observed, _ = single.reset(seed=scattered(ppo_config(run).seed) + i)
        while match := [each for each in left if _equal(each.get_observations(0), observed)]:
            episode = match[0]
            left.remove(episode)
            for t, action in enumerate(episode.get_actions()):
                observed, reward, terminated, truncated, info = single.step(action)
                assert _equal(episode.get_observations(t + 1), observed)
                assert episode.get_rewards(t) == pytest.approx(reward, abs=1e-6)
            assert (episode.is_terminated, episode.is_truncated) == (terminated, truncated)
            if episode.is_done:
                assert episode.get_infos(-1)["is_success"] == info["is_success"]
                observed, _ = single.reset()
    assert left == []
    return number


@pytest.mark.slow
@pytest.mark.parametrize("observation", SINGLE)
def test_episodes_of_a_runner_are_those_of_single_environments(observation):
    assert _play_again(_run(observation=observation, num_objects=2)) >= 12


@pytest.mark.slow
def test_the_first_observation_of_an_episode_as_the_last_of_another_would_be_found(monkeypatch):
    def unchecked(context):
        run = context["run"]
        options = run.preset.env_options()
        vector = make_task_vector(run.task, run.observation, context["num_envs"], AutoresetMode.SAME_STEP, **options)
        return ScatteredSeeds(vector)

    monkeypatch.setattr(rllib, "make_runner_env", unchecked)
    with pytest.raises(AssertionError):
        _play_again(_run(num_objects=2))


def test_another_autoreset_mode_is_refused():
    with pytest.raises(ValueError, match="expected autoreset mode NEXT_STEP, the only one that RLlib reads correctly"):
        make_runner_env({"run": _run(), "num_envs": 2}, AutoresetMode.SAME_STEP)


def _first_scenes(wrap, seeds):
    """Scenes that vector environments begin with, each given the seed of its runner."""
    scenes = []
    for seed in seeds:
        vector = make_task_vector("ObjectGoal", "oracle", 16, AutoresetMode.NEXT_STEP)
        observations, _ = wrap(vector).reset(seed=seed)
        scenes += [tokens.tobytes() for tokens in observations["tokens"]]
    return scenes


def test_runners_share_no_scenes():
    seeds = [ppo_config(_run(seed=seed)).seed + worker for seed in (0, 1) for worker in range(4)]
    assert len(set(_first_scenes(ScatteredSeeds, seeds))) == 8 * 16
    assert len(set(_first_scenes(lambda vector: vector, seeds))) < 8 * 16  # this test can fail


@pytest.mark.parametrize("task", ["ObjectGoal", "MatchDigit"])
def test_networks_are_those_of_stable_baselines3(task):
    run = _run(task)
    venv = make_run_vec_env(run, 5, seed=0)
    agent = make_agent(run.observation, run.preset, venv, seed=0)
    module = PolicyModule(
        observation_space=venv.observation_space,
        action_space=venv.action_space,
        model_config={"observation": run.observation, "preset": run.preset},
    )
    module.policy.load_state_dict(agent.policy.state_dict())
    observed: Any = venv.reset()
    policy: Any = agent.policy
    batch, _ = policy.obs_to_tensor(observed)
    acted, trained = (forward({Columns.OBS: batch}) for forward in (module.forward_exploration, module.forward_train))
    assert set(acted) == {Columns.ACTION_DIST_INPUTS}  # all else would travel to the learners
    torch.testing.assert_close(acted[Columns.ACTION_DIST_INPUTS], trained[Columns.ACTION_DIST_INPUTS])
    ours = module.get_exploration_action_dist_cls().from_logits(acted[Columns.ACTION_DIST_INPUTS])
    theirs = policy.get_distribution(batch)
    actions = theirs.mode()
    torch.testing.assert_close(ours.logp(actions), theirs.log_prob(actions))
    values = policy.predict_values(batch)[:, 0]
    torch.testing.assert_close(module.compute_values({Columns.OBS: batch}), values)
    torch.testing.assert_close(module.compute_values({}, trained[Columns.EMBEDDINGS]), values)


def test_environments_and_batches_are_divided_among_processes():
    run = new_run({"task": "OddOneOut", "observation": "oracle"}, "rllib")
    alone, many = ppo_config(run), ppo_config(run, 16, 2)
    assert (alone.num_envs_per_env_runner, many.num_envs_per_env_runner) == (64, 4)
    assert (alone.train_batch_size_per_learner, many.train_batch_size_per_learner) == (4_096, 2_048)
    assert (alone.minibatch_size, many.minibatch_size) == (1_024, 512)


@pytest.mark.parametrize(
    ("given", "processes", "message"),
    [
        ({}, {"env_runners": 5}, "expected 0 to 4 env runners, one for each environment, got 5"),
        ({}, {"learners": -1}, "expected 0 to 4 learners, one for each environment, got -1"),
        ({"task": "MatchDigit", "algorithm": "sac"}, {}, "expected algorithm ppo under RLlib, got sac"),
    ],
)
def test_what_rllib_cannot_do_is_refused(given, processes, message):
    with pytest.raises(ValueError, match=message):
        ppo_config(_run(**given), **processes)


def test_observations_without_tokens_and_too_many_objects_are_refused():
    with pytest.raises(ValueError, match="expected RLlib with observation lavae or oracle, got it with pixels"):
        make_runner_env({"run": _run(observation="pixels"), "num_envs": 2})
    with pytest.raises(ValueError, match="tokens have 8 slots"):
        make_runner_env({"run": _run(observation="lavae", num_objects=12), "num_envs": 2})


def test_other_environments_have_clipped_rewards_and_returns_of_plain_ones(register_slide):
    env_id = register_slide("test/Slide-v0", size=(64, 64), steps=5, rewards=(3.0, 3.0))
    run = _run(env_id, "lavae", model="multi-dsprites", reward="clipped")
    vector = make_runner_env({"run": run, "num_envs": 2})
    observations, _ = vector.reset(seed=0)
    assert vector.observation_space.contains(observations)
    for _ in range(5):
        _, rewards, terminated, _, infos = vector.step(np.zeros(2, int))
        assert rewards.tolist() == [1.0, 1.0]
    assert terminated.all()
    assert infos["episode"]["r"].tolist() == [15.0, 15.0]
