from importlib import import_module
from typing import Any

import numpy as np
import pytest

ObjectGoal: Any = import_module("lavae_rl.envs.object_goal").ObjectGoal
worlds: Any = import_module("lavae_rl.envs.world")

GREEN_SQUARE = (0, 1)


def _draws(mode, num_objects=4):
    """Looks (shape, colour) and roles of the objects of many scenes."""
    task, rng = ObjectGoal(mode), np.random.default_rng(0)
    for _ in range(150):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == worlds.NEUTRAL
        looks = [tuple(int(task.bank.attributes[name][i]) for name in ("shape", "color")) for i in sprites[1:]]
        yield looks, roles[1:]


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 4])
def test_just_one_object_is_a_green_square_and_it_is_the_right_one(mode, num_objects):
    slots = set()
    for looks, roles in _draws(mode, num_objects):
        assert len(looks) == num_objects
        right = [look == GREEN_SQUARE for look in looks]
        assert sum(right) == 1
        assert roles.tolist() == [worlds.RIGHT if yes else worlds.WRONG for yes in right]
        slots.add(right.index(True))
    assert slots == set(range(num_objects))


def test_testing_shows_other_distractors_than_training():
    train, test = (
        {look for looks, _ in _draws(mode) for look in looks if look != GREEN_SQUARE} for mode in ("train", "test")
    )
    assert not train & test
    assert (len(train), len(test)) == (11, 6)  # of 3 x 6 looks, and the target is one of those of training
