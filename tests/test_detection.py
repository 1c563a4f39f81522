import math
from typing import Any

import numpy as np
import pytest

from lavae_rl.evaluation.detection import Detection, measure_detection

NONE = np.zeros((0, 4))
SQUARE = np.array([[10, 10, 6, 8]])  # centre (13, 14), diagonal 10
FAR = np.array([[50, 50, 6, 8]])


def moved(boxes: np.ndarray, rows: float, columns: float) -> np.ndarray:
    return boxes + np.array([rows, columns, 0, 0])


def measure(*frames: tuple[np.ndarray, np.ndarray], canvas_size: tuple[int, int] = (100, 100), **options: Any):
    predicted, true = zip(*frames, strict=True)
    return measure_detection(predicted, true, canvas_size, **options)


@pytest.mark.parametrize(
    ("rows", "columns", "hits", "near_hits"),
    [
        (0, 0, 1, 1),
        (3, 3.9, 1, 1),  # 4.92 px of 10
        (3, 4, 0, 0),  # exactly half a diagonal and exactly 5 px: neither is enough
        (0, -5, 0, 0),
        (-4.999, 0, 1, 1),
    ],
)
def test_hit_is_less_than_half_a_diagonal_away(rows: float, columns: float, hits: int, near_hits: int):
    found = measure((moved(SQUARE, rows, columns), SQUARE))
    assert (found.hits, found.near_hits) == (hits, near_hits)


def test_only_the_centre_of_a_prediction_counts():
    assert measure((np.array([[13, 14, 0, 0]]), SQUARE)).f1 == 1
    assert measure((np.array([[3, 4, 20, 20]]), SQUARE)).f1 == 1
    assert measure((np.array([[10, 10, 40, 8]]), SQUARE)).f1 == 0


def test_axes_are_fractions_of_the_frame():
    # At 200 x 100 a row is worth half a column. The box of 6 x 8 has the diagonal |(3, 8)| = 8.54 columns.
    box = (SQUARE, (200, 100))
    for rows, columns, hit in ((8.5, 0, True), (8.6, 0, False), (0, 4.2, True), (0, 4.3, False)):
        assert measure((moved(box[0], rows, columns), box[0]), canvas_size=box[1]).hits == hit, (rows, columns)


@pytest.mark.parametrize("canvas_size", [(210, 160), (160, 210), (64, 64)])
@pytest.mark.parametrize(("box", "half"), [((20, 30, 6, 8), (3, 4)), ((20, 31, 7, 5), (3.5, 2.5))])
def test_half_the_diagonal_is_no_hit_on_any_frame(
    canvas_size: tuple[int, int], box: tuple[int, ...], half: tuple[float, float]
):
    true = np.array([box])
    assert measure((moved(true, *half), true), canvas_size=canvas_size).hits == 0
    assert measure((moved(true, half[0] - 0.01, half[1]), true), canvas_size=canvas_size).hits == 1


def test_second_prediction_of_an_object_is_a_duplicate():
    both = np.concatenate([SQUARE, moved(SQUARE, 1, 0)])
    found = measure((both, np.concatenate([SQUARE, FAR])))
    assert (found.hits, found.duplicates, found.predictions, found.objects) == (1, 1, 2, 2)
    assert (found.precision, found.recall, found.f1, found.duplicates_per_100) == (0.5, 0.5, 0.5, 50)
    assert found.exact_count == 1


def test_prediction_whose_best_object_is_taken_gets_no_second_choice():
    true = np.array([[10, 10, 10, 10], [10, 14, 10, 10]])
    # Both are nearest to the first object; the second object stays without a hit, though the second could reach it.
    found = measure((np.array([[10, 10, 10, 10], [10, 11, 10, 10]]), true))
    assert (found.hits, found.near_hits, found.duplicates) == (1, 1, 1)


def test_first_of_equally_good_objects_is_taken():
    true = np.array([[10, 10, 10, 10], [10, 14, 10, 10]])
    middle = np.array([[10, 12, 10, 10]])
    assert measure((np.concatenate([middle, true[:1]]), true)).hits == 1
    assert measure((np.concatenate([middle, true[1:]]), true)).hits == 2


def test_best_object_is_the_one_with_the_best_score_not_the_nearest():
    # 4 px from the centre of a box with a diagonal of 50, 3 px from one of 10: scores 0.92 and 0.7.
    true = np.array([[10, 10, 30, 40], [22, 33, 6, 8]])
    prediction = np.array([[25, 34, 0, 0]])
    found = measure((prediction, true), visible=[np.array([True, False])])
    assert (found.hits, found.visible_hits, found.near_hits) == (1, 1, 1)


def test_false_predictions_before_a_hit_do_no_harm_to_it():
    found = measure((np.concatenate([FAR, SQUARE]), SQUARE))
    assert (found.hits, found.duplicates, found.precision, found.recall) == (1, 0, 0.5, 1)
    assert found.f1 == pytest.approx(2 / 3)


