from importlib import import_module
from typing import Any

import numpy as np
import pytest

from lavae_rl.data.sprites import ANGLES, COLORS, SCALES, SHAPES, dsprites_bank

looks: Any = import_module("lavae_rl.envs.looks")


@pytest.fixture(scope="module")
def bank():
    return dsprites_bank()


def test_the_sprite_of_a_look_has_this_look_in_the_bank(bank):
    shape, scale, angle, color = np.indices((len(SHAPES), len(SCALES), len(ANGLES), len(COLORS))).reshape(4, -1)
    index = looks.sprite(shape, scale, angle, color)
    assert sorted(index.tolist()) == list(range(len(bank)))
    np.testing.assert_array_equal(bank.attributes["shape"][index], shape)
    np.testing.assert_array_equal(bank.attributes["scale"][index], SCALES[scale])
    np.testing.assert_array_equal(bank.attributes["angle"][index], ANGLES[angle])
    np.testing.assert_array_equal(bank.attributes["color"][index], color)


def test_the_agent_is_the_smallest_square_upright_and_white(bank):
    patch = bank.patches[looks.AGENT]
    top, left, bottom, right = bank.boxes[looks.AGENT]
    assert bottom - top == right - left
    assert (patch[top:bottom, left:right] == 255).all()
    assert bank.attributes["shape"][looks.AGENT] == 0
    assert bank.attributes["scale"][looks.AGENT] == SCALES.min()


def _pairs(mode):
    return {tuple(pair) for pair in looks.looks(mode).tolist()}


def test_training_and_testing_share_no_look_and_nothing_is_white():
    train, test = _pairs("train"), _pairs("test")
    assert not train & test
    assert train | test == {(shape, color) for shape in range(3) for color in range(7) if color != looks.WHITE}
    assert COLORS[looks.WHITE].tolist() == [255, 255, 255]


def test_two_colours_of_each_shape_are_held_out_and_each_colour_of_one_shape():
    shapes, colors = zip(*_pairs("test"), strict=True)
    assert sorted(shapes) == [0, 0, 1, 1, 2, 2]
    assert sorted(colors) == [0, 1, 2, 3, 4, 5]
