"""The background of an environment, estimated from its frames: what they show most at each pixel, or what stays there.

What never moves is background, and that is a definition. A pixel may have several states: one of two courts, a brick
that is there or gone, a digit of a score.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from lavae_rl.data.frame_source import FrameSource

TOLERANCE = 12
"""Colours whose channels differ by at most this much, of 255, are one colour: cameras and codecs add noise."""
FREQUENT = 0.3
"""A colour that a pixel has in so many frames is one of its states."""
LASTING, SEEN = 0.7, 0.01
"""So is a colour that lasts, in this share of its occurrences, for all of ``LAGS``, if it is seen in ``EPISODES``
different episodes and in this share of the frames."""
LAGS = (0, 8, 16, 24)
EPISODES = 2

_ANCHORS, _MAX_BYTES, _PIXELS = 240, 2**29, 2**12

Colors = UInt8[np.ndarray, "anchors pixels channels"]
Chosen = Bool[np.ndarray, "anchors pixels"]


class BackgroundStates(NamedTuple):
    """The states of each pixel, the most frequent first; unused ones repeat the first and have frequency 0."""

    colors: UInt8[np.ndarray, "states height width channels"]
    frequency: Float[np.ndarray, "states height width"]


def estimate_background(
    source: FrameSource, episodes: Int[np.ndarray, " offsets"], max_states: int
) -> BackgroundStates:
    """Estimate up to ``max_states`` colours of each pixel from frames spread over a recording.

    The first state of a pixel is its most frequent colour. There are as many states as the pixel with the most has.

    Args:
        source: the frames, in the order of time.
        episodes: index of the first frame of each episode, and the number of frames at the end.
        max_states: at least 1; 1 gives a static background.
    """
    anchors, owners = _anchors(episodes, _ANCHORS, _MAX_BYTES // (len(LAGS) * int(np.prod(source.shape))))
    later = [source[np.minimum(anchors + lag, episodes[owners + 1] - 1)] for lag in LAGS]
    flat = np.stack([frames.reshape(len(anchors), -1, source.shape[2]) for frames in later])
    parts = [_states(flat[:, :, i : i + _PIXELS], owners, max_states) for i in range(0, flat.shape[2], _PIXELS)]
    colors = np.concatenate([part.colors for part in parts], axis=1)
    frequency = np.concatenate([part.frequency for part in parts], axis=1)
    used = int(frequency.any(axis=1).sum())
    shape = source.shape[:2]
    return BackgroundStates(colors[:used].reshape(used, *source.shape), frequency[:used].reshape(used, *shape))


def _anchors(episodes: Int[np.ndarray, " offsets"], wanted: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames spread over the recording, where possible with ``LAGS`` to follow, and the episode of each."""
    index = np.arange(episodes[-1])
    owner = np.searchsorted(episodes, index, side="right") - 1
    followed = index[index + LAGS[-1] < episodes[owner + 1]]
    usable = followed if len(followed) >= max(1, min(wanted, len(index) // 2)) else index
    chosen = usable[np.linspace(0, len(usable) - 1, max(1, min(wanted, most, len(usable)))).round().astype(int)]
    return chosen, owner[chosen]


class _States(NamedTuple):
    colors: UInt8[np.ndarray, "states pixels channels"]
    frequency: Float[np.ndarray, "states pixels"]


def _states(later: UInt8[np.ndarray, "lags anchors pixels channels"], owners: np.ndarray, most: int) -> _States:
    frames = later[0]
    colors = np.zeros((most, *frames.shape[1:]), np.uint8)
    frequency = np.zeros((most, frames.shape[1]))
    left = np.ones(frames.shape[:2], bool)
    pixels = np.arange(frames.shape[1])
    for state in range(most):
        seen = frames[:, pixels]
        near = _alike(seen, _mode(seen, left)) & left
        used = np.ones(len(pixels), bool)
        if state > 0:
            used = _is_background(near, later[:, :, pixels], owners)
        mean = (seen * near[..., None]).sum(axis=0) / np.maximum(near.sum(axis=0), 1)[:, None]
        colors[state, pixels[used]] = np.rint(mean[used])
        frequency[state, pixels[used]] = near.mean(axis=0)[used]
        left &= ~near
        # Few pixels have enough of other colours for another state.
        more = left.mean(axis=0) >= SEEN
        pixels, left = pixels[more], left[:, more]
    # A colour that was refused may stand before one that was taken.
    order = np.insert(np.argsort(-frequency[1:], axis=0, kind="stable") + 1, 0, 0, axis=0)
    frequency = np.take_along_axis(frequency, order, axis=0)
    colors = np.take_along_axis(colors, order[..., None], axis=0)
    return _States(np.where((frequency > 0)[..., None], colors, colors[:1]), frequency)


def _is_background(near: Chosen, later: np.ndarray, owners: np.ndarray) -> Bool[np.ndarray, " pixels"]:
    stays = np.ones_like(near)
    for frames in later[1:]:
        stays &= _alike(frames, later[0])
    number, lasting = near.sum(axis=0), (near & stays).sum(axis=0)
    episodes = np.stack([near[owners == owner].any(axis=0) for owner in np.unique(owners)])
    enough = episodes.sum(axis=0) >= min(EPISODES, len(episodes))
    lasts = (lasting >= LASTING * number) & (number >= max(2, SEEN * len(near))) & enough
    return (number >= FREQUENT * len(near)) | lasts


def _alike(one: Colors, other: np.ndarray) -> Chosen:
    return (np.abs(one.astype(np.int16) - other) <= TOLERANCE).all(axis=2)


def _mode(frames: Colors, left: Chosen) -> UInt8[np.ndarray, "pixels channels"]:
    """The most frequent colour of each pixel among the frames that are left to it; black if none is."""
    weights = 256 ** np.arange(frames.shape[2])
    codes = np.sort(np.where(left, (frames * weights).sum(axis=2), -1).astype(np.int32), axis=0)
    # In sorted order, the length of a run is the index of its last entry less that of its first.
    index = np.arange(len(codes))[:, None]
    fresh = np.diff(codes, axis=0, prepend=np.full((1, codes.shape[1]), -2, np.int32)) != 0
    length = np.where(codes < 0, -1, index - np.maximum.accumulate(np.where(fresh, index, 0), axis=0))
    chosen = np.take_along_axis(codes, length.argmax(axis=0)[None], axis=0)[0]
    return (np.maximum(chosen, 0)[:, None] // weights % 256).astype(np.uint8)