def test_empty_frames_have_the_right_count_and_no_f1():
    nothing = measure((NONE, NONE))
    assert nothing.exact_count == 1
    assert all(math.isnan(value) for value in (nothing.f1, nothing.near_f1, nothing.precision, nothing.recall))
    assert all(math.isnan(value) for value in (nothing.visible_f1, nothing.visible_share, nothing.switches_per_100))
    missed, imagined = measure((NONE, SQUARE)), measure((SQUARE, NONE))
    assert (missed.f1, missed.recall, missed.exact_count) == (0, 0, 0)
    assert math.isnan(missed.precision)
    assert (imagined.f1, imagined.precision, imagined.duplicates) == (0, 0, 0)
    assert math.isnan(imagined.recall)


def test_pooling_adds_counts_and_does_not_average_ratios():
    one, other = measure((SQUARE, SQUARE)), measure((NONE, np.concatenate([SQUARE, FAR, moved(FAR, 20, 0)])))
    assert (one + other).recall == 0.25
    assert one + other == measure((SQUARE, SQUARE), (NONE, np.concatenate([SQUARE, FAR, moved(FAR, 20, 0)])))
    assert one + Detection() == one


def test_hits_of_invisible_objects_count_neither_way():
    true = np.concatenate([SQUARE, FAR])
    found = measure((true, true), visible=[np.array([True, False])])
    assert (found.visible_share, found.visible_recall, found.visible_f1) == (0.5, 1, 1)
    found = measure((SQUARE, true), visible=[np.array([False, True])])
    assert (found.visible_recall, found.visible_f1, found.recall) == (0, 0, 0.5)
    assert (found.exact_count, found.visible_exact_count) == (0, 1)


def test_switch_is_a_hit_from_another_slot_than_the_last_one():
    true = np.concatenate([SQUARE, FAR])
    frames = [(true, true), (true[:1], true), (true, true), (true[::-1], true[::-1])]
    slots = [np.array([0, 1]), np.array([0]), np.array([0, 2]), np.array([0, 2])]
    identities = [["a", "b"], ["a", "b"], ["a", "b"], ["b", "a"]]
    found = measure(*frames, slots=slots, identities=identities)
    # "b" comes back in slot 2 after a frame unseen; then the two are exchanged.
    assert (found.switches, found.switches_per_100) == (3, 75)


def test_false_predictions_and_new_objects_are_no_switches():
    slots = [np.array([0]), np.array([1, 0])]
    frames = [(SQUARE, SQUARE), (np.concatenate([FAR, SQUARE]), np.concatenate([SQUARE, moved(FAR, 20, 0)]))]
    assert measure(*frames, slots=slots, identities=[np.array([4]), np.array([4, 5])]).switches == 0


def test_small_integers_do_not_overflow():
    true = np.array([[200, 200, 10, 10]], np.uint8)
    assert measure((true.copy(), true), canvas_size=(210, 210)).f1 == 1


def test_result_agrees_with_the_rule_spelled_out():
    rng = np.random.default_rng(0)
    predicted, true = (
        [np.concatenate([rng.integers(0, 40, (n, 2)), rng.integers(1, 20, (n, 2))], 1) for n in rng.integers(0, 8, 300)]
        for _ in range(2)
    )
    hits = duplicates = 0
    for boxes, truth in zip(predicted, true, strict=True):
        taken = set()
        for box in boxes if len(truth) else []:
            scores = []
            for other in truth:
                gap = (box[:2] + box[2:] / 2 - other[:2] - other[2:] / 2) / (60, 50)
                scores.append(1 - np.linalg.norm(gap) / np.linalg.norm(other[2:] / (60, 50)))
            if max(scores) > 0.5:
                best = scores.index(max(scores))
                duplicates += best in taken
                taken.add(best)
        hits += len(taken)
    found = measure_detection(predicted, true, (60, 50))
    assert (found.hits, found.duplicates) == (hits, duplicates)
    assert found.frames == 300
    assert hits > 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predicted": [SQUARE, SQUARE]}, "same frames, got 2 and 1"),
        ({"predicted": [SQUARE * np.nan]}, "finite predicted boxes"),
        ({"true": [np.array([[3, 3, 0, 4]])]}, r"sizes above 0 .* got \[\[3, 3, 0, 4\]\]"),
        ({"true": [np.full((1, 4), -1)]}, "leave out what is unused"),
        ({"predicted": [np.full((1, 4), -1)]}, "predicted ones of at least 0"),
        ({"canvas_size": (0, 10)}, "at least one pixel"),
        ({"slots": [np.array([0])]}, "both slots and identities"),
        ({"slots": [np.array([0, 1])], "identities": [[0]]}, "slots to have one entry for each predicted box"),
        ({"slots": [np.array([0])], "identities": [[]]}, "identities to have one entry for each true box"),
        ({"visible": [np.array([True, True])]}, "visible to have one entry for each true box"),
    ],
)
def test_bad_input_is_refused(options: dict[str, Any], message: str):
    good: dict[str, Any] = {"predicted": [SQUARE], "true": [SQUARE], "canvas_size": (100, 100)}
    with pytest.raises(ValueError, match=message):
        measure_detection(**good | options)


def test_summary_names_every_metric():
    summary = measure((SQUARE, SQUARE)).summary()
    assert summary["f1"] == summary["near_f1"] == summary["exact_count"] == 1
    assert len(summary) == 11
