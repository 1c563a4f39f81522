from itertools import permutations

import numpy as np
import pytest

from lavae_rl.envs import DigitOrderEnv
from lavae_rl.envs.digit_order import DigitOrder
from lavae_rl.envs.world import TARGET


def _point(env, place):
    return env.step(np.array(place[::-1], np.float32) / 63 * 2 - 1)


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("num_objects", [1, 3, 10])
def test_digits_are_of_different_classes_and_all_of_them_are_targets(num_objects, mode):
    task, rng = DigitOrder(mode), np.random.default_rng(0)
    first = set()
    for _ in range(100):
        sprites, roles = task.draw(rng, num_objects)
        labels = task.bank.attributes["label"][sprites]
        assert len(set(labels)) == num_objects
        assert roles.tolist() == [TARGET] * num_objects
        first.add(int(labels[0]))
    assert first == set(range(10))


def test_only_from_small_to_large_is_success():
    env = DigitOrderEnv()
    successes = 0
    for order in permutations(range(3)):
        env.reset(seed=1)
        scenes = env.simulation.world.scenes
        labels = env.simulation.task.bank.attributes["label"][scenes.sprite_index[0]]
        places = scenes.location[0].tolist()
        rising = [labels[i] for i in order] == sorted(labels)
        rewards, terminated = [], False
        for i in order:
            frame, reward, terminated, _, info = _point(env, places[i])
            rewards.append(reward)
            if terminated:
                break
            row, column = places[i]
            assert not frame[row - 5 : row + 5, column - 5 : column + 5].any()  # it has vanished
        assert terminated
        assert info["is_success"] is rising
        right = 3 if rising else len(rewards) - 1
        assert rewards == pytest.approx([1 / 3] * right + [0] * (len(rewards) - right))
        successes += rising
    assert successes == 1


def test_pointing_at_nothing_or_where_a_digit_was_does_nothing():
    env = DigitOrderEnv()
    env.reset(seed=0)
    task = env.simulation.task
    sprites = np.array([np.flatnonzero(task.labels == label)[0] for label in (7, 2)])
    env.simulation.world.begin(0, sprites, np.full(2, TARGET), [(15, 15), (45, 45)])
    said = [_point(env, place)[1:3] for place in ((15, 45), (45, 45), (45, 45), (15, 15))]
    assert said == [(0, False), (0.5, False), (0, False), (0.5, True)]


def test_test_mode_has_other_images_than_training():
    images = []
    for mode in ("train", "test"):
        task, rng = DigitOrder(mode), np.random.default_rng(0)
        images.append({image for _ in range(300) for image in task.draw(rng, 10)[0].tolist()})
    assert not images[0] & images[1]
    assert len(images[0]) > len(images[1]) > 1000
