from importlib import import_module
from typing import Any

import numpy as np
import pytest

from lavae_rl.data.sprites import SCALES

Largest: Any = import_module("lavae_rl.envs.largest").Largest
worlds: Any = import_module("lavae_rl.envs.world")


def _draws(mode, num_objects=4):
    task, rng = Largest(mode), np.random.default_rng(0)
    for _ in range(200):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == worlds.NEUTRAL
        yield {name: values[sprites[1:]] for name, values in task.bank.attributes.items()}, roles[1:]


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 4, 7])
def test_the_right_object_is_larger_than_each_other_by_a_tenth_of_the_largest_size(num_objects, mode):
    sizes, shapes, slots = set(), set(), set()
    for objects, roles in _draws(mode, num_objects):
        right = roles == worlds.RIGHT
        assert right.sum() == 1
        assert (roles[~right] == worlds.WRONG).all()
        assert (objects["scale"][right] - objects["scale"][~right] > 0.1 * SCALES.max() - 1e-9).all()
        assert len(set(objects["shape"])) == 1
        sizes |= set(objects["scale"][right])
        shapes |= set(objects["shape"])
        slots.add(int(right.argmax()))
    assert sizes == set(SCALES[1:])
    assert shapes == {0, 1, 2}
    assert slots == set(range(num_objects))


def test_testing_shows_other_looks_than_training():
    train, test = (
        {
            look
            for objects, _ in _draws(mode)
            for look in zip(objects["shape"].tolist(), objects["color"].tolist(), strict=True)
        }
        for mode in ("train", "test")
    )
    assert not train & test
    assert (len(train), len(test)) == (12, 6)
