import numpy as np
import pytest

from lavae_rl.data.coordinates import to_location, to_xy


def test_a_pixel_of_an_asymmetric_image_has_its_x_and_y():
    image = np.zeros((11, 21), np.uint8)
    image[2, 15] = 255  # in the upper half, right of the middle
    location = np.argwhere(image)
    np.testing.assert_allclose(to_xy(location, (11, 21)), [[0.5, -0.6]])
    np.testing.assert_allclose(to_location(np.array([[0.5, -0.6]]), (11, 21)), location)


@pytest.mark.parametrize(
    ("location", "xy"),
    [((0, 0), (-1, -1)), ((0, 20), (1, -1)), ((10, 0), (-1, 1)), ((10, 20), (1, 1)), ((5, 10), (0, 0))],
    ids=["top left", "top right", "bottom left", "bottom right", "centre"],
)
def test_corners_and_centre_are_exact_in_both_directions(location, xy):
    assert to_xy(np.array(location), (11, 21)).tolist() == list(xy)
    assert to_location(np.array(xy, float), (11, 21)).tolist() == list(location)


def test_every_pixel_survives_the_way_to_xy_and_back():
    pixels = np.stack(np.meshgrid(np.arange(7), np.arange(12), indexing="ij"), axis=-1)
    xy = to_xy(pixels, (7, 12))
    assert xy.shape == (7, 12, 2)
    assert np.abs(xy).max() == 1
    np.testing.assert_allclose(to_location(xy, (7, 12)), pixels, atol=1e-12)
