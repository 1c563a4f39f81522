"""The odd object, found by counting the attributes of the sprites alone."""

from collections import Counter

import numpy as np
import pytest

from lavae_rl.envs.odd_one_out import OddOneOut
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET

# Two colours of each shape: square blue and red, ellipse green and magenta, triangle cyan and yellow.
HELD_OUT = {(0, 0), (0, 3), (1, 1), (1, 4), (2, 2), (2, 5)}


def _draws(variant, mode="train", num_objects=4, number=100):
    """(shape, colour) of the objects of many scenes, and the index of the target."""
    task, rng = OddOneOut(mode, variant), np.random.default_rng(0)
    for _ in range(number):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == NEUTRAL
        assert sorted(roles[1:].tolist()) == [TARGET] + [DISTRACTOR] * (num_objects - 1)
        assert len(set(task.bank.attributes["scale"][sprites[1:]])) == 1
        pairs = [tuple(int(task.bank.attributes[name][i]) for name in ("shape", "color")) for i in sprites[1:]]
        yield pairs, int((roles[1:] == TARGET).argmax())


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [3, 4, 7])
def test_the_odd_object_differs_in_shape_or_colour_and_all_others_are_alike(num_objects, mode):
    kinds: Counter[tuple[bool, bool]] = Counter()
    for pairs, target in _draws("object", mode, num_objects):
        odd = pairs[target]
        (common,) = set(pairs[:target] + pairs[target + 1 :])
        kinds[odd[0] != common[0], odd[1] != common[1]] += 1
    assert set(kinds) == {(True, False), (False, True)}
    assert min(kinds.values()) > 15


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [3, 4, 5, 7])
def test_exactly_one_shape_or_colour_is_unique(num_objects, mode):
    kinds: Counter[int] = Counter()
    for pairs, target in _draws("property", mode, num_objects):
        numbers = [Counter(values) for values in zip(*pairs, strict=True)]
        unique = [(kind, value) for kind in (0, 1) for value, number in numbers[kind].items() if number == 1]
        ((kind, value),) = unique
        assert [pair[kind] for pair in pairs].index(value) == target
        kinds[kind] += 1
        # The others differ in both as well, where they are enough to be two pairs.
        assert len(numbers[kind]) - 1 >= min(2, (num_objects - 1) // 2)
        assert len(numbers[1 - kind]) >= min(2, num_objects // 2)
    assert set(kinds) == {0, 1}
    assert min(kinds.values()) > 15


@pytest.mark.parametrize("variant", ["object", "property"])
def test_the_odd_object_is_equally_often_in_every_slot(variant):
    slots = np.bincount([target for _, target in _draws(variant, number=200)])
    assert len(slots) == 4
    assert np.abs(slots - 50).max() < 4 * np.sqrt(200 * 0.25 * 0.75)


@pytest.mark.parametrize("variant", ["object", "property"])
def test_odd_combinations_of_test_mode_are_in_no_scene_of_training(variant):
    train = {pair for pairs, _ in _draws(variant, "train", number=150) for pair in pairs}
    test = {pairs[target] for pairs, target in _draws(variant, "test", number=150)}
    assert not train & HELD_OUT
    assert len(train) == 12
    assert test == HELD_OUT
