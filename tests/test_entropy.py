import itertools
import math
from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from lavae_rl.data.scenes import Scenes, render_scenes
from lavae_rl.data.sources import load_bank, load_dataset
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.evaluation.entropy import ImpossibleBoundError, check_bound, entropy_floor, measure_bounds, scene_entropy
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE

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
def test_data_sets_have_the_floor_that_was_computed_by_hand(name, expected):
    assert entropy_floor(load_bank(name)) == pytest.approx(expected, abs=0.4)


def test_bounds_better_than_possible_are_refused(bank):
    count = np.tile([0, 1], 200)
    possible = -np.array([math.log(2), math.log(2) + scene_entropy(bank, 1)])[count]
    noise = np.random.default_rng(0).normal(size=400)
    assert check_bound(bank, count, possible + noise, (0, 1)) == pytest.approx(-possible.mean())
    check_bound(bank, count, possible - 1 + noise, (0, 1))
    with pytest.raises(ImpossibleBoundError, match=r"better than the entropy"):
        check_bound(bank, count, possible + 1 + noise, (0, 1))


def test_a_model_that_is_better_than_possible_is_not_measured(monkeypatch):
    monkeypatch.setattr(LAVAE, "log_likelihood", lambda model, frames, *_: torch.full((len(frames),), -5.0))
    test = load_dataset("multi-dsprites", "test")
    with pytest.raises(ImpossibleBoundError, match=r"the bound of -5\.00 nats"):
        measure_bounds(LAVAE(LAVAEConfig()), test, 200, 2)


def test_the_floor_is_that_of_the_counts_there_are_and_rounding_is_no_bug(bank):
    nothing = np.zeros(3, int)
    assert check_bound(bank, nothing, np.full(3, -math.log(2) + 0.01), (0, 1)) == pytest.approx(math.log(2))
    with pytest.raises(ImpossibleBoundError):
        check_bound(bank, nothing, np.full(3, -math.log(2) + 0.2), (0, 1))


def test_the_floor_follows_the_canvas_and_the_counts():
    small = load_dataset("multi-dsprites", "test", canvas_size=24, patch_size=10, max_objects=2)
    found = measure_bounds(LAVAE(LAVAEConfig(sprite_size=13, max_objects=2)), small, 10, 2)
    entropies = [scene_entropy(small.bank, count, (24, 24)) for count in range(3)]
    expected = math.log(3) + np.mean([entropies[count] for count in small.scenes.count[:10]])
    assert found["entropy_floor"] == pytest.approx(expected)
    assert entropy_floor(small.bank, (0, 2), (24, 24)) < entropy_floor(small.bank, (0, 2), (48, 48)) - 1
