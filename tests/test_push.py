import numpy as np
import pytest

from lavae_rl.envs import PushEnv
from lavae_rl.envs.looks import AGENT, combinations, sprite
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET

UP, DOWN, LEFT, RIGHT = 1, 2, 3, 4
GREEN, BLUE = sprite(0, 2, 5, 1), sprite(0, 2, 5, 0)
"""Upright squares, lit from 5 pixels before their centre to 4 behind it. The agent is, from 3 to 2."""


@pytest.fixture
def env():
    env = PushEnv()
    env.reset(seed=0)
    return env


def _put(env, agent, target, *others):
    sprites = np.array([AGENT, GREEN] + [BLUE] * len(others))
    roles = np.array([NEUTRAL, TARGET] + [DISTRACTOR] * len(others))
    world = env.simulation.world
    if len(sprites) > world.role.shape[1]:
        env.__init__(num_objects=len(sprites) - 1)
        world = env.simulation.world
    world.begin(0, sprites, roles, [agent, target, *others])


def _places(env):
    world = env.simulation.world
    return [tuple(place) for place in world.scenes.location[0, : world.scenes.count[0]].tolist()]


@pytest.mark.parametrize(
    ("action", "target", "pushed", "agent"),
    [
        (RIGHT, (32, 41), (32, 45), (32, 36)),
        (LEFT, (32, 23), (32, 19), (32, 28)),
        (DOWN, (41, 32), (45, 32), (36, 32)),
        (UP, (23, 32), (19, 32), (28, 32)),
    ],
)
@pytest.mark.parametrize("which", ["target", "other"])
def test_the_agent_pushes_what_it_walks_into(which, action, target, pushed, agent, env):
    far = (53, 53)
    _put(env, (32, 32), *((target, far) if which == "target" else (far, target)))
    _, reward, terminated, _, info = env.step(action)
    assert _places(env) == [agent, *((pushed, far) if which == "target" else (far, pushed))]
    assert (reward, terminated, info) == (0, False, {"is_success": False})


def test_nothing_is_pushed_out_of_the_canvas(env):
    _put(env, (32, 41), (32, 53), (50, 10))
    env.step(RIGHT)  # 55 is the last column of a centre
    assert _places(env) == [(32, 41), (32, 53), (50, 10)]


@pytest.mark.parametrize(("other", "pushed"), [((32, 43), False), ((32, 45), False), ((32, 46), True)], ids=str)
def test_no_push_leaves_less_than_two_dark_pixels_to_another_object(other, pushed, env):
    # The target's last column is 34, after a push 38; the other's first is 38, 40 or 41.
    _put(env, (32, 20), (32, 30), other)
    env.step(RIGHT)
    assert _places(env) == ([(32, 24), (32, 34), other] if pushed else [(32, 20), (32, 30), other])


def test_two_objects_at_once_are_not_pushed(env):
    _put(env, (32, 32), (25, 41), (38, 41))
    env.step(RIGHT)
    assert _places(env) == [(32, 32), (25, 41), (38, 41)]
    _put(env, (32, 32), (25, 41), (52, 41))
    env.step(RIGHT)
    assert _places(env) == [(32, 36), (25, 45), (52, 41)]


@pytest.mark.parametrize(("before", "after"), [((21, 25), (21, 21)), ((15, 25), (15, 21))], ids=str)
def test_the_target_in_the_corner_is_success(before, after, env):
    _put(env, (before[0], before[1] + 9), before, (50, 50))
    _, reward, terminated, _, info = env.step(LEFT)
    assert _places(env)[1] == after
    assert (reward, terminated, info) == (1, True, {"is_success": True})


@pytest.mark.parametrize("before", [(22, 25), (21, 26)], ids=str)
def test_one_pixel_further_from_the_corner_is_no_success(before, env):
    _put(env, (before[0], before[1] + 9), before, (50, 50))
    _, reward, terminated, _, info = env.step(LEFT)
    assert _places(env)[1] == (before[0], before[1] - 4)
    assert (reward, terminated, info) == (0, False, {"is_success": False})


def test_a_distractor_in_the_corner_is_no_success(env):
    _put(env, (20, 34), (50, 50), (20, 25))
    _, reward, terminated, _, info = env.step(LEFT)
    assert _places(env)[2] == (20, 21)
    assert (reward, terminated, info) == (0, False, {"is_success": False})


def test_a_shaped_push_earns_twice_the_distance_it_gains():
    env = PushEnv(reward="shaped")
    env.reset(seed=0)
    _put(env, (40, 50), (40, 41), (15, 53))
    rewards = [env.step(LEFT)[1], env.step(RIGHT)[1]]
    diagonal = np.hypot(64, 64)
    nearer = (np.hypot(31, 32) - np.hypot(31, 28)) / diagonal
    assert rewards == pytest.approx([nearer * 2, -4 / diagonal * 2])


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 4])
def test_the_target_is_a_green_square_that_starts_outside_the_goal_with_room_around_it(num_objects, mode):
    env = PushEnv(num_objects=num_objects, mode=mode)
    world, attributes = env.simulation.world, env.simulation.task.bank.attributes
    shown = set()
    for seed in range(30):
        env.reset(seed=seed)
        assert world.targets.sum() == 1
        looks_there = [
            tuple(int(attributes[name][i]) for name in ("shape", "color")) for i in world.scenes.sprite_index[0]
        ]
        assert looks_there[int(world.targets[0].argmax())] == (0, 1)
        row, column = world.scenes.location[0, world.targets[0].argmax()]
        assert max(row, column) > 9 + 12
        assert max(row, column) <= 55 - 14
        others = world.scenes.location[0, world.role[0] == DISTRACTOR]
        assert not ((others <= [row + 14, column + 14]).all(axis=1)).any()  # none is between it and the corner
        shown |= {look for look, role in zip(looks_there, world.role[0], strict=True) if role == DISTRACTOR}
    held_out = {tuple(look) for look in combinations("test").tolist()}
    assert shown <= held_out if mode == "test" else not shown & held_out
    assert bool(shown) == (num_objects > 1)


def test_a_canvas_without_room_is_refused():
    PushEnv(canvas_size=(45, 45), num_objects=1).reset(seed=0)
    env = PushEnv(canvas_size=(44, 64), num_objects=1)
    with pytest.raises(ValueError, match=r"a canvas of at least 45 px a side, got \(44, 64\)"):
        env.reset(seed=0)
