"""The background of an environment, estimated from its frames: what most of them show at each pixel."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from lavae_rl.shapes import Frames

TOLERANCE = 12
"""Colours whose channels differ by at most this much, of 255, are one colour: cameras and codecs add noise."""
MIN_FREQUENCY = 0.3
"""Least share of the frames in which a pixel has a colour for it to be one of its states."""

_ROWS = 16


class BackgroundStates(NamedTuple):
    """The states of each pixel, the most frequent first; unused ones repeat the first and have frequency 0."""

    colors: UInt8[np.ndarray, "states height width channels"]
    frequency: Float[np.ndarray, "states height width"]


def estimate_background(frames: Frames, max_states: int) -> BackgroundStates:
    """Estimate up to ``max_states`` colours of each pixel from frames spread over a recording.

    The first state of a pixel is its most frequent colour; others need a frequency of ``MIN_FREQUENCY``. There are as
    many states as the pixel with the most has.
    """
    strips = [_states(frames[:, row : row + _ROWS], max_states) for row in range(0, frames.shape[1], _ROWS)]
    colors = np.concatenate([strip.colors for strip in strips], axis=1)
    frequency = np.concatenate([strip.frequency for strip in strips], axis=1)
    used = int(frequency.any(axis=(1, 2)).sum())
    return BackgroundStates(colors[:used], frequency[:used])


def _states(frames: Frames, max_states: int) -> BackgroundStates:
    number, *shape = frames.shape
    left = np.ones((number, *shape[:2]), bool)
    colors = np.zeros((max_states, *shape), np.uint8)
    frequency = np.zeros((max_states, *shape[:2]))
    for state in range(max_states):
        likeliest = _mode(frames, left)
        near = (np.abs(frames.astype(np.int16) - likeliest) <= TOLERANCE).all(axis=3) & left
        share = near.mean(axis=0)
        used = np.ones_like(share, bool) if state == 0 else share >= MIN_FREQUENCY
        mean = (frames * near[..., None]).sum(axis=0) / np.maximum(near.sum(axis=0), 1)[..., None]
        colors[state] = np.where(used[..., None], np.rint(mean), colors[0])
        frequency[state] = np.where(used, share, 0)
        left &= ~near
    return BackgroundStates(colors, frequency)


def _mode(frames: Frames, left: np.ndarray) -> np.ndarray:
    """The most frequent colour of each pixel among the frames that are left to it; the first frame's if none is."""
    weights = 256 ** np.arange(frames.shape[3])
    codes = np.sort(np.where(left, (frames * weights).sum(axis=3), -1), axis=0)
    # In sorted order, the length of a run is the index of its last entry less that of its first.
    index = np.arange(len(codes))[:, None, None]
    fresh = np.diff(codes, axis=0, prepend=np.full((1, *codes.shape[1:]), -2)) != 0
    length = np.where(codes < 0, -1, index - np.maximum.accumulate(np.where(fresh, index, 0), axis=0))
    chosen = np.take_along_axis(codes, length.argmax(axis=0)[None], axis=0)[0]
    return (np.maximum(chosen, 0)[..., None] // weights % 256).astype(np.uint8)
