"""What all tasks have in common: touching, being blocked, pointing, and shaped rewards."""

import time
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from lavae_rl.data.sprites import SpriteBank
from lavae_rl.envs import task as task_module
from lavae_rl.envs import task_class
from lavae_rl.envs.agent import AgentTask
from lavae_rl.envs.looks import AGENT, sprite
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET
from lavae_rl.registration import TASKS

MOVING = [name for name in TASKS if issubclass(task_class(name), AgentTask)]
TOUCHING = [name for name in TASKS if task_class(name).goal is None]
STAY, UP, DOWN, LEFT, RIGHT = range(5)
BLOCK = sprite(0, 2, 5, 1)
"""An upright green square, lit from 5 pixels before its centre to 4 behind it. The agent is, from 3 to 2."""


def _make(task, **options) -> Any:
    return gym.make(f"LAVAE/{task}-v0", **options).unwrapped


def _put(env, *objects, role=None):
    """Replaces the scene by an agent at the first place, and a block of a role at each other place."""
    sprites = np.array([AGENT] + [BLOCK] * (len(objects) - 1))
    roles = np.array([NEUTRAL] + [role for role, _ in objects[1:]])
    env.simulation.world.begin(0, sprites, roles, [objects[0], *(place for _, place in objects[1:])])


@pytest.fixture
def room():
    """An environment with an agent in the middle of nothing."""
    env = _make("ObjectGoal", num_objects=4)
    env.reset(seed=0)
    _put(env, (32, 32), (TARGET, (54, 54)))
    return env


def _agent(env):
    return tuple(env.simulation.world.scenes.location[0, 0].tolist())


def test_blocks_and_the_agent_have_the_boxes_these_tests_assume(room):
    boxes = room.simulation.task.bank.boxes - 9
    assert boxes[BLOCK].tolist() == [-5, -5, 5, 5]
    assert boxes[AGENT].tolist() == [-3, -3, 3, 3]


@pytest.mark.parametrize(
    ("action", "expected"), [(STAY, (32, 32)), (UP, (28, 32)), (DOWN, (36, 32)), (LEFT, (32, 28)), (RIGHT, (32, 36))]
)
def test_an_action_moves_the_agent_four_pixels(action, expected, room):
    _, reward, terminated, _, info = room.step(action)
    assert _agent(room) == expected
    assert (reward, terminated, info) == (0, False, {"is_success": False})


@pytest.mark.parametrize(("action", "axis", "end"), [(UP, 0, 12), (DOWN, 0, 52), (LEFT, 1, 12), (RIGHT, 1, 52)])
def test_the_agent_stays_inside_the_canvas(action, axis, end, room):
    for _ in range(20):
        assert not room.step(action)[2]
    expected = [32, 32]
    expected[axis] = end  # a patch of 18 pixels fits at 9 to 55
    assert _agent(room) == tuple(expected)


@pytest.mark.parametrize(("dark", "touched"), [(3, False), (2, False), (1, True), (0, True)])
@pytest.mark.parametrize(("action", "axis", "side"), [(UP, 0, -1), (DOWN, 0, 1), (LEFT, 1, -1), (RIGHT, 1, 1)])
def test_a_gap_of_less_than_two_dark_pixels_is_a_touch(action, axis, side, dark, touched, room):
    place = [32, 32]
    # After the move, the agent's last pixel is at 38, or its first at 25, and then there are so many dark ones.
    place[axis] = 38 + dark + 1 + 5 if side > 0 else 25 - dark - 1 - 4
    _put(room, (32, 32), (DISTRACTOR, tuple(place)), (TARGET, (9, 9)))
    _, reward, terminated, _, info = room.step(action)
    assert terminated is touched
    assert (reward, info["is_success"]) == (0, False)
    assert (_agent(room) == (32, 32)) is touched


def test_touching_the_target_is_success(room):
    _put(room, (32, 32), (TARGET, (32, 41)), (DISTRACTOR, (9, 9)))
    _, reward, terminated, _, info = room.step(RIGHT)
    assert (reward, terminated, info) == (1, True, {"is_success": True})
    assert room.simulation.world.scenes.count[0] == 2  # it has vanished


