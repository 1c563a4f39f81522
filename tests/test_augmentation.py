from itertools import permutations
from typing import Any

import numpy as np
import pytest

from lavae_rl.rl.augmentation import VecPermutedColors
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_task_vec_env, make_training_vec_env


def _order(plain, shown):
    """The order of channels that makes one frame the other, of those that do the first."""
    return next((order for order in permutations(range(3)) if (plain[..., order] == shown).all()), None)


def test_the_colours_of_an_episode_are_exchanged_and_its_last_frame_too():
    plain: Any
    permuted: Any
    plain, permuted = (
        make_task_vec_env("OddOneOut", "pixels", 8, seed=3, permute_colors=permute, max_episode_steps=4)
        for permute in (False, True)
    )
    frames, shown = plain.reset(), permuted.reset()
    orders, seen = [_order(*pair) for pair in zip(frames, shown, strict=True)], set()
    for step in range(1, 13):
        actions = np.full(8, step % 4)
        (frames, *_, infos), (shown, _, dones, ours) = plain.step(actions), permuted.step(actions)
        for i in range(8):
            if dones[i]:
                last = infos[i]["terminal_observation"][..., orders[i]]
                np.testing.assert_array_equal(ours[i]["terminal_observation"], last)
                orders[i] = _order(frames[i], shown[i])
                seen.add(orders[i])
            np.testing.assert_array_equal(shown[i], frames[i][..., orders[i]])
    assert len(seen) > 2


def test_training_alone_exchanges_colours():
    run = new_run({"task": "Collect", "observation": "lavae", "permute_colors": True, "num_envs": 2})
    venv: Any = make_training_vec_env(run)
    assert isinstance(venv.venv, VecPermutedColors)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "ObjectGoal"}, "expected --permute-colors with OddOneOut or .*, got it with ObjectGoal"),
        ({"task": "MatchDigit"}, "got it with MatchDigit"),
        ({"task": "ALE/Pong-v5"}, "got it with ALE/Pong-v5"),
        ({"task": "Collect", "observation": "oracle"}, "with observation lavae or pixels or vae, got it with oracle"),
    ],
)
def test_colours_that_the_task_names_are_not_exchanged(given, message):
    with pytest.raises(ValueError, match=message):
        new_run({**given, "permute_colors": True})
