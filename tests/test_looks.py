import numpy as np
import pytest

from lavae_rl.data.sprites import ANGLES, COLORS, SCALES, SHAPES, dsprites_bank
from lavae_rl.envs.looks import AGENT, WHITE, combinations, sprite


@pytest.fixture(scope="module")
def bank():
    return dsprites_bank()


def test_the_index_of_a_sprite_finds_its_attributes_in_the_bank(bank):
    shape, scale, angle, color = np.indices((len(SHAPES), len(SCALES), len(ANGLES), len(COLORS))).reshape(4, -1)
    index = sprite(shape, scale, angle, color)
    assert sorted(index.tolist()) == list(range(len(bank)))
    np.testing.assert_array_equal(bank.attributes["shape"][index], shape)
    np.testing.assert_array_equal(bank.attributes["scale"][index], SCALES[scale])
    np.testing.assert_array_equal(bank.attributes["angle"][index], ANGLES[angle])
    np.testing.assert_array_equal(bank.attributes["color"][index], color)


def test_the_agent_is_the_smallest_square_upright_and_white(bank):
    patch = bank.patches[AGENT]
    top, left, bottom, right = bank.boxes[AGENT]
    assert bottom - top == right - left
    assert (patch[top:bottom, left:right] == 255).all()
    assert bank.attributes["shape"][AGENT] == 0
    assert bank.attributes["scale"][AGENT] == SCALES.min()


def _pairs(mode):
    return {tuple(pair) for pair in combinations(mode).tolist()}


def test_training_and_testing_share_no_combination_and_none_is_white():
    train, test = _pairs("train"), _pairs("test")
    assert not train & test
    assert train | test == {(shape, color) for shape in range(3) for color in range(7) if color != WHITE}
    assert COLORS[WHITE].tolist() == [255, 255, 255]


def test_two_colours_of_each_shape_are_held_out_and_each_colour_of_one_shape():
    shapes, colors = zip(*_pairs("test"), strict=True)
    assert sorted(shapes) == [0, 0, 1, 1, 2, 2]
    assert sorted(colors) == [0, 1, 2, 3, 4, 5]
