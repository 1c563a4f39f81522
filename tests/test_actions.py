"""Actions of other shapes or types than the space's: refused, never broadcast."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.env_util import make_vec_env

from lavae_rl.perception.sb3 import GymVectorToSB3, VecLAVAEObservation
from lavae_rl.perception.wrappers import LAVAEObservation, VectorLAVAEObservation

MOVING, POINTING = "LAVAE/ObjectGoal-v0", "LAVAE/MatchDigit-v0"
SINGLE = {
    MOVING: [[1], [1, 2], np.zeros((1, 1), int), 1.0, True, "up", None, 5, -1, np.nan, {"move": 1}],
    POINTING: [0.5, [0.5], [[0.5, 0.5]], np.zeros(3), [np.nan, 0.0], ["a", "b"], [True, False], 1j * np.ones(2), None],
}
BATCH = {
    MOVING: [1, [1, 1], np.zeros((4, 1), int), np.zeros((1, 4), int), np.zeros(4), [1, 1, 1, 5], [[1], [1, 2], 1, 1]],
    POINTING: [[0.5, 0.5], np.zeros((1, 2)), np.zeros((4, 1)), np.zeros((2, 4)), np.zeros(4), np.full((4, 2), np.nan)],
}


def _cases(table):
    return [(name, action) for name, actions in table.items() for action in actions]


@pytest.mark.parametrize(("name", "action"), _cases(SINGLE), ids=str)
def test_single_environments_refuse_actions_that_are_not_in_the_space(name, action):
    env = gym.make(name, disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="expected"):
        env.step(action)


@pytest.mark.parametrize(("name", "actions"), _cases(BATCH), ids=str)
def test_vector_environments_refuse_actions_that_are_not_in_the_space(name, actions):
    envs = gym.make_vec(name, 4)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="expected"):
        envs.step(actions)
    adapted = GymVectorToSB3(gym.make_vec(name, 4, autoreset_mode="SameStep"))
    adapted.reset()
    with pytest.raises(ValueError, match="expected"):
        adapted.step(actions)


def test_lists_and_numbers_of_the_right_shape_are_actions():
    env, envs = gym.make(MOVING), gym.make_vec(POINTING, 2)
    env.reset(seed=0)
    envs.reset(seed=0)
    for action in (1, np.int64(1), np.array(1, np.uint8)):
        env.step(action)
    for actions in ([[0.5, 0.5], [0, 0]], np.zeros((2, 2)), ((1, 1), (-1, 0))):
        envs.step(actions)


WRAPPERS = {
    "Gymnasium": lambda: VectorLAVAEObservation(SyncVectorEnv([lambda: gym.make(MOVING)] * 4)),
    "own vector": lambda: VectorLAVAEObservation(gym.make_vec(MOVING, 4)),
    "Stable-Baselines3": lambda: VecLAVAEObservation(make_vec_env(MOVING, n_envs=4)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("actions", [np.zeros(2, int), np.zeros(5, int), np.zeros((4, 1), int), 0], ids=str)
def test_wrappers_refuse_actions_of_another_shape(wrapper, actions):
    envs: Any = WRAPPERS[wrapper]()
    envs.reset()
    with pytest.raises(ValueError, match=r"expected actions of shape \(4,\), got"):
        envs.step(actions)


def test_a_wrapped_environment_refuses_what_it_refuses_alone():
    env = LAVAEObservation(gym.make(MOVING))
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected actions of shape \(\), got \(1,\)"):
        env.step([1])
