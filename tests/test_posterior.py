import math

import pytest
import torch

from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import (
    find_peaks,
    location_log_probs,
    ordered_log_prob,
    presence_logits,
    prominent,
    sample_locations,
    without_echoes,
)


def _logits(height, width, peaks):
    logits = torch.full((1, height, width), -5.0)
    for (row, column), value in peaks.items():
        logits[0, row, column] = value
    return logits


def test_peaks_are_ordered_by_logit_and_located_by_row_and_column():
    found = find_peaks(_logits(10, 20, {(2, 15): 1.0, (7, 3): 4.0}))
    assert found.location.tolist() == [[7, 3], [2, 15]]
    assert found.count.tolist() == [2]


@pytest.mark.parametrize(
    ("peaks", "count"),
    [
        ({}, 0),
        ({(5, 5): -0.7}, 0),
        ({(5, 5): -0.5}, 1),
        ({(5, 5): 2.0, (5, 7): 1.0}, 1),
        ({(5, 5): 2.0, (5, 8): 1.0}, 2),
        ({(5, 5): 2.0, (5, 6): 2.0}, 1),
        ({(0, 0): 1.0, (9, 9): 1.0}, 2),
    ],
    ids=["nothing", "below the threshold", "above it", "too near", "apart", "a plateau", "corners"],
)
def test_objects_are_local_maxima_above_the_threshold(peaks, count):
    assert find_peaks(_logits(10, 10, peaks)).count.tolist() == [count]


@pytest.mark.parametrize(
    ("between", "least", "count"),
    [(5.0, 0.1, 1), (5.0, 0.0, 2), (1.0, 0.1, 2), (1.0, 0.9, 1)],
    ids=["a shoulder", "no fraction asked", "a valley", "a larger fraction"],
)
def test_a_peak_beside_a_higher_one_counts_if_the_logits_fall_between_them(between, least, count):
    peaks = {(5, 2): 7.0, (5, 6): 5.3, **{(5, column): between for column in (3, 4, 5)}}
    logits = _logits(10, 10, peaks)
    found = prominent(find_peaks(logits, 3), logits, least, reach=6)
    assert found.count.tolist() == [count]
    assert found.location[0].tolist() == [5, 2]


def test_the_fall_is_measured_on_every_way_not_on_the_straight_one():
    bridge = dict.fromkeys(((4, 2), (3, 3), (3, 4), (3, 5), (4, 6)), 5.0)
    logits = _logits(10, 10, {(5, 2): 7.0, (5, 6): 6.0} | bridge)
    assert prominent(find_peaks(logits), logits, 0.2, reach=6).count.tolist() == [1]
    assert prominent(find_peaks(logits), logits, 0.2, reach=3).count.tolist() == [2]  # too long a way


def test_prominence_does_not_depend_on_the_scale_of_the_logits_or_on_other_images():
    high, low = _logits(10, 10, {(2, 2): 20.0, (2, 7): 9.0}), _logits(10, 10, {(2, 2): 4.0, (2, 7): 1.8})
    logits = torch.cat([high, low])
    assert prominent(find_peaks(logits), logits, 0.5, reach=8).count.tolist() == [2, 2]
    assert prominent(find_peaks(logits), logits, 0.8, reach=8).count.tolist() == [1, 1]  # lower than 0.8 squared


def test_a_batch_keeps_its_images_apart():
    logits = torch.cat([_logits(9, 9, {(1, 1): 1.0}), _logits(9, 9, {}), _logits(9, 9, {(1, 1): 1.0, (7, 7): 3.0})])
    found = find_peaks(logits)
    assert found.count.tolist() == [1, 0, 2]
    assert found.image_index.tolist() == [0, 2, 2]
    assert found.rank.tolist() == [0, 0, 1]
    assert found.keep_first(1).location.tolist() == [[1, 1], [7, 7]]
    assert found.keep_first(1).count.tolist() == [1, 0, 1]


def test_an_empty_batch_has_no_peaks():
    found = find_peaks(torch.zeros(0, 8, 8))
    assert isinstance(found, Detections)
    assert len(found.count) == len(found.location) == 0


@pytest.mark.parametrize("size", [16, 64, 160])
def test_a_hot_location_keeps_its_probability_on_canvases_of_any_size(size):
    logits = _logits(size, size, {(3, 3): 0.0}) * 2 / 5  # a logit of 0 among -2
    log_probs = location_log_probs(logits, torch.tensor(0.8))
    # The paper: p = e^m / (e^m + L - 1) with m proportional to log L; here m = 1.6 log L, so p is about 1 - L^-0.6.
    expected = 1 / (1 + (size**2 - 1) * size ** (-2 * 1.6))
    assert log_probs[0, 3 * size + 3].exp().item() == pytest.approx(expected, rel=1e-4)


def test_the_probability_of_an_ordered_tuple_is_that_of_draws_without_replacement():
    probabilities = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    log_prob = ordered_log_prob(probabilities.log(), torch.tensor([[1, 0, 3]]), torch.tensor([2]))
    assert log_prob.exp().item() == pytest.approx(0.3 * 0.5 / 0.7, rel=1e-5)


def test_probabilities_of_all_ordered_pairs_add_up_to_one():
    log_probs = torch.log_softmax(torch.tensor([[0.0, 2.0, -30.0, 1.0, 40.0]]), dim=1)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    log_prob = ordered_log_prob(log_probs.expand(20, -1), torch.tensor(pairs), torch.full((20,), 2))
    assert log_prob.exp().sum().item() == pytest.approx(1.0, rel=1e-5)


