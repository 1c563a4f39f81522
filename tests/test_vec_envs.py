from typing import Any

import numpy as np
import pytest

from lavae_rl.learning.vec_envs import make_task_vec_env


def test_unknown_tasks_and_observations_are_refused():
    with pytest.raises(ValueError, match=r"LAVAE/Collect-v0.*got 'OddManOut'"):
        make_task_vec_env("OddManOut", "oracle", 2)
    with pytest.raises(ValueError, match="lavae, oracle, pixels, got 'sound'"):
        make_task_vec_env("Collect", "sound", 2)


@pytest.mark.parametrize(
    ("observation", "shapes"),
    [
        ("lavae", {"tokens": (3, 8, 10), "mask": (3, 8)}),
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


def test_the_last_info_of_an_episode_says_how_it_went():
    venv = make_task_vec_env("ObjectGoal", "oracle", 2, seed=0, num_objects=1, max_episode_steps=2)
    venv.reset()
    venv.step(np.zeros(2, np.int64))
    infos = venv.step(np.zeros(2, np.int64))[3]
    for info in infos:
        assert info["is_success"] is False or info["is_success"] == np.False_
        assert info["TimeLimit.truncated"]
        assert info["episode"]["l"] == 2
        assert "terminal_observation" in info


def test_digits_are_read_by_their_own_model():
    venv = make_task_vec_env("MatchDigit", "lavae", 2, seed=0)
    seen: Any = venv.reset()
    assert seen["tokens"].shape == (2, 8, 18)
