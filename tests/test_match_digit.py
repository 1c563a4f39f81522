import numpy as np
import pytest

from lavae_rl.envs import MatchDigitEnv
from lavae_rl.envs.match_digit import MatchDigit
from lavae_rl.envs.world import DISTRACTOR, NEUTRAL, TARGET


def _draws(mode, num_objects=4, number=150):
    task, rng = MatchDigit(mode), np.random.default_rng(0)
    for _ in range(number):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == NEUTRAL
        yield sprites, task.bank.attributes["label"][sprites], roles


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 4, 10])
def test_exactly_one_digit_is_of_the_class_of_the_cue_and_it_is_another_image(num_objects, mode):
    slots, classes = set(), set()
    for sprites, labels, roles in _draws(mode, num_objects):
        assert len(set(labels[1:])) == num_objects
        same = labels[1:] == labels[0]
        assert same.sum() == 1
        np.testing.assert_array_equal(roles[1:], np.where(same, TARGET, DISTRACTOR))
        assert sprites[0] not in sprites[1:]
        slots.add(int(same.argmax()))
        classes.add(int(labels[0]))
    assert slots == set(range(num_objects))
    assert classes == set(range(10))


def test_test_mode_has_other_images_than_training_a_fifth_of_all():
    task = {mode: MatchDigit(mode) for mode in ("train", "test")}
    train, test = ({image for sprites, *_ in _draws(mode, 9, 400) for image in sprites} for mode in task)
    assert not train & test
    # 4,000 draws out of 8,000 and out of 2,000 images.
    assert len(train) == pytest.approx(8000 * (1 - np.exp(-4000 / 8000)), rel=0.05)
    assert len(test) == pytest.approx(2000 * (1 - np.exp(-4000 / 2000)), rel=0.05)


def _point(env, slot):
    row, column = env.simulation.world.scenes.location[0, slot]
    return env.step(np.array([column, row], np.float32) / 63 * 2 - 1)


@pytest.mark.parametrize("seed", range(5))
def test_pointing_at_the_target_succeeds_at_others_fails_and_at_the_cue_does_nothing(seed):
    env = MatchDigitEnv()
    for slot in range(1, 5):
        env.reset(seed=seed)
        scenes = env.simulation.world.scenes
        labels = env.simulation.task.bank.attributes["label"][scenes.sprite_index[0]]
        assert scenes.location[0, 0].tolist() == [9, 9]
        _, reward, terminated, _, info = _point(env, 0)
        assert (reward, terminated, info["is_success"]) == (0, False, False)
        _, reward, terminated, _, info = _point(env, slot)
        target = labels[slot] == labels[0]
        assert (reward, terminated, info["is_success"]) == (float(target), True, target)
