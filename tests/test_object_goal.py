import numpy as np
import pytest

from lavae_rl.envs.object_goal import ObjectGoal
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET

GREEN_SQUARE = (0, 1)


def _draws(mode, num_objects=4):
    """(shape, colour) and roles of the objects of many scenes."""
    task, rng = ObjectGoal(mode), np.random.default_rng(0)
    for _ in range(150):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == NEUTRAL
        pairs = [tuple(int(task.bank.attributes[name][i]) for name in ("shape", "color")) for i in sprites[1:]]
        yield pairs, roles[1:]


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 4])
def test_exactly_one_object_is_a_green_square_and_it_is_the_target(mode, num_objects):
    slots = set()
    for pairs, roles in _draws(mode, num_objects):
        assert len(pairs) == num_objects
        target = [pair == GREEN_SQUARE for pair in pairs]
        assert sum(target) == 1
        assert roles.tolist() == [TARGET if yes else DISTRACTOR for yes in target]
        slots.add(target.index(True))
    assert slots == set(range(num_objects))


def test_test_mode_has_other_distractors_than_training():
    train, test = (
        {pair for pairs, _ in _draws(mode) for pair in pairs if pair != GREEN_SQUARE} for mode in ("train", "test")
    )
    assert not train & test
    assert (len(train), len(test)) == (11, 6)  # of 3 x 6 combinations, of which the target is one of training
