import numpy as np
import pytest

from lavae_rl.evaluation.components import ComponentDetector, background_states


def frames_of(*pixels: tuple[int, int, int]) -> np.ndarray:
    return np.array(pixels, np.uint8).reshape(-1, 1, 1, 3)


RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def test_background_is_the_most_frequent_colour_of_each_pixel():
    frames = np.concatenate([frames_of(RED, GREEN, GREEN), frames_of(BLUE, RED, BLUE)], 2)
    assert background_states(frames).tolist() == [[[list(GREEN), list(BLUE)]]]


def test_states_are_colours_with_a_share_most_frequent_first():
    frames = np.concatenate([frames_of(RED, GREEN, GREEN, RED, GREEN, BLUE), frames_of(*[BLUE] * 6)], 2)
    assert background_states(frames, 0.3).tolist() == [[[list(GREEN), list(BLUE)]], [[list(RED), list(BLUE)]]]
    assert background_states(frames, 0.4).tolist() == [[[list(GREEN), list(BLUE)]]]
    assert len(background_states(frames, 0.1)) == 3


def test_mode_agrees_with_counting():
    frames = np.random.default_rng(0).integers(0, 3, (50, 6, 5, 1)).astype(np.uint8)
    mode = background_states(frames)[0, ..., 0]
    for row, column in np.ndindex(6, 5):
        counts = np.bincount(frames[:, row, column, 0], minlength=3)
        assert counts[mode[row, column]] == counts.max()


def test_components_are_boxes_of_what_differs_largest_first():
    frame = np.zeros((1, 30, 40, 3), np.uint8)
    frame[0, 5:8, 10:15, 2] = 1  # one grey level in one channel
    frame[0, 20:28, 30:36] = 9
    frame[0, 25, 5] = 255  # too small
    ((boxes, confidence),) = ComponentDetector(np.zeros((1, 30, 40, 3), np.uint8))(frame)
    assert boxes.tolist() == [[20, 30, 8, 6], [5, 10, 3, 5]]
    assert confidence.tolist() == [48, 15]


def test_gap_of_a_pixel_is_closed_and_corners_join():
    frame = np.zeros((1, 30, 30, 3), np.uint8)
    frame[0, 5:9, 5:9] = frame[0, 5:9, 10:14] = 1  # a gap of one column
    frame[0, 20:24, 5:9] = frame[0, 24:28, 9:13] = 1  # corner to corner
    ((boxes, _),) = ComponentDetector(np.zeros((1, 30, 30, 3), np.uint8))(frame)
    assert sorted(boxes.tolist()) == [[5, 5, 4, 9], [20, 5, 8, 8]]


def test_pixel_with_any_of_its_states_is_background():
    states = np.stack([np.zeros((10, 10, 3), np.uint8), np.full((10, 10, 3), 7, np.uint8)])
    frame = np.zeros((1, 10, 10, 3), np.uint8)
    frame[0, :5] = 7
    frame[0, 5:8, 5:8] = 3
    assert ComponentDetector(states)(frame)[0][0].tolist() == [[5, 5, 3, 3]]


def test_nothing_differs_outside_the_playfield():
    frame = np.ones((1, 20, 20, 3), np.uint8)
    detector = ComponentDetector(np.zeros((1, 20, 20, 3), np.uint8), playfield=(4, 2, 10, 12))
    assert detector(frame)[0][0].tolist() == [[4, 2, 10, 12]]


def test_empty_frame_has_no_components():
    ((boxes, confidence),) = ComponentDetector(np.zeros((1, 8, 8, 3), np.uint8))(np.zeros((1, 8, 8, 3), np.uint8))
    assert boxes.shape == (0, 4)
    assert confidence.shape == (0,)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        background_states(np.zeros((0, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="min_share"):
        background_states(np.zeros((3, 4, 4, 3), np.uint8), 0.0)
    with pytest.raises(ValueError, match="frames of"):
        ComponentDetector(np.zeros((1, 8, 8, 3), np.uint8))(np.zeros((1, 9, 8, 3), np.uint8))
