import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C, DQN, PPO

from lavae_rl.rl.policy import load_policy


@pytest.mark.parametrize("kind", [PPO, A2C, DQN])
def test_agents_of_any_algorithm_act_and_repeat_an_episode_by_its_seed(tmp_path, kind):
    env = gym.make("CartPole-v1")
    kind("MlpPolicy", env, device="cpu").save(tmp_path / "agent.zip")
    agent = load_policy(tmp_path / "agent.zip")
    states = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    runs = []
    for seed in (3, 4, 3):
        policy = agent(seed)
        runs.append([int(policy(state)) for state in states])
    assert runs[0] == runs[2]
    if kind is not DQN:  # which explores during its training only
        assert runs[0] != runs[1]
        assert set(runs[0]) == {0, 1}


def test_files_that_hold_no_agent_are_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"--policy random, sticky or the \.zip of an agent, got .*missing\.zip"
    ):
        load_policy(tmp_path / "missing.zip")
    (tmp_path / "a.zip").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.zip to be an agent of ppo, a2c, dqn, sac, td3.*; ppo: "):
        load_policy(tmp_path / "a.zip")
