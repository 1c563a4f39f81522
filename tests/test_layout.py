"""Layouts against plain loops over pixels."""

import numpy as np
import pytest

from lavae_rl.data import scenes
from lavae_rl.envs import layout

BOX = (-2, -3, 4, 3)


def _random_box(rng):
    return (*(-rng.integers(1, 6, size=2)).tolist(), *rng.integers(1, 6, size=2).tolist())


def _meet(one, box, other, other_box):
    """Whether two boxes have a pixel in common."""
    pixels = [
        {(row, column) for row in range(r + b[0], r + b[2]) for column in range(c + b[1], c + b[3])}
        for (r, c), b in ((one, box), (other, other_box))
    ]
    return bool(pixels[0] & pixels[1])


def test_sprites_are_apart_when_their_boxes_have_no_pixel_in_common():
    rng = np.random.default_rng(0)
    said = []
    for _ in range(500):
        one, other = (tuple(rng.integers(0, 12, size=2).tolist()) for _ in range(2))
        box, other_box = _random_box(rng), _random_box(rng)
        said.append(layout.apart(one, box, other, other_box))
        assert said[-1] is not _meet(one, box, other, other_box)
        assert said[-1] is layout.apart(other, other_box, one, box)
        moved = [np.array([b]) + np.tile(at, 2) for at, b in ((one, box), (other, other_box))]
        assert said[-1] == scenes.apart(*moved)[0]
    assert 100 < sum(said) < 400


def test_sprites_are_placed_apart_and_within_bounds():
    rng = np.random.default_rng(0)
    for _ in range(200):
        boxes = [_random_box(rng) for _ in range(6)]
        placed = layout.place(rng, boxes, (5, 6), (30, 40))
        assert len(placed) == 6
        for i, (row, column) in enumerate(placed):
            assert 5 <= row <= 30
            assert 6 <= column <= 40
            assert not any(_meet(placed[i], boxes[i], placed[j], boxes[j]) for j in range(i))


def test_the_first_sprite_is_anywhere_and_the_second_anywhere_apart_from_it():
    rng = np.random.default_rng(0)
    tries = 3000
    seen = np.zeros((2, 10, 12), int)
    for _ in range(tries):
        seen[0][layout.place(rng, [BOX], (0, 0), (9, 11))[0]] += 1
        anchor, second = layout.place(rng, [BOX, BOX], (0, 0), (9, 11), anchor=(1, 4))
        assert anchor == (1, 4)
        seen[1][second] += 1
    free = np.ones((2, 10, 12), bool)
    free[1] = [[not _meet((1, 4), BOX, (row, column), BOX) for column in range(12)] for row in range(10)]
    assert 30 < free[1].sum() < 100
    for number, allowed in zip(seen, free, strict=True):
        assert not number[~allowed].any()
        expected = tries / allowed.sum()
        assert np.abs(number[allowed] - expected).max() < 4.5 * np.sqrt(expected)


def test_sprites_without_room_are_refused():
    with pytest.raises(ValueError, match=r"3 sprites without overlap between \(0, 0\) and \(3, 3\).*fewer objects"):
        layout.place(np.random.default_rng(0), [BOX] * 3, (0, 0), (3, 3))


def _places(start, low, high, step):
    """All places on the lattice of a start, from low to high."""
    rows, columns = (
        [at for at in range(least, most + 1) if (at - first) % step == 0]
        for first, least, most in zip(start, low, high, strict=True)
    )
    return [[(row, column) for column in columns] for row in rows]


def test_free_and_reachable_places_are_those_of_a_plain_search():
    rng = np.random.default_rng(1)
    walled = 0
    for _ in range(80):
        step, low, high = int(rng.integers(1, 5)), (3, 5), (27, 33)
        box = _random_box(rng)
        obstacles = [
            ((int(rng.integers(3, 28)), int(rng.integers(5, 34))), _random_box(rng)) for _ in range(rng.integers(16))
        ]
        start = (int(rng.integers(3, 28)), int(rng.integers(5, 34)))
        if any(_meet(start, box, at, other) for at, other in obstacles):
            continue
        lattice = layout.Lattice(start, box, low, high, step)
        places = _places(start, low, high, step)
        free = [[not any(_meet(place, box, at, other) for at, other in obstacles) for place in row] for row in places]
        np.testing.assert_array_equal(lattice.free(obstacles), free)
        assert places[lattice.start[0]][lattice.start[1]] == start

        reached, fresh = {lattice.start}, [lattice.start]
        while fresh:
            row, column = fresh.pop()
            for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= place[0] < len(free) and 0 <= place[1] < len(free[0])
                if inside and free[place[0]][place[1]] and place not in reached:
                    reached.add(place)
                    fresh.append(place)
        reachable = lattice.reachable(obstacles)
        assert {tuple(place) for place in np.argwhere(reachable).tolist()} == reached
        walled += len(reached) < np.sum(free)
        assert lattice.index(places[-1][-1]) == (len(places) - 1, len(places[0]) - 1)
        assert lattice.location(lattice.index(places[-1][-1])) == places[-1][-1]
    assert walled >= 5


def test_distance_field_counts_moves_of_shortest_paths_past_all_obstacles():
    rng = np.random.default_rng(2)
    nowhere, longest = 0, 0
    for _ in range(40):
        box = _random_box(rng)
        sprites = [((int(rng.integers(3, 28)), int(rng.integers(5, 34))), _random_box(rng)) for _ in range(10)]
        goals, obstacles = sprites[:2], sprites[2:]
        places = _places((10, 11), (3, 5), (27, 33), 3)
        meet = [
            [[any(_meet(place, box, at, other) for at, other in some) for place in row] for row in places]
            for some in (goals, obstacles)
        ]
        goal, free = np.array(meet[0]), ~np.array(meet[1])
        expected = np.where(goal & free, 0, -1)
        for moves in range(goal.size):
            last = np.pad(expected == moves, 1)
            beside = last[:-2, 1:-1] | last[2:, 1:-1] | last[1:-1, :-2] | last[1:-1, 2:]
            expected[beside & free & (expected < 0)] = moves + 1
        lattice = layout.Lattice((10, 11), box, (3, 5), (27, 33), 3)
        np.testing.assert_array_equal(lattice.distance_field(obstacles, goals), expected)
        nowhere += (expected[free] < 0).any()
        longest = max(longest, expected.max())
    assert nowhere >= 5
    assert longest >= 10


def test_places_near_a_sprite_are_those_that_meet_it_even_at_the_border():
    lattice = layout.Lattice((10, 11), BOX, (3, 5), (27, 33), 4)
    places = _places((10, 11), (3, 5), (27, 33), 4)
    for at in ((3, 5), (27, 33), (15, 16), (3, 33), (60, 60)):
        near = np.zeros((len(places), len(places[0])), bool)
        near[lattice.near(at, BOX)] = True
        np.testing.assert_array_equal(near, [[_meet(place, BOX, at, BOX) for place in row] for row in places])
