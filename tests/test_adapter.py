"""The adapter against the VecEnv that Stable-Baselines3 would make, at every episode boundary."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorEpisodeStatistics
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl.perception.sb3 import GymVectorToSB3, VecLAVAEObservation


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_a_gymnasium_vector_is_the_vec_env_that_stable_baselines_would_make(mode, factories):
    made = DummyVecEnv(factories)
    adapted = GymVectorToSB3(SyncVectorEnv(factories, autoreset_mode=mode))
    made.seed(5)
    adapted.seed(5)
    np.testing.assert_array_equal(made.reset(), adapted.reset())
    for _ in range(10):
        (frames, rewards, dones, infos), stepped = made.step(np.zeros(4, int)), adapted.step(np.zeros(4, int))
        for expected, value in zip((frames, rewards, dones), stepped[:3], strict=True):
            np.testing.assert_array_equal(expected, value)
        for expected, info in zip(infos, stepped[3], strict=True):
            assert info["clock"] == expected["clock"]
            assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
            np.testing.assert_array_equal(info.get("terminal_observation", 0), expected.get("terminal_observation", 0))


def _statistics(factories, mode, inside):
    def make(i):
        return (lambda: RecordEpisodeStatistics(factories[i]())) if inside else factories[i]

    env = SyncVectorEnv([make(i) for i in range(4)], autoreset_mode=mode)
    return GymVectorToSB3(env if inside else VectorEpisodeStatistics(env))


# Not DISABLED with statistics of the vector: at a partial reset, Gymnasium's wrapper forgets the counts of all itself.
@pytest.mark.parametrize(
    ("mode", "inside"),
    [(AutoresetMode.SAME_STEP, True), (AutoresetMode.SAME_STEP, False), (AutoresetMode.DISABLED, True)],
)
def test_episode_statistics_reach_the_infos_of_the_last_step(mode, inside, factories):
    adapted = _statistics(factories, mode, inside)
    adapted.reset()
    for step in range(1, 8):
        infos = adapted.step(np.zeros(4, int))[3]
        for length, info in zip((3, 4, 5, 7), infos, strict=True):
            assert ("episode" in info) == (step % length == 0)
            if "episode" in info:
                assert (info["episode"]["l"], info["episode"]["r"]) == (length, length * (length + 1) / 2)


@pytest.mark.slow
def test_ppo_learns_on_tokens_of_an_adapted_vector(factories, slots):
    adapted = _statistics(factories, AutoresetMode.SAME_STEP, inside=True)
    agent = PPO("MlpPolicy", VecLAVAEObservation(adapted, max_objects=slots, flatten=True), n_steps=8, batch_size=8)
    agent.learn(32)
    assert len(agent.ep_info_buffer or []) == 6  # 8 steps: 2 + 2 + 1 + 1


def test_an_adapted_vector_reaches_its_environments(factories):
    adapted = GymVectorToSB3(SyncVectorEnv(factories, autoreset_mode=AutoresetMode.SAME_STEP))
    adapted.reset()
    assert adapted.get_attr("clock") == [0] * 4
    adapted.set_attr("clock", 2, indices=[1, 3])
    assert adapted.get_attr("clock") == [0, 2, 0, 2]
    assert adapted.get_attr("clock", indices=3) == [2]
    assert adapted.env_is_wrapped(gym.Wrapper) == [False] * 4
    assert len(adapted.env_method("render", indices=[0])) == 1
    adapted.set_options([{"level": 1}, {"level": 2}, {}, {}])
    with pytest.raises(ValueError, match="same options for all"):
        adapted.reset()


def test_next_step_autoreset_is_refused_with_the_call_that_works(factories):
    with pytest.raises(ValueError, match=r"got NEXT_STEP: make it by .*vector_kwargs=dict\(autoreset_mode="):
        GymVectorToSB3(SyncVectorEnv(factories))
    with pytest.raises(ValueError, match=r"got NEXT_STEP: make it by gymnasium.make_vec\(\.\.\., autoreset_mode="):
        GymVectorToSB3(gym.make_vec("LAVAE/ObjectGoal-v0", num_envs=2))
    GymVectorToSB3(gym.make_vec("LAVAE/ObjectGoal-v0", num_envs=2, autoreset_mode=AutoresetMode.SAME_STEP))
