import numpy as np
import pytest

from lavae_rl.envs import CollectEnv
from lavae_rl.envs.collect import Collect
from lavae_rl.envs.looks import AGENT, sprite
from lavae_rl.envs.scripted import ScriptedPolicy
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET

UP, LEFT = 1, 3
SQUARE, TRIANGLE = sprite(0, 2, 5, 1), sprite(2, 2, 0, 1)


def _draws(mode, num_objects=6):
    task, rng = Collect(mode), np.random.default_rng(0)
    for _ in range(150):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == NEUTRAL
        yield {name: values[sprites[1:]] for name, values in task.bank.attributes.items()}, roles[1:]


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize(("num_objects", "squares"), [(1, 1), (2, 1), (5, 2), (6, 3)])
def test_half_of_the_objects_are_squares_and_these_are_the_targets(num_objects, squares, mode):
    layouts = set()
    for objects, roles in _draws(mode, num_objects):
        target = objects["shape"] == 0
        assert target.sum() == squares
        np.testing.assert_array_equal(roles, np.where(target, TARGET, DISTRACTOR))
        layouts.add(target.tobytes())
    assert len(layouts) >= (1 if num_objects == 1 else num_objects)


def test_test_mode_has_other_combinations_than_training():
    train, test = (
        {
            pair
            for objects, _ in _draws(mode)
            for pair in zip(objects["shape"].tolist(), objects["color"].tolist(), strict=True)
        }
        for mode in ("train", "test")
    )
    assert not train & test
    assert (len(train), len(test)) == (12, 6)


@pytest.fixture
def env():
    """An environment with an agent and squares above it and at its left, and a triangle a bit further up."""
    env = CollectEnv(observation="oracle")
    env.reset(seed=0)
    sprites = np.array([AGENT, SQUARE, TRIANGLE, SQUARE])
    roles = np.array([NEUTRAL, TARGET, DISTRACTOR, TARGET])
    env.simulation.world.begin(0, sprites, roles, [(40, 40), (30, 40), (15, 40), (40, 30)])
    return env


def test_squares_vanish_and_the_last_one_is_success(env):
    seen, reward, terminated, _, info = env.step(UP)
    assert (reward, terminated, info) == (0.5, False, {"is_success": False})
    assert seen["mask"].sum() == 3
    assert np.argwhere(seen["tokens"][:, 3] == 1).size == 0
    assert (seen["tokens"][:3, 2] == 1).sum() == 2  # squares: the agent and the other one
    seen, reward, terminated, _, info = env.step(LEFT)
    assert (reward, terminated, info) == (0.5, True, {"is_success": True})
    assert seen["mask"].sum() == 2


def test_touching_a_triangle_ends_the_episode_and_keeps_earlier_rewards(env):
    rewards, terminated = [], False
    while not terminated:
        seen, reward, terminated, _, info = env.step(UP)
        rewards.append(reward)
    assert sum(rewards) == 0.5
    assert not info["is_success"]
    assert seen["mask"].sum() == 3


@pytest.mark.parametrize("num_objects", [1, 5])
def test_rewards_of_a_success_sum_to_one(num_objects):
    env = CollectEnv(num_objects=num_objects)
    policy = ScriptedPolicy(env.simulation)
    for seed in range(3):
        env.reset(seed=seed)
        rewards, terminated = [], False
        while not terminated:
            _, reward, terminated, _, info = env.step(policy()[0])
            rewards.append(reward)
        assert info["is_success"]
        assert sum(rewards) == pytest.approx(1)
        assert sum(reward > 0 for reward in rewards) <= max(1, num_objects // 2)