def test_touching_target_and_distractor_at_once_is_failure(room):
    _put(room, (32, 32), (TARGET, (25, 41)), (DISTRACTOR, (38, 41)))
    _, reward, terminated, _, info = room.step(RIGHT)
    assert (reward, terminated, info) == (0, True, {"is_success": False})
    assert room.simulation.world.scenes.count[0] == 3


@pytest.mark.parametrize("action", [-1, 5])
@pytest.mark.parametrize("task", MOVING)
def test_an_action_outside_the_action_space_is_refused(task, action):
    env = _make(task)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"expected actions as integers of 0 to 4, got \[{action}\]"):
        env.step(action)


@pytest.mark.parametrize("action", [[np.nan, 0.0], [0.0, np.inf]], ids=str)
def test_a_place_that_is_not_finite_is_refused(action):
    env = _make("MatchDigit")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected finite places \(x, y\), got"):
        env.step(np.array(action, np.float32))


def _lit_boxes(scenes, bank: SpriteBank):
    """Boxes of the lit pixels of the objects of one scene: top, left, bottom, right, all inclusive."""
    boxes = []
    for index, (row, column) in zip(scenes.sprite_index[0], scenes.location[0].tolist(), strict=True):
        lit = np.argwhere(bank.patches[index].any(axis=2)) + np.array([row - 9, column - 9])
        boxes.append((*lit.min(axis=0).tolist(), *lit.max(axis=0).tolist()))
    return boxes


def test_exactly_the_pixels_of_a_digits_grown_box_point_at_it():
    height, width = canvas_size = (40, 60)
    env: Any = gym.make_vec("LAVAE/MatchDigit-v0", height * width, canvas_size=canvas_size, num_objects=3)
    world, task = env.simulation.world, env.simulation.task
    rng = np.random.default_rng(0)
    sprites, roles = task.draw(rng, 3)
    places = task.place(rng, sprites, roles, canvas_size)
    for i in range(height * width):
        world.begin(i, sprites, roles, places)
    rows, columns = np.divmod(np.arange(height * width), width)
    actions = np.stack([columns / (width - 1), rows / (height - 1)], axis=1).astype(np.float32) * 2 - 1
    touched = task.touch(world, actions)
    expected = np.zeros((4, height, width), bool)
    for slot, (top, left, bottom, right) in enumerate(_lit_boxes(world.scenes[:1], task.bank)):
        if roles[slot] != NEUTRAL:  # nobody points at the cue
            expected[slot, max(0, top - 1) : bottom + 2, max(0, left - 1) : right + 2] = True
    assert roles[0] == NEUTRAL
    np.testing.assert_array_equal(touched, expected.reshape(4, -1).T)


def test_places_outside_the_canvas_are_clipped_to_its_border():
    env = _make("MatchDigit")
    env.reset(seed=0)
    task, world = env.simulation.task, env.simulation.world
    for action, place in (((-7, 3), (63, 0)), ((1.5, -1.5), (0, 63)), ((0, 0), (31.5, 31.5))):
        task.touch(world, np.array([action], np.float32))
        assert world.pointer[0].tolist() == list(place)


@pytest.mark.slow
@pytest.mark.parametrize("canvas_size", [(64, 64), (48, 80)], ids=str)
@pytest.mark.parametrize(("task", "options"), [*((task, {}) for task in TASKS), ("Push", {"num_objects": 4})], ids=str)
def test_random_actions_keep_sprites_apart_and_inside_the_canvas(task, options, canvas_size):
    env = _make(task, canvas_size=canvas_size, **options)
    scenes, bank = env.simulation.world.scenes, env.simulation.task.bank
    env.action_space.seed(1)
    env.reset(seed=1)
    moved = set()
    for _ in range(60):
        count = scenes.count[0]
        location = scenes.location[0, :count]
        assert (location >= 9).all()
        assert (location <= np.array(canvas_size) - 9).all()
        taken = np.zeros(canvas_size, int)
        seen = type(scenes)(scenes.sprite_index[:, :count], scenes.location[:, :count], scenes.count, canvas_size)
        for top, left, bottom, right in _lit_boxes(seen, bank):
            taken[max(0, top - 1) : bottom + 2, max(0, left - 1) : right + 2] += 1
        assert taken.max() == 1
        moved.add(location.tobytes())
        if env.step(env.action_space.sample())[2]:
            env.reset()
    assert len(moved) > 3


