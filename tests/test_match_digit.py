from importlib import import_module
from typing import Any

import numpy as np
import pytest

match_digit: Any = import_module("lavae_rl.envs.match_digit")
worlds: Any = import_module("lavae_rl.envs.world")


def _draws(mode, num_objects=4, number=150):
    task, rng = match_digit.MatchDigit(mode), np.random.default_rng(0)
    for _ in range(number):
        sprites, roles = task.draw(rng, num_objects)
        assert roles[0] == worlds.NEUTRAL
        yield sprites, task.bank.attributes["label"][sprites], roles


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 4, 10])
def test_just_one_digit_is_of_the_class_of_the_cue_and_it_is_another_image(num_objects, mode):
    slots, classes = set(), set()
    for sprites, labels, roles in _draws(mode, num_objects):
        assert len(set(labels[1:])) == num_objects
        same = labels[1:] == labels[0]
        assert same.sum() == 1
        np.testing.assert_array_equal(roles[1:], np.where(same, worlds.RIGHT, worlds.WRONG))
        assert sprites[0] not in sprites[1:]
        slots.add(int(same.argmax()))
        classes.add(int(labels[0]))
    assert slots == set(range(num_objects))
    assert classes == set(range(10))


def test_testing_shows_other_images_than_training_a_fifth_of_all():
    task = {mode: match_digit.MatchDigit(mode) for mode in ("train", "test")}
    train, test = ({image for sprites, *_ in _draws(mode, 9, 400) for image in sprites} for mode in task)
    assert not train & test
    # 4,000 draws out of 8,000 and out of 2,000 images.
    assert len(train) == pytest.approx(8000 * (1 - np.exp(-4000 / 8000)), rel=0.05)
    assert len(test) == pytest.approx(2000 * (1 - np.exp(-4000 / 2000)), rel=0.05)


def _point(env, slot):
    row, column = env.simulation.world.scenes.location[0, slot]
    return env.step(np.array([column, row], np.float32) / 63 * 2 - 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_cue_does_nothing_the_right_digit_succeeds_and_the_others_fail(seed):
    env = match_digit.MatchDigitEnv()
    for slot in range(1, 5):
        env.reset(seed=seed)
        scenes = env.simulation.world.scenes
        labels = env.simulation.task.bank.attributes["label"][scenes.sprite_index[0]]
        assert scenes.location[0, 0].tolist() == [9, 9]
        _, reward, terminated, _, info = _point(env, 0)
        assert (reward, terminated, info["is_success"]) == (0, False, False)
        _, reward, terminated, _, info = _point(env, slot)
        right = labels[slot] == labels[0]
        assert (reward, terminated, info["is_success"]) == (float(right), True, right)