def test_samples_have_the_probabilities_they_claim():
    log_probs = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(40_000, -1)
    drawn = sample_locations(log_probs, 2, torch.Generator().manual_seed(0))
    assert (drawn[:, 0] != drawn[:, 1]).all()
    frequency = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16) / len(drawn)
    pairs = torch.tensor([(i, j) for i in range(4) for j in range(4)])
    claimed = ordered_log_prob(log_probs[:16], pairs, torch.full((16,), 2)).exp()
    different = pairs[:, 0] != pairs[:, 1]
    error = (claimed * (1 - claimed) / len(drawn)).sqrt()
    assert ((frequency - claimed).abs() < 4 * error)[different].all()


@pytest.mark.parametrize(("window", "count"), [(1, 4), (3, 3), (5, 2), (9, 1)])
def test_a_peak_is_the_largest_logit_of_its_window(window, count):
    logits = _logits(12, 12, {(5, 2): 4.0, (5, 3): 3.0, (5, 5): 2.0, (9, 3): 1.0})
    assert find_peaks(logits, window).count.tolist() == [count]


def test_the_scale_of_a_peak_is_that_of_its_largest_logit():
    maps = [_logits(12, 20, {(2, 15): 1.0, (7, 3): 4.0}), _logits(12, 20, {(2, 15): 2.0, (7, 3): 3.0, (9, 18): 0.0})]
    found = find_peaks(torch.stack(maps, dim=1), scales=(1, 4))
    assert found.location.tolist() == [[7, 3], [2, 15], [9, 18]]
    assert found.scale.tolist() == [1, 4, 4]


def test_a_peak_of_one_scale_hides_lower_ones_of_other_scales_nearby():
    maps = [_logits(12, 20, {(5, 5): 3.0}), _logits(12, 20, {(5, 6): 2.0, (5, 12): 2.0})]
    found = find_peaks(torch.stack(maps, dim=1), scales=(1, 2))
    assert found.location.tolist() == [[5, 5], [5, 12]]
    assert found.scale.tolist() == [1, 2]


def test_scales_stay_with_their_images():
    small = torch.stack([_logits(9, 9, {(1, 1): 1.0, (7, 7): 2.0}), _logits(9, 9, {})], dim=1)
    large = torch.stack([_logits(9, 9, {}), _logits(9, 9, {(4, 4): 3.0})], dim=1)
    found = find_peaks(torch.cat([large, small[:, [1, 1]], small, large]), scales=(2, 3))
    assert found.count.tolist() == [1, 0, 2, 1]
    assert found.location.tolist() == [[4, 4], [7, 7], [1, 1], [4, 4]]
    assert found.scale.tolist() == [3, 2, 2, 3]


def test_one_map_of_a_single_scale_is_the_map_itself():
    logits = _logits(10, 20, {(2, 15): 1.0, (7, 3): 4.0})
    found, plain = find_peaks(logits[:, None], scales=(1,)), find_peaks(logits)
    assert found.location.equal(plain.location)
    assert found.scale.equal(plain.scale)


def test_locations_of_all_scales_share_one_distribution():
    logits = torch.stack([_logits(3, 4, {(1, 2): 1.0}), _logits(3, 4, {(2, 0): 2.0})], dim=1)
    log_probs = location_log_probs(logits, torch.tensor(0.5))
    expected = torch.log_softmax(logits.flatten() * 0.5 * math.log(24), 0)
    torch.testing.assert_close(log_probs[0], expected)
    assert log_probs.argmax(1).tolist() == [12 + 2 * 4]


def _large(locations, scales, index=None):
    number = len(locations)
    index = torch.zeros(number, dtype=torch.int64) if index is None else torch.tensor(index)
    return Detections(index, torch.tensor(locations), torch.bincount(index), torch.tensor(scales))


@pytest.mark.parametrize(
    ("second", "scales", "kept"),
    [
        ((20, 26), (2, 2), 1),
        ((20, 27), (2, 2), 2),
        ((26, 20), (2, 4), 1),
        ((27, 20), (4, 2), 2),
        ((30, 32), (4, 4), 1),
        ((20, 24), (4, 1), 2),
        ((20, 24), (1, 2), 2),
    ],
)
def test_an_echo_of_a_large_object_is_left_out(second, scales, kept):
    """The window of 7 pixels reaches 3, and twice as far for objects of scale 2."""
    found = without_echoes(_large([(20, 20), second], scales), 7)
    assert found.location.tolist() == [[20, 20], list(second)][:kept]
    assert found.count.tolist() == [kept]


def test_objects_of_other_images_are_no_echoes():
    found = without_echoes(_large([(20, 20), (50, 50), (20, 21)], (2, 2, 2), [0, 0, 1]), 7)
    assert found.count.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("probability", "scale", "count"), [(0.2, 2, 1), (0.2, 1, 0), (0.12, 2, 0), (0.04, 2, 0), (0.4, 1, 1)]
)
def test_the_pixels_of_an_enlarged_peak_share_the_probability_of_its_centre(probability, scale, count):
    maps = torch.full((1, 2, 12, 12), -20.0)
    maps[0, scale - 1, 4:7, 4:7] = math.log(probability / (1 - probability))
    found = find_peaks(maps, 7, scales=(1, 2), pool=3)
    assert found.count.tolist() == [count]
    if count:
        presence = presence_logits(maps.amax(1), found, 3).sigmoid()
        of_window = 1 - (1 - probability) ** 4 if scale == 2 else probability  # the peak is a corner
        assert presence.tolist() == pytest.approx([of_window])


def test_a_sure_centre_stays_as_sure_as_it_was():
    maps = torch.full((1, 2, 12, 12), -20.0)
    maps[0, 1, 5, 5] = 60.0
    found = find_peaks(maps, 5, scales=(1, 2), pool=3)
    assert found.location.tolist() == [[5, 5]]
    assert presence_logits(maps.amax(1), found, 3).tolist() == [60.0]