def test_a_scene_with_an_unreachable_target_is_laid_out_again(monkeypatch, room):
    walled = [(9, 9), (9, 21), (21, 9), (22, 22), (50, 50)]  # the agent's corner is closed
    opened = [(9, 9), (9, 54), (54, 9), (30, 54), (50, 40)]
    layouts = iter([walled, walled, opened])
    monkeypatch.setattr(task_module, "place", lambda *_: next(layouts))
    task, rng = room.simulation.task, np.random.default_rng(0)
    sprites = np.array([AGENT, *[BLOCK] * 4])
    assert task.place(rng, sprites, np.array([0, *[DISTRACTOR] * 3, TARGET]), (64, 64)) == opened
    layouts = iter([walled])
    assert task.place(rng, sprites, np.array([0, TARGET, *[DISTRACTOR] * 3]), (64, 64)) == walled  # within reach
    layouts = iter([walled] * 1000)
    with pytest.raises(ValueError, match="no layout of 4 objects on a canvas of 64 x 64 pixels in which the agent can"):
        task.place(rng, sprites, np.array([0, *[DISTRACTOR] * 3, TARGET]), (64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["Collect", "Push"])
def test_twelve_objects_are_placed_or_refused_within_seconds(task):
    env = _make(task, num_objects=12)
    start = time.process_time()
    with suppress(ValueError):
        env.reset(seed=5)
        assert env.simulation.world.scenes.count[0] == 13
    assert time.process_time() - start < 5


def _potential(env):
    """From -1 to 0, from the true state alone: how many are left, and the moves to the nearest of them."""
    world = env.simulation.world
    scenes, role = world.scenes, world.role[0]
    left = (role == TARGET).sum()
    if not left:
        return 0.0
    agent, *objects = _lit_boxes(scenes, env.simulation.task.bank)

    def touched(row, column):
        """Roles of the objects that the agent would touch."""
        top, left, bottom, right = (edge + by for edge, by in zip(agent, (row, column) * 2, strict=True))
        return {
            int(kind)
            for (t, le, b, r), kind in zip(objects, role[1:], strict=True)
            if t - 2 <= bottom and b + 2 >= top and le - 2 <= right and r + 2 >= left
        }

    start = scenes.location[0, 0].tolist()
    known, fresh, moves = {(0, 0)}, [(0, 0)], 0
    while not any(touched(*place) == {TARGET} for place in fresh):
        beside = {(r + by, c) for r, c in fresh for by in (-4, 4)} | {(r, c + by) for r, c in fresh for by in (-4, 4)}
        inside = {(r, c) for r, c in beside if 9 <= start[0] + r <= 55 and 9 <= start[1] + c <= 55}
        fresh = [place for place in inside - known if DISTRACTOR not in touched(*place)]
        known |= inside
        moves += 1
    rows, columns = (len([at for at in range(9, 56) if (at - first) % 4 == 0]) for first in start)
    return -(left - 1 + min(1, moves / (rows + columns))) / world.total[0]


@pytest.mark.slow
@pytest.mark.parametrize("task", [name for name in MOVING if name in TOUCHING])
def test_shaped_rewards_of_moves_add_four_times_the_change_of_the_potential(task):
    sparse, shaped = _make(task), _make(task, reward="shaped")
    shaped.action_space.seed(3)
    for env in (sparse, shaped):
        env.reset(seed=3)
    potential = _potential(shaped)
    assert -1 < potential < 0
    added = []
    for _ in range(60):
        action = shaped.action_space.sample()
        (_, reward, over, *_), (_, more, *_) = sparse.step(action), shaped.step(action)
        after = _potential(shaped)
        added.append(more - reward)
        assert added[-1] == pytest.approx(4 * (after - potential), abs=1e-9)
        potential = after
        if over:
            for env in (sparse, shaped):
                env.reset()
            potential = _potential(shaped)
    assert min(added) < 0 < max(added)


def test_shaped_pointing_costs_its_distance_to_the_target():
    env = _make("MatchDigit", reward="shaped")
    env.reset(seed=0)
    world = env.simulation.world
    sprites = world.scenes.sprite_index[0].copy()
    roles = np.array([NEUTRAL, TARGET, *[DISTRACTOR] * 3])
    world.begin(0, sprites, roles, [(9, 9), (50, 50), (9, 54), (54, 9), (35, 20)])
    diagonal = np.hypot(64, 64)
    for place in ((30, 40), (63, 35), (32, 40)):
        action = np.array(place[::-1], np.float32) / 63 * 2 - 1
        _, reward, terminated, _, _ = env.step(action)
        assert not terminated
        assert reward == pytest.approx(-4 * np.hypot(50 - place[0], 50 - place[1]) / diagonal, abs=1e-6)
    assert env.step(np.array([50, 50], np.float32) / 63 * 2 - 1)[1] == pytest.approx(1)


def test_shaped_digits_earn_their_share_and_a_distractor_costs_all_that_are_left():
    env = _make("DigitOrder", reward="shaped")
    env.reset(seed=0)
    task, world = env.simulation.task, env.simulation.world
    sprites = np.array([np.flatnonzero(task.labels == label)[0] for label in (7, 2, 4)])
    places = [(50, 50), (12, 12), (20, 50)]
    world.begin(0, sprites, np.full(3, TARGET), places)
    diagonal = np.hypot(64, 64)

    def point(place):
        return env.step(np.array(place[::-1], np.float32) / 63 * 2 - 1)[1]

    missed, wrong = -4 * np.hypot(15, 15) / diagonal / 3, -4 * (1 + 30 / diagonal) / 3
    assert [point(places[1]), point((35, 35))] == pytest.approx([1 / 3, missed], abs=1e-6)
    assert point(places[0]) == pytest.approx(wrong, abs=1e-6)
    world.begin(0, sprites, np.full(3, TARGET), places)
    assert [point(places[i]) for i in (1, 2, 0)] == pytest.approx([1 / 3] * 3)


def _random_touches(env, episodes):
    """Successes and failures of random moves, or of pointing at random objects."""
    rng = np.random.default_rng(0)
    world = env.simulation.world
    env.reset(seed=0)
    env.action_space.seed(0)
    ends: list[bool] = []
    while len(ends) < episodes:
        actions = env.action_space.sample()
        if env.action_space.dtype == np.float32:
            slots = [rng.choice(np.flatnonzero(role > NEUTRAL)) for role in world.role]
            actions = world.scenes.location[np.arange(len(slots)), slots, ::-1].astype(np.float32) / 63 * 2 - 1
        _, _, terminations, _, infos = env.step(actions)
        if terminations.any():
            ends += infos["final_info"]["is_success"][terminations].tolist()
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("task", TOUCHING)
def test_random_touches_succeed_as_often_as_the_random_baseline(task):
    # A walk meets the target a little more often: it is laid out again where it cannot be reached, and may be larger.
    env: Any = gym.make_vec(f"LAVAE/{task}-v0", 40, autoreset_mode="SameStep", observation="oracle")
    ends = _random_touches(env, 120)
    margin = 3 * np.sqrt(env.chance * (1 - env.chance) / len(ends))
    assert env.chance - margin < np.mean(ends) < env.chance + margin + 0.02


@pytest.mark.parametrize(
    ("distractors", "expected"),
    [([], 0), ([(10, 52)], 0), ([(32, 42)], 4)],
    ids=["nothing in the way", "something elsewhere", "a block on the straight path"],
)
def test_extra_path_length_counts_the_moves_that_distractors_cost(distractors, expected, room):
    _put(room, (32, 20), (TARGET, (32, 58)), *((DISTRACTOR, place) for place in distractors))
    simulation = room.simulation
    assert simulation.task.extra_path_length(simulation.world, 0) == expected


def test_distance_field_counts_moves_to_the_target_and_is_cached_for_the_scene(room):
    _put(room, (32, 20), (TARGET, (32, 58)), (DISTRACTOR, (32, 42)))
    task, world = room.simulation.task, room.simulation.world
    lattice, moves = task.distance_field(world, 0)
    assert moves[lattice.index((32, 28))] == moves[lattice.start] - 2
    assert moves[lattice.index((32, 40))] == -1  # too close to the distractor
    assert moves[lattice.index((32, 52))] == 0
    assert task.distance_field(world, 0)[1] is moves
    room.reset(seed=1)
    assert task.distance_field(world, 0)[1] is not moves
