import numpy as np
import pytest

from lavae_rl.data.scenes import Scenes, render_scenes
from lavae_rl.data.sources import load_bank
from lavae_rl.data.sprites import dsprites_bank
from lavae_rl.envs.world import ABSENT, DISTRACTOR, NEUTRAL, TARGET, World

SLOTS = 4
ROLES = np.array([NEUTRAL, TARGET, DISTRACTOR, TARGET])
SPRITES = np.array([700, 1500, 2600, 4200])
PLACES = [(9, 9), (40, 12), (15, 50), (48, 52)]


@pytest.fixture(scope="module")
def bank():
    return dsprites_bank()


@pytest.fixture
def make_world(bank):
    """Makes a world of some environments, each with the scene above."""

    def make(num_envs=1):
        world = World(bank, num_envs, SLOTS, (64, 64))
        for env in range(num_envs):
            world.begin(env, SPRITES, ROLES, PLACES)
        return world

    return make


def _state(world, env):
    used = world.scenes.count[env]
    return (
        world.scenes.sprite_index[env, :used].tolist(),
        world.role[env, :used].tolist(),
        [tuple(place) for place in world.scenes.location[env, :used].tolist()],
    )


def test_begin_puts_the_given_scene_into_an_environment(make_world):
    world = make_world()
    assert _state(world, 0) == (SPRITES.tolist(), ROLES.tolist(), PLACES)
    assert world.total.tolist() == [2]
    assert world.targets.tolist() == [[False, True, False, True]]


def test_begin_leaves_nothing_of_an_earlier_scene_with_more_objects(make_world, bank):
    world = make_world(2)
    world.begin(1, SPRITES[:2], ROLES[:2], [(20, 20), (50, 50)])
    assert _state(world, 0) == (SPRITES.tolist(), ROLES.tolist(), PLACES)
    assert _state(world, 1) == (SPRITES[:2].tolist(), ROLES[:2].tolist(), [(20, 20), (50, 50)])
    assert world.total.tolist() == [2, 1]
    assert (world.role[1, 2:] == ABSENT).all()
    for values in (world.scenes.sprite_index, world.scenes.location, world.box):
        assert not values[1, 2:].any()
    area = (bank.patches[SPRITES].max(axis=3) > 0).sum(axis=(1, 2))
    np.testing.assert_array_equal(
        (render_scenes(world.scenes, bank).max(axis=3) > 0).sum(axis=(1, 2)), [area.sum(), area[:2].sum()]
    )


def test_objects_behind_removed_ones_move_up(make_world):
    world = make_world(3)
    gone = np.zeros((3, SLOTS), bool)
    gone[1, 1] = gone[2, [0, 1, 2, 3]] = True
    world.remove(gone)
    assert _state(world, 0) == (SPRITES.tolist(), ROLES.tolist(), PLACES)
    left = [0, 2, 3]
    assert _state(world, 1) == (SPRITES[left].tolist(), ROLES[left].tolist(), [PLACES[i] for i in left])
    assert _state(world, 2) == ([], [], [])
    assert world.scenes.count.tolist() == [4, 3, 0]
    np.testing.assert_array_equal(world.role == ABSENT, ~world.scenes.mask)
    for values in (world.scenes.sprite_index, world.scenes.location, world.box):
        assert not values[~world.scenes.mask].any()
    np.testing.assert_array_equal(world.boxes()[1, :3], world.boxes()[0, left])
    assert world.total.tolist() == [2, 2, 2]


def test_distance_fields_are_dropped_where_objects_change(make_world):
    world = make_world(3)
    world.distance_fields[:] = "known"
    gone = np.zeros((3, SLOTS), bool)
    gone[1, 2] = True
    world.remove(gone)
    world.begin(2, SPRITES, ROLES, PLACES)
    assert world.distance_fields.tolist() == ["known", None, None]


def test_boxes_enclose_the_lit_pixels_and_two_more_on_the_far_side(make_world, bank):
    world = make_world()
    for slot in range(SLOTS):
        one = Scenes(SPRITES[None, [slot]], world.scenes.location[:, [slot]], np.array([1]), (64, 64))
        lit = np.argwhere(render_scenes(one, bank)[0].any(axis=2))
        assert world.boxes()[0, slot].tolist() == [*lit.min(axis=0), *lit.max(axis=0) + 1 + 2]


def test_objects_block_when_less_than_two_dark_pixels_are_left(make_world, bank):
    world = make_world()
    agent, other = (bank.boxes[SPRITES[slot]] - 9 for slot in (0, 1))
    for gap, expected in ((3, []), (2, []), (1, [1]), (0, [1]), (-3, [1])):
        right_of = 12 + other[3] + gap - agent[1]  # first lit column of the one, `gap` after the last of the other
        below = 40 + other[2] + gap - agent[0]
        for place in ((40, right_of), (below, 12)):
            blocked = world.blockers(0, np.array([place]))
            assert np.flatnonzero(blocked[0]).tolist() == expected, (gap, place)


def test_an_object_does_not_block_itself_and_absent_ones_block_nothing(make_world):
    world = make_world(2)
    world.begin(1, SPRITES[:2], ROLES[:2], PLACES[:2])
    for slot in range(2):
        assert not world.blockers(slot, world.scenes.location[:, slot]).any()
    np.testing.assert_array_equal(world.blockers(0, np.array([PLACES[3], (0, 0)])), [[0, 0, 0, 1], [0, 0, 0, 0]])
    slots = np.array([1, 0])
    np.testing.assert_array_equal(world.blockers(slots, np.array([PLACES[0], PLACES[1]])), [[1, 0, 0, 0], [0, 1, 0, 0]])


def test_distance_to_the_nearest_object_is_in_canvas_diagonals(make_world):
    world = make_world(2)
    world.pointer[:] = 40, 12 + 8
    expected = 8 / np.hypot(64, 64)
    assert world.distance(world.targets) == pytest.approx([expected, expected])
    only = np.zeros((2, SLOTS), bool)
    only[0, 2] = True
    assert world.distance(only) == pytest.approx([np.hypot(25, 30) / np.hypot(64, 64), 0])


def test_environments_share_a_bank():
    assert load_bank("multi-dsprites") is load_bank("multi-dsprites")
