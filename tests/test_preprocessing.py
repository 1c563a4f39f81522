import dataclasses
import json

import numpy as np
import pytest

from lavae_rl.data.preprocessing import Preprocessing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layout": "whc"}, "expected layout"),
        ({"threshold": 255}, "threshold of 0 to 254"),
        ({"resize": (0, 64)}, "at least 1 pixel"),
        ({"resize": (64,)}, r"resize to \(height, width\)"),
        ({"channels": 4}, "channels 1 or 3"),
        ({"max_frames": 3}, "max_frames 1 or 2"),
        ({"crop": (0, 0, 4)}, r"crop to \(top, left, height, width\)"),
        ({"crop": (-1, 0, 4, 4)}, "crop to"),
        ({"crop": (0, 0, 0, 4)}, "at least 1 pixel"),
        ({"layout": "hw", "palette": [((1, 2, 3), (255, 0, 0))]}, "frames with colours"),
        ({"palette": [((1, 2, 3), (128, 0, 0))]}, "values 0 and 255"),
        ({"palette": [((1, 2), (255, 0))]}, "expected palette as pairs"),
    ],
    ids=str,
)
def test_preprocessing_refuses_values_that_make_no_sense(values, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**values)


def _frame(height=6, width=4, channels=3):
    return np.random.default_rng(0).integers(256, size=(2, height, width, channels), dtype=np.uint8)


def test_default_preprocessing_leaves_frames_as_they_are():
    np.testing.assert_array_equal(Preprocessing()(_frame()), _frame())


@pytest.mark.parametrize("layout", ["hwc", "chw", "hw"])
def test_every_layout_comes_out_with_channels_last(layout):
    frames = _frame(channels=1 if layout == "hw" else 3)
    given = {"hwc": frames, "chw": frames.transpose(0, 3, 1, 2), "hw": frames[..., 0]}[layout]
    prepare = Preprocessing(layout=layout)
    np.testing.assert_array_equal(prepare(given), frames)
    assert prepare.output_shape(given.shape[1:]) == frames.shape[1:]


@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_a_crop_keeps_its_rows_and_columns_before_anything_is_resized(layout):
    frames = _frame()
    given = frames if layout == "hwc" else frames.transpose(0, 3, 1, 2)
    crop = Preprocessing(layout=layout, crop=(1, 2, 4, 2))
    np.testing.assert_array_equal(crop(given), frames[:, 1:5, 2:4])
    assert crop.output_shape(given.shape[1:]) == (4, 2, 3)
    enlarge = Preprocessing(layout=layout, crop=(1, 2, 4, 2), resize=(8, 4))
    np.testing.assert_array_equal(enlarge(given), frames[:, 1:5, 2:4].repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("crop", [(3, 0, 4, 4), (0, 1, 6, 4)])
def test_a_crop_beyond_the_frame_is_refused(crop):
    with pytest.raises(ValueError, match="inside frames of 6 x 4 pixels"):
        Preprocessing(crop=crop)(_frame())


def test_a_maximum_of_frames_is_declared_and_changes_no_frame():
    np.testing.assert_array_equal(Preprocessing(max_frames=2)(_frame()), _frame())


def test_a_palette_keeps_the_named_colours_and_blackens_the_rest():
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    frames[0, 0, 0], frames[0, 0, 1], frames[0, 1, 0] = (10, 20, 30), (200, 0, 0), (9, 20, 30)
    palette = [((10, 20, 30), (0, 0, 255)), ((200, 0, 0), (255, 0, 0))]
    result = Preprocessing(palette=palette)(frames)
    assert result[0].tolist() == [[[0, 0, 255], [255, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_a_threshold_is_exclusive():
    frames = np.array([100, 101], np.uint8).reshape(1, 1, 2, 1)
    assert Preprocessing(threshold=100)(frames).ravel().tolist() == [0, 255]


def test_enlarging_by_whole_numbers_keeps_frames_binary():
    frames = np.where(_frame() > 127, 255, 0).astype(np.uint8)
    enlarge = Preprocessing(resize=(18, 8))
    result = enlarge(frames)
    assert enlarge.output_shape(frames.shape[1:]) == result.shape[1:]
    np.testing.assert_array_equal(result, frames.repeat(3, axis=1).repeat(2, axis=2))


def test_shrinking_averages_and_a_threshold_makes_it_binary():
    frames = np.zeros((1, 4, 4, 1), np.uint8)
    frames[0, :2, :2] = 255
    frames[0, 2, 2] = 255
    result = Preprocessing(resize=(2, 2), threshold=127)(frames)
    assert result[0, :, :, 0].tolist() == [[255, 0], [0, 0]]


def test_colours_turn_grey_and_grey_turns_rgb():
    frames = np.zeros((1, 1, 2, 3), np.uint8)
    frames[0, 0, 0] = 255
    grey = Preprocessing(channels=1)(frames)
    assert Preprocessing(channels=1).output_shape(frames.shape[1:]) == grey.shape[1:]
    assert grey.tolist() == [[[[255], [0]]]]
    np.testing.assert_array_equal(Preprocessing(channels=3)(grey), frames)
    np.testing.assert_array_equal(Preprocessing(channels=3)(frames), frames)
    with pytest.raises(ValueError, match="grey or RGB frames to convert, got 4"):
        Preprocessing(channels=3)(np.zeros((1, 2, 2, 4), np.uint8))
    with pytest.raises(ValueError, match="expected RGB frames for a palette"):
        Preprocessing(palette=[((1, 2, 3), (255, 0, 0))])(grey)


def test_a_palette_is_applied_before_colours_blend():
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    frames[0, :2, :3] = (10, 20, 30)
    result = Preprocessing(palette=[((10, 20, 30), (255, 255, 0))], resize=(2, 2), threshold=100)(frames)
    assert result[0, 0].tolist() == [[255, 255, 0], [255, 255, 0]]  # the second was half covered


def test_preprocessing_survives_json():
    settings = Preprocessing(crop=(1, 2, 8, 9), resize=(8, 9), palette=[((1, 2, 3), (255, 0, 0))])
    stored = json.loads(json.dumps(dataclasses.asdict(settings)))
    again = Preprocessing(**stored)
    assert again == settings
    assert again.resize == (8, 9)
    frames = np.full((1, 16, 18, 3), (1, 2, 3), np.uint8)
    np.testing.assert_array_equal(settings(frames), again(frames))


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (np.zeros((1, 4, 4, 3)), TypeError, "uint8.*got float64"),
        (np.zeros((1, 4, 4), np.uint8), ValueError, 'expected frames of 3 axes for layout "hwc"'),
    ],
    ids=["float", "rank"],
)
def test_frames_of_another_type_or_rank_than_declared_are_refused(frames, error, message):
    with pytest.raises(error, match=message):
        Preprocessing()(frames)
