import numpy as np
import pytest

from lavae_rl.data.sprites import SCALES
from lavae_rl.envs.largest import Largest
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET


def _draws(mode, num_objects=4):
    task, rng = Largest(mode), np.random.default_rng(0)
    for _ in range(200):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == NEUTRAL
        yield {name: values[sprites[1:]] for name, values in task.bank.attributes.items()}, roles[1:]


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 4, 7])
def test_the_target_is_larger_than_all_others_by_a_tenth_of_the_largest_size(num_objects, mode):
    sizes, shapes, slots = set(), set(), set()
    for objects, roles in _draws(mode, num_objects):
        target = roles == TARGET
        assert target.sum() == 1
        assert (roles[~target] == DISTRACTOR).all()
        assert (objects["scale"][target] - objects["scale"][~target] > 0.1 * SCALES.max() - 1e-9).all()
        assert len(set(objects["shape"])) == 1
        sizes |= set(objects["scale"][target])
        shapes |= set(objects["shape"])
        slots.add(int(target.argmax()))
    assert sizes == set(SCALES[1:])
    assert shapes == {0, 1, 2}
    assert slots == set(range(num_objects))


def test_test_mode_has_other_combinations_than_training():
    train, test = (
        {
            pair
            for objects, _ in _draws(mode)
            for pair in zip(objects["shape"].tolist(), objects["color"].tolist(), strict=True)
        }
        for mode in ("train", "test")
    )
    assert not train & test
    assert (len(train), len(test)) == (12, 6)
