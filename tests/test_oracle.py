import numpy as np
import pytest

from lavae_rl.data.digits import digits_bank
from lavae_rl.data.scenes import Scenes
from lavae_rl.data.sprites import ANGLES, dsprites_bank
from lavae_rl.envs.oracle import OracleTokens


@pytest.fixture(scope="module")
def shapes():
    return dsprites_bank()


@pytest.fixture(scope="module")
def digits():
    return digits_bank(200)


def _scene(sprites, places, canvas_size, slots=None):
    count = len(sprites)
    slots = count if slots is None else slots
    index, location = np.zeros((1, slots), np.int32), np.zeros((1, slots, 2), np.int16)
    index[0, :count], location[0, :count] = sprites, places
    return Scenes(index, location, np.array([count]), canvas_size)


def _find(bank, **attributes):
    chosen = [np.isclose(bank.attributes[name], value) for name, value in attributes.items()]
    return int(np.flatnonzero(np.logical_and.reduce(chosen))[0])


def test_a_token_holds_location_and_attributes_of_a_shape(shapes):
    ellipse = _find(shapes, shape=1, scale=0.7, angle=ANGLES[10], color=4)  # a quarter turn, magenta
    square = _find(shapes, shape=0, scale=1.0, angle=0.0, color=1)  # green
    observation = OracleTokens(shapes, 4)(_scene([ellipse, square], [(47, 79), (0, 0)], (48, 80)))
    expected = np.array(
        [
            # x, y, square, ellipse, triangle, scale, sine, cosine, red, green, blue
            [-1, -1, 1, 0, 0, 1.0, 0, 1, 0, 1, 0],
            [1, 1, 0, 1, 0, 0.7, 1, 0, 1, 0, 1],
            [0] * 11,
            [0] * 11,
        ]
    )
    np.testing.assert_allclose(observation["tokens"], expected[None], atol=1e-6)
    assert observation["tokens"].dtype == np.float32
    assert observation["mask"].tolist() == [[1, 1, 0, 0]]
    assert observation["mask"].dtype == np.int8


def test_x_points_right_and_y_down(shapes):
    tokens = OracleTokens(shapes, 2)(_scene([5, 6], [(10, 60), (60, 10)], (64, 64)))["tokens"][0]
    expected = [[60 / 63 * 2 - 1, 10 / 63 * 2 - 1], [10 / 63 * 2 - 1, 60 / 63 * 2 - 1]]
    np.testing.assert_allclose(tokens[:, :2], expected, rtol=1e-6)


def test_a_token_of_a_digit_holds_its_class(digits):
    five, zero = (_find(digits, label=label) for label in (5, 0))
    tokens = OracleTokens(digits, 3)(_scene([five, zero], [(20, 20), (40, 40)], (64, 64)))["tokens"][0]
    assert tokens.shape == (3, 12)
    np.testing.assert_array_equal(tokens[:, 2:], [np.eye(10)[5], np.eye(10)[0], np.zeros(10)])


def test_tokens_are_ordered_from_top_to_bottom_whatever_the_order_of_slots(shapes):
    rng = np.random.default_rng(0)
    oracle = OracleTokens(shapes, 6)
    places = [(40, 12), (12, 50), (30, 30), (12, 20), (50, 40)]
    sprites = rng.integers(len(shapes), size=5)
    first = oracle(_scene(sprites, places, (64, 64), slots=6))
    x, y = first["tokens"][0, :5, 0], first["tokens"][0, :5, 1]
    np.testing.assert_array_equal(np.lexsort((x, y)), np.arange(5))
    for _ in range(5):
        order = rng.permutation(5)
        again = oracle(_scene(sprites[order], np.array(places)[order], (64, 64), slots=6))
        np.testing.assert_array_equal(again["tokens"], first["tokens"])
        np.testing.assert_array_equal(again["mask"], first["mask"])


@pytest.mark.parametrize("name", ["shapes", "digits"])
def test_every_sprite_anywhere_is_in_the_space(request, name):
    bank = request.getfixturevalue(name)
    oracle = OracleTokens(bank, 2)
    space = oracle.space
    corners = [(0, 0), (0, 79), (47, 0), (47, 79)]
    for sprite in range(0, len(bank), len(bank) // 100):
        observation = oracle(_scene([sprite], [corners[sprite % 4]], (48, 80)))
        assert space.contains({key: value[0] for key, value in observation.items()})


def test_a_batch_gives_the_tokens_of_its_scenes(shapes):
    scenes = Scenes(
        np.array([[1, 2], [3, 0]], np.int32),
        np.array([[(20, 20), (50, 50)], [(30, 40), (0, 0)]], np.int16),
        np.array([2, 1]),
        (64, 64),
    )
    oracle = OracleTokens(shapes, 4)
    both = oracle(scenes)
    for i in range(2):
        one = oracle(scenes[i : i + 1])
        for key, values in both.items():
            np.testing.assert_array_equal(values[i], one[key][0])
    assert both["mask"].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert not both["tokens"][1, 1:].any()
