import numpy as np
import pytest

from lavae_rl.evaluation.figures import background_figure, detection_figure, reconstruction_figure
from lavae_rl.pictures import BOX_COLORS

MARK = (255, 160, 0)
GREEN, RED = (20, 200, 30), (255, 40, 40)
NONE = np.zeros((0, 4), int)


def _lit(figure, color):
    return np.argwhere((figure == color).all(axis=2))


def test_reconstructions_stand_below_their_frames_with_the_predicted_centres_on_both(dotted, dots):
    frames = np.concatenate([dots(40, 50, (9, 30)), dots(40, 50), dots(40, 50, (20, 12), (30, 30))])
    figure = reconstruction_figure(dotted, frames)
    height, width = 40 * 3 + 4, 50 * 3 + 4
    assert figure.shape == (2 * height, 3 * width, 3)
    marked = (figure == MARK).all(axis=2)
    for row, scene, location in ((0, 0, (9, 30)), (1, 0, (9, 30)), (0, 2, (20, 12)), (1, 2, (30, 30))):
        assert marked[row * height + 2 + 3 * location[0] + 1, scene * width + 2 + 3 * location[1] + 1]
    assert not marked[:, width : 2 * width].any()


def test_boxes_of_objects_have_the_colour_of_their_scale_on_frames_alone(colored, color_dots):
    frames = np.concatenate([color_dots((9, 30, GREEN)), color_dots(), color_dots((20, 12, GREEN), (30, 30, RED))])
    figure = detection_figure(colored, frames)
    height, width = 40 * 3 + 4, 50 * 3 + 4
    assert figure.shape == (2 * height, 3 * width, 3)
    small, large = (_lit(figure, color) for color in BOX_COLORS[:2])
    # A box runs around its pixels: of one pixel, enlarged to 3 x 3, it is 5 x 5; of 2 x 2 pixels, 8 x 8.
    assert len(small) == 2 * 16
    assert small[0].tolist() == [2 + 9 * 3 - 1, 2 + 30 * 3 - 1]
    assert len(large) == 28
    assert (large.max(axis=0) - large.min(axis=0)).tolist() == [7, 7]
    assert large.min(axis=0).tolist() == [2 + 29 * 3 - 1, 2 * width + 2 + 29 * 3 - 1]


def test_reconstructions_below_boxes_show_the_colours_of_objects(colored, color_dots):
    below = detection_figure(colored, color_dots((9, 30, GREEN)))[40 * 3 + 4 :]
    assert np.abs(below[2 + 9 * 3 + 1, 2 + 30 * 3 + 1].astype(int) - GREEN).max() <= 1
    assert below[2 + 20 * 3, 2 + 10 * 3].tolist() == [10, 60, 90]


@pytest.mark.parametrize("channels", [1, 3])
def test_background_figure_shows_states_windows_ignored_pixels_frames_and_surprise(channels):
    states = np.stack([np.full((40, 50, channels), 90, np.uint8), np.full((40, 50, channels), 120, np.uint8)])
    ignored = np.zeros((40, 50), bool)
    ignored[30:] = True
    frames = np.full((4, 40, 50, channels), 60, np.uint8)
    nats = np.zeros((4, 40, 50), np.float32)
    nats[0, 10, 15], nats[1, 10, 15] = 500, 5
    boxes = [np.array([[10, 15, 1, 1]]), NONE, NONE, NONE]
    figure = background_figure(states, ignored, [9, 18], frames, nats, boxes)
    height, width = 22 + 40 * 3 + 4, 50 * 3 + 4
    assert figure.shape == (3 * height, 4 * width, 3)
    above, middle, below = figure[22:height], figure[height + 22 : 2 * height], figure[2 * height + 22 :]
    assert [above[50, i * width + 50].tolist() for i in range(4)] == [[90] * 3, [120] * 3, [30] * 3, [32] * 3]
    assert len(_lit(above, (200, 0, 0))) == 10 * 3 * 50 * 3
    for side, color in ((9, BOX_COLORS[0]), (18, BOX_COLORS[1])):
        window = _lit(above, color)
        assert (window.max(axis=0) - window.min(axis=0) - 1).tolist() == [3 * side, 3 * side]
    assert _lit(middle, BOX_COLORS[0])[0].tolist() == [2 + 10 * 3 - 1, 2 + 15 * 3 - 1]
    bright = below[2 + 10 * 3 + 1, [2 + 15 * 3 + 1, width + 2 + 15 * 3 + 1, 2 * width + 2 + 15 * 3 + 1]].sum(axis=1)
    assert bright[0] == 3 * 255
    assert 0 < bright[1] < 3 * 255
    assert bright[2] < 20


def test_background_figure_says_what_it_shows_above_each_row():
    states, ignored = np.zeros((1, 40, 90, 3), np.uint8), np.zeros((40, 90), bool)
    one = (states, ignored, [9], states, np.zeros((1, 40, 90), np.float32), [NONE])
    figure = background_figure(*one)
    height = 22 + 40 * 3 + 4
    for row in range(3):
        assert (figure[row * height : row * height + 22] > 100).any()
