from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lavae_rl.envs import task_class
from lavae_rl.envs.looks import AGENT, sprite
from lavae_rl.envs.scripted import ScriptedPolicy
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET
from lavae_rl.registration import TASKS

BLOCK = sprite(0, 2, 5, 1)
"""An upright green square, lit from 5 pixels before its centre to 4 behind it. The agent is, from 3 to 2."""


def _make(task, **options) -> Any:
    return gym.make(f"LAVAE/{task}-v0", **options).unwrapped


def _put(env, agent, *objects):
    sprites = np.array([AGENT] + [BLOCK] * len(objects))
    roles = np.array([NEUTRAL] + [role for role, _ in objects])
    env.simulation.world.begin(0, sprites, roles, [agent, *(place for _, place in objects)])


def _walk(env, limit=100):
    """Lets the policy act until the end: how many steps it took, and whether with success."""
    policy = ScriptedPolicy(env.simulation)
    for step in range(1, limit + 1):
        action = policy()[0]
        _, _, terminated, _, info = env.step(action)
        if np.all(action == 0):
            return step, False  # there is no path
        if terminated:
            return step, info["is_success"]
    return limit, False


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_policy_nearly_always_succeeds(task):
    expected = 0.95 if task_class(task).goal is None else 0.9  # it never pushes another object aside
    envs = [_make(task, mode=mode) for mode in ("train", "test")]
    ends = []
    for seed in range(30):
        envs[seed % 2].reset(seed=seed)
        ends.append(_walk(envs[seed % 2])[1])
    assert np.mean(ends) >= expected


def test_policy_acts_for_many_environments_at_once():
    env: Any = gym.make_vec("LAVAE/ObjectGoal-v0", 4, autoreset_mode="Disabled")
    single = _make("ObjectGoal")
    env.reset(seed=0)
    policy = ScriptedPolicy(env.simulation)
    actions = policy()
    assert env.action_space.contains(actions)
    for i in range(4):
        single.reset(seed=i)
        assert actions[i] == ScriptedPolicy(single.simulation)()[0]
    assert len(set(actions.tolist())) > 1


def test_policy_takes_the_shortest_path():
    env = _make("ObjectGoal")
    _put(env, (32, 32), (TARGET, (32, 52)))
    # Between 34, the agent's last column, and 47, the first of the block, are 12 dark ones; 3 moves leave none.
    assert _walk(env) == (3, True)


def test_policy_walks_around_a_distractor():
    env = _make("ObjectGoal")
    _put(env, (32, 12), (TARGET, (32, 54)), (DISTRACTOR, (32, 30)))
    steps, success = _walk(env)
    # 40 columns in steps of 4 but for the last few; and at least 3 rows of a lattice up or down, and not back.
    assert success
    assert 11 <= steps <= 13


def test_policy_collects_all_targets():
    env = _make("Collect")
    _put(env, (32, 32), (TARGET, (12, 12)), (TARGET, (50, 50)), (DISTRACTOR, (12, 50)))
    assert _walk(env)[1]


def test_policy_plans_anew_after_actions_of_others():
    env = _make("ObjectGoal")
    env.reset(seed=0)
    policy = ScriptedPolicy(env.simulation)
    _put(env, (12, 12), (TARGET, (52, 52)), (DISTRACTOR, (30, 30)))
    for step in range(60):
        _, _, terminated, _, info = env.step(1 if step % 3 == 2 else policy()[0])  # up, now and then
        if terminated:
            break
    assert info["is_success"]


def test_policy_pushes_around_another_object():
    env = _make("Push")
    _put(env, (10, 10), (TARGET, (34, 34)), (DISTRACTOR, (34, 18)))
    assert _walk(env)[1]


def test_policy_stays_where_there_is_no_path():
    env = _make("Push")
    _put(env, (30, 30), (TARGET, (55, 55)))  # out of the corner nobody can push it
    policy = ScriptedPolicy(env.simulation)
    assert [policy().tolist() for _ in range(3)] == [[0]] * 3


def test_policy_points_at_the_centres_of_digits():
    env: Any = gym.make_vec("LAVAE/MatchDigit-v0", 3, canvas_size=(48, 80))
    env.reset(seed=0)
    world = env.simulation.world
    actions = ScriptedPolicy(env.simulation)()
    assert env.action_space.contains(actions)
    places = world.scenes.location[world.targets]
    np.testing.assert_allclose((actions + 1) / 2 * [79, 47], places[:, ::-1], atol=1e-4)
