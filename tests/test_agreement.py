import math

import numpy as np
import pytest

from lavae_rl.data.scenes import Scenes, sample_scenes
from lavae_rl.data.sources import SceneDataset
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.evaluation.agreement import Agreement, match_locations, measure_agreement
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects


@pytest.fixture
def dot_bank():
    """One sprite: a lit pixel in the middle of 5 x 5."""
    patch = np.zeros((1, 5, 5, 1), np.uint8)
    patch[0, 2, 2] = 255
    return SpriteBank(patch, {})


def _points(pairs):
    """(row, column) pairs, maybe none, as an array."""
    return np.array(pairs, np.int64).reshape(-1, 2)


def _padded(locations):
    """Lists of (row, column), one per scene, as padded locations and counts."""
    count = np.array([len(scene) for scene in locations])
    padded = np.zeros((len(locations), count.max(initial=0), 2), np.int16)
    for i, scene in enumerate(locations):
        padded[i, : len(scene)] = _points(scene)
    return padded, count


class Claims(LAVAE):
    """Finds given locations, one list per scene, whatever the frames."""

    def __init__(self, locations):
        super().__init__(LAVAEConfig(channels=1))
        self.locations = locations

    def encode(self, frames, max_objects=None, boxes=True):
        location, count = _padded(self.locations)
        assert len(frames) == len(count)
        mask = np.arange(location.shape[1]) < count[:, None]
        appearance = np.zeros((*location.shape[:2], 8), np.float32)
        presence, dropped = mask.astype(np.float32), np.zeros_like(count)
        location = location.astype(np.int64)
        return Objects(count, location, appearance, appearance, presence, mask, dropped, frames.shape[1:3])


def _truth(bank, locations):
    location, count = _padded(locations)
    return SceneDataset(Scenes(np.zeros(location.shape[:2], np.int32), location, count, (64, 64)), bank)


@pytest.mark.parametrize(
    ("predicted", "true", "pairs"),
    [
        ([(10, 10), (30, 30)], [(31, 30), (50, 9), (10, 12)], [(0, 2), (1, 0)]),
        ([(10, 10)], [(10, 19)], [(0, 0)]),
        ([(10, 10)], [(10, 20)], []),
        ([(10, 10)], [(17, 17)], []),
        ([(10, 10), (10, 12)], [(10, 11)], [(0, 0)]),
        ([(10, 10), (10, 16)], [(10, 15), (10, 21)], [(0, 0), (1, 1)]),
        ([(10, 10), (10, 28)], [(10, 18), (10, 0)], [(0, 0)]),
        ([], [(5, 5)], []),
        ([(5, 5)], [], []),
        ([], [], []),
    ],
    ids=[
        "two of three",
        "at the radius",
        "past the radius",
        "past the radius, diagonally",
        "one object is found once",
        "least total distance, not greedy",
        "a hopeless pair does not pull a good one apart",
        "nothing predicted",
        "nothing there",
        "nothing at all",
    ],
)
def test_matching_pairs_what_is_near(predicted, true, pairs):
    rows, columns = match_locations(_points(predicted), _points(true))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == pairs


def test_the_radius_of_matching_can_be_chosen():
    predicted, true = np.array([[10, 10]]), np.array([[10, 14]])
    assert len(match_locations(predicted, true, radius=4.0)[0]) == 1
    assert len(match_locations(predicted, true, radius=3.9)[0]) == 0


def test_counts_misses_and_false_alarms_of_known_claims(dot_bank):
    truth = _truth(dot_bank, [[(10, 10), (40, 40)], [(20, 20)], [], [(30, 30)]])
    found = measure_agreement(Claims([[(40, 41), (10, 10)], [(50, 50)], [(5, 5)], []]), truth)
    assert (found.correct, found.scenes) == (2, 4)
    assert (found.objects, found.predictions) == (4, 4)
    assert found.count_accuracy == 0.5
    assert found.miss_rate == 0.5
    assert found.false_rate == 0.5
    assert sorted(found.displacement.tolist()) == [[0.0, 0.0], [0.0, 1.0]]


def test_a_count_can_be_right_while_nothing_is_found(dot_bank):
    found = measure_agreement(Claims([[(50, 50)]]), _truth(dot_bank, [[(10, 10)]]))
    assert (found.count_accuracy, found.miss_rate, found.false_rate) == (1.0, 1.0, 1.0)
    assert math.isnan(found.location_error)


def test_a_constant_offset_of_all_centres_is_no_location_error(dot_bank):
    truth = [[(10, 10), (40, 40)], [(20, 30)]]
    shifted = [[(row + 2, column - 1) for row, column in scene] for scene in truth]
    found = measure_agreement(Claims(shifted), _truth(dot_bank, truth))
    assert found.displacement.tolist() == [[2.0, -1.0]] * 3
    assert found.location_error == pytest.approx(0, abs=1e-12)


def test_the_location_error_is_the_mean_distance_after_the_offset():
    # Mean displacement (1, 0); distances from it 5, 5, 0 and 0.
    displacement = np.array([[4.0, 4.0], [-2.0, -4.0], [1.0, 0.0], [1.0, 0.0]])
    assert Agreement(0, 1, displacement, 4, 4).location_error == pytest.approx(2.5)


def test_empty_scenes_found_empty_are_perfect(dot_bank):
    found = measure_agreement(Claims([[], []]), _truth(dot_bank, [[], []]))
    assert (found.count_accuracy, found.miss_rate, found.false_rate) == (1.0, 0.0, 0.0)
    assert math.isnan(found.location_error)


def test_a_model_that_finds_nothing_misses_everything_and_has_no_false_rate(dot_bank):
    found = measure_agreement(Claims([[], []]), _truth(dot_bank, [[(10, 10)], [(20, 20)]]))
    assert (found.count_accuracy, found.miss_rate, found.false_rate) == (0.0, 1.0, 0.0)


def test_agreements_of_two_splits_add_up():
    one, two = Agreement(1, 2, np.ones((1, 2)), 3, 1), Agreement(1, 1, np.zeros((2, 2)), 2, 4)
    both = one + two
    assert (both.correct, both.scenes, both.objects, both.predictions) == (2, 3, 5, 5)
    assert both.displacement.tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize(("num_scenes", "expected"), [(None, 600), (5, 5), (250, 250), (251, 251), (10_000, 600)])
def test_a_model_that_finds_everything_is_perfect_on_more_scenes_than_a_batch(dotted, dot_bank, num_scenes, expected):
    scenes = sample_scenes(np.random.default_rng(0), dot_bank, 600, (0, 2), (21, 30))
    found = measure_agreement(dotted, SceneDataset(scenes, dot_bank), num_scenes)
    assert found.scenes == found.correct == expected
    assert found.objects == found.predictions == len(found.displacement) == scenes.count[:expected].sum()
    assert found.location_error == 0


@pytest.mark.parametrize("num_scenes", [0, -3])
def test_measuring_on_nothing_is_refused(dot_bank, num_scenes):
    with pytest.raises(ValueError, match=f"at least one scene to measure on, got {num_scenes}"):
        measure_agreement(Claims([[]]), _truth(dot_bank, [[]]), num_scenes)


@pytest.mark.parametrize(("column", "missed"), [(12, 0.0), (13, 1.0)])
def test_half_a_patch_is_the_farthest_that_matches(dot_bank, column, missed):
    found = measure_agreement(Claims([[(10, column)]]), _truth(dot_bank, [[(10, 10)]]))
    assert found.miss_rate == missed
