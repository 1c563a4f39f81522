import itertools
import math
from collections import Counter

import cv2
import numpy as np
import pytest

from lavae_rl.data.scenes import Scenes, render_scenes, sample_scenes
from lavae_rl.data.sources import SceneDataset, load_bank
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.evaluation.entropy import ImpossibleBoundError, check_bound, entropy_floor, scene_entropy

CANVAS = (11, 12)


@pytest.fixture
def bank():
    """A dot, the same dot elsewhere in its patch, and a bar: two looks, one twice as likely as the other."""
    patches = np.zeros((3, 5, 5, 1), np.uint8)
    patches[0, 2, 2] = patches[1, 1, 2] = patches[2, 2, 1:4] = 255
    return SpriteBank(patches, {})


def _one(bank, sprite, location):
    scene = Scenes(np.array([[sprite]], np.int32), np.array([[location]], np.int16), np.array([1]), CANVAS)
    return render_scenes(scene, bank)[0]


def _single_frames(bank):
    """Each frame of one object, with its probability."""
    rows, columns = range(2, CANVAS[0] - 2), range(2, CANVAS[1] - 2)
    places = list(itertools.product(range(len(bank)), rows, columns))
    return [(_one(bank, sprite, (row, column)), 1 / len(places)) for sprite, row, column in places]


def test_one_object_has_the_enumerated_entropy(bank):
    probability: Counter[bytes] = Counter()
    for frame, share in _single_frames(bank):
        probability[frame.tobytes()] += share
    exact = -sum(p * math.log(p) for p in probability.values())
    # The two dots share a look but not their locations: the bound gives that bit away.
    assert exact - math.log(2) < scene_entropy(bank, 1, CANVAS) <= exact


def test_two_objects_have_the_enumerated_entropy_but_for_what_is_given_away(bank):
    singles = _single_frames(bank)
    probability: Counter[bytes] = Counter()
    grown = [cv2.dilate(frame, np.ones((3, 3))) > 0 for frame, _ in singles]
    apart = np.array([[not (one & other).any() for other in grown] for one in grown])
    sprite = np.repeat(np.arange(3), len(singles) // 3)
    for i, j in itertools.product(range(len(singles)), repeat=2):
        if apart[i, j]:
            room = (apart[i] & (sprite == sprite[j])).sum()
            probability[(singles[i][0] | singles[j][0]).tobytes()] += singles[i][1] / 3 / room
    assert sum(probability.values()) == pytest.approx(1)
    exact = -sum(p * math.log(p) for p in probability.values())
    assert exact - 2 * math.log(2) < scene_entropy(bank, 2, CANVAS) <= exact + 0.02  # the room is sampled


def test_equally_likely_counts_add_their_logarithm(bank):
    assert entropy_floor(bank, (0, 1), CANVAS) == pytest.approx(math.log(2) + scene_entropy(bank, 1, CANVAS) / 2)
    assert entropy_floor(bank, (0, 0), CANVAS) == 0


@pytest.mark.parametrize(
    ("name", "expected"), [("multi-dsprites", 23.5), ("multi-mnist-1k", 22.7), ("multi-mnist-10k", 25.9)]
)
def test_data_sets_have_the_entropy_bound_that_was_computed_by_hand(name, expected):
    assert entropy_floor(load_bank(name)) == pytest.approx(expected, abs=0.4)


def _dataset(bank, count):
    """Scenes of these counts on 64 x 64 pixels."""
    return SceneDataset(sample_scenes(np.random.default_rng(0), bank, len(count), np.array(count)), bank)


def test_bounds_better_than_possible_are_refused(bank):
    count = np.tile([0, 1], 200)
    possible = -np.array([math.log(2), math.log(2) + scene_entropy(bank, 1)])[count]
    noise, dataset = np.random.default_rng(0).normal(size=400), _dataset(bank, count)
    assert check_bound(dataset, possible + noise) == pytest.approx(-possible.mean())
    check_bound(dataset, possible - 1 + noise)
    with pytest.raises(ImpossibleBoundError, match=r"better than the entropy"):
        check_bound(dataset, possible + 1 + noise)


def test_bounds_of_the_first_scenes_are_compared_with_what_is_possible_for_their_counts(bank):
    dataset = _dataset(bank, [0, 0, 0, 1])  # counts of 0 and 1, of which these three scenes have the first
    assert check_bound(dataset, np.full(3, -math.log(2) + 0.01)) == pytest.approx(math.log(2))  # rounding is no error
    with pytest.raises(ImpossibleBoundError):
        check_bound(dataset, np.full(3, -math.log(2) + 0.2))
