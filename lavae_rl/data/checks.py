"""Checks of recordings before anything is trained on them."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Int

from lavae_rl.data.environments import open_screen
from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.recordings import Recording
from lavae_rl.shapes import Frames

_FRAMES = 200
_CHANGED = 20
_RETURNED = 0.35
_OFTEN = 0.3


def check_moving(recording: Recording) -> None:
    """Refuse frames in which nothing moves, as far as a sample of up to 200 frames shows.

    Raises:
        ValueError: all frames are equal.
    """
    sample = np.linspace(0, len(recording) - 1, min(_FRAMES, len(recording))).round().astype(int)
    first = recording[sample[:1]][0]
    if all((recording[sample[i : i + 1]][0] == first).all() for i in range(1, len(sample))):
        raise ValueError(
            f"expected frames in which something moves, got {len(sample)} equal ones: collect them with another policy "
            "or more of them, or check what was recorded"
        )


def flickers(source: FrameSource | Frames, episodes: Int[np.ndarray, " offsets"]) -> bool:
    """Tell whether objects show in every other frame only, as on consoles that cannot draw all of them at once.

    In many triples of successive frames, the middle one must differ much from both others, which are much alike.
    Motion does not do that: two steps change about as many pixels as one, or more.

    Args:
        source: frames in the order of time.
        episodes: index of the first frame of each episode, and the number of frames at the end.
    """
    first = np.arange(max(0, len(source) - 2))
    first = first[first + 2 < episodes[np.searchsorted(episodes, first, side="right")]]
    sample = first[np.linspace(0, len(first) - 1, min(_FRAMES, len(first))).round().astype(int)]
    return bool(len(sample)) and bool(np.mean([_returns(source[i : i + 3]) for i in sample.tolist()]) >= _OFTEN)


def _returns(triple: Frames) -> bool:
    pairs = ((0, 1), (1, 2), (0, 2))
    there, back, both = (int((triple[i] != triple[j]).any(axis=-1).sum()) for i, j in pairs)
    changed = min(there, back)
    return changed > _CHANGED and both < _RETURNED * changed


def hides_objects(env_id: str, options: Mapping[str, Any]) -> bool:
    """Tell whether an Atari game flickers while an even ``frameskip`` shows always the same half of its objects.

    Frames do not tell what is missing from them, so this plays a few seconds without skipping.
    """
    skip = {**(gym.spec(env_id).kwargs if env_id in gym.registry else {}), **options}.get("frameskip")
    if not env_id.startswith("ALE/") or not isinstance(skip, int) or skip % 2:
        return False
    env, read = open_screen(env_id, **{**options, "frameskip": 1})
    env.action_space.seed(0)
    frames = [read(env.reset(seed=0)[0]).copy()]
    ended = False
    while len(frames) < _FRAMES and not ended:
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        frames.append(read(observation).copy())
        ended = terminated or truncated
    env.close()
    return flickers(np.stack(frames), np.array([0, len(frames)]))
