"""The background of an environment, estimated from its frames: what they show most at each pixel, or what stays there.

What never moves is background, and that is a definition. A pixel may have several states: one of two courts, a brick
that is there or gone, a digit of a score. Whether a colour is a state or an object that passes is seen in its *pair*,
the most frequent colour of a pixel and another one that it has: over all pixels of the same pair, background lasts, or
always comes at the same places.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from lavae_rl.data.frame_source import FrameSource

TOLERANCE = 12
"""Colours whose channels differ by at most this much, of 255, are one colour: cameras and codecs add noise."""
LAGS = (0, 8, 16, 24)
LASTING, SEEN, EPISODES = 0.7, 0.01, 2
"""A colour is a state if it lasts, in this share of its occurrences, for all of ``LAGS``, and is seen in this share of
the frames and in so many episodes."""
STRENGTH = 10
"""The share of a pixel's occurrences that last is drawn towards that of its pair, which counts as so many of them."""
FREQUENT, IN_PLACE = 0.3, 0.7
"""So is a colour that a pixel has in this share of the frames, if this share of its pair's occurrences are at such
pixels: water that glitters, but not an object that likes a place."""

_ANCHORS, _MAX_BYTES, _PIXELS, _SHIFTS, _MOST_SPREAD = 240, 2**29, 2**12, 4, 64

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
    parts = [_candidates(flat[:, :, i : i + _PIXELS], owners, max_states) for i in range(0, flat.shape[2], _PIXELS)]
    candidates = _Candidates(*(np.concatenate(field, axis=1) for field in zip(*parts, strict=True)))
    colors, frequency = _states(candidates, len(anchors), len(np.unique(owners)))
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


class _Candidates(NamedTuple):
    """The colours that each pixel has most often, the most frequent first, and how they occur."""

    colors: UInt8[np.ndarray, "states pixels channels"]
    number: Int[np.ndarray, "states pixels"]
    """Number of anchors with the colour; 0 where there is no further colour."""
    lasting: Int[np.ndarray, "states pixels"]
    """Number of those from which on it stays for all of ``LAGS``."""
    episodes: Int[np.ndarray, "states pixels"]
    """Number of episodes with the colour."""


def _candidates(later: UInt8[np.ndarray, "lags anchors pixels channels"], owners: np.ndarray, most: int) -> _Candidates:
    frames = later[0]
    shape = (most, frames.shape[1])
    colors = np.zeros((*shape, frames.shape[2]), np.uint8)
    number, lasting, episodes = (np.zeros(shape, np.int64) for _ in range(3))
    left = np.ones(frames.shape[:2], bool)
    pixels = np.arange(frames.shape[1])
    for state in range(most):
        seen = frames[:, pixels]
        near, mean = _around(seen, _mode(seen, left), left)
        stays = near.copy()
        for frames_later in later[1:, :, pixels]:
            stays &= _alike(frames_later, seen)
        number[state, pixels], lasting[state, pixels] = near.sum(axis=0), stays.sum(axis=0)
        episodes[state, pixels] = sum(near[owners == owner].any(axis=0) for owner in np.unique(owners))
        colors[state, pixels] = mean
        left &= ~near
        # Few pixels have enough of other colours for another state.
        more = left.mean(axis=0) >= SEEN
        pixels, left = pixels[more], left[:, more]
    return _Candidates(colors, number, lasting, episodes)


def _around(
    frames: Colors, colors: UInt8[np.ndarray, "pixels channels"], left: Chosen
) -> tuple[Chosen, UInt8[np.ndarray, "pixels channels"]]:
    """Select the frames that show about the given colour of each pixel, and return the mean of what they show.

    Noise is why a colour is never met exactly, and why the mean is a better centre than the colour that was given.
    """
    near = left
    for _ in range(_SHIFTS):
        near = _alike(frames, colors) & left
        mean = (frames * near[..., None]).sum(axis=0) / np.maximum(near.sum(axis=0), 1)[:, None]
        if (np.rint(mean) == colors).all():
            break
        colors = np.rint(mean).astype(np.uint8)
    return near, colors


def _alike(one: Colors, other: np.ndarray) -> Chosen:
    return (np.abs(one.astype(np.int16) - other) <= TOLERANCE).all(axis=2)


def _mode(frames: Colors, left: Chosen) -> UInt8[np.ndarray, "pixels channels"]:
    """The most frequent colour of each pixel among the frames that are left to it; black if none is."""
    codes = np.sort(np.where(left, _codes(frames), -1).astype(np.int32), axis=0)
    # In sorted order, the length of a run is the index of its last entry less that of its first.
    index = np.arange(len(codes))[:, None]
    fresh = np.diff(codes, axis=0, prepend=np.full((1, codes.shape[1]), -2, np.int32)) != 0
    length = np.where(codes < 0, -1, index - np.maximum.accumulate(np.where(fresh, index, 0), axis=0))
    chosen = np.take_along_axis(codes, length.argmax(axis=0)[None], axis=0)[0]
    return (np.maximum(chosen, 0)[:, None] // 256 ** np.arange(frames.shape[2]) % 256).astype(np.uint8)


def _codes(colors: UInt8[np.ndarray, "... channels"]) -> Int[np.ndarray, "..."]:
    """Colours as whole numbers below 2^24."""
    return np.asarray(colors.astype(np.int64) @ 256 ** np.arange(colors.shape[-1]))


def _states(candidates: _Candidates, anchors: int, num_episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours and frequency of those candidates that are states."""
    colors, number, lasting, episodes = candidates
    code = _codes(colors)
    there = number[1:] > 0
    pairs, member = np.unique((code[:1] << 24 | code[1:])[there], return_inverse=True)

    def pooled(values: Shaped[np.ndarray, "states pixels"]) -> np.ndarray:
        return np.bincount(member, weights=values[1:][there], minlength=len(pairs))

    total = pooled(number)
    lasting_share = pooled(lasting) / total
    in_place = pooled(number * (number >= FREQUENT * anchors)) >= IN_PLACE * total
    own = number[1:][there]
    drawn = (lasting[1:][there] + STRENGTH * lasting_share[member]) / (own + STRENGTH)
    enough = (own >= max(2, SEEN * anchors)) & (episodes[1:][there] >= min(EPISODES, num_episodes))
    lasts = (drawn >= LASTING) & enough
    used = np.ones(number.shape, bool)
    used[1:] = False
    used[1:][there] = lasts | ((own >= FREQUENT * anchors) & in_place[member])
    frequency = np.where(used, number / anchors, 0.0)
    everywhere = ((lasting_share >= LASTING) & (np.bincount(member, lasts, len(pairs)) > 0)).nonzero()[0]
    strongest = everywhere[np.argsort(-total[everywhere], kind="stable")][:_MOST_SPREAD]
    _spread(colors, frequency, pairs[strongest], anchors)
    # A colour that was refused may stand before one that was taken.
    order = np.insert(np.argsort(-frequency[1:], axis=0, kind="stable") + 1, 0, 0, axis=0)
    frequency = np.take_along_axis(frequency, order, axis=0)
    colors = np.take_along_axis(colors, order[..., None], axis=0)
    return np.where((frequency > 0)[..., None], colors, colors[:1]), frequency


def _spread(colors: np.ndarray, frequency: np.ndarray, pairs: Int[np.ndarray, " pairs"], anchors: int) -> None:
    """Write states that last elsewhere into all pixels of the same first colour, as if seen in half an anchor.

    Thus a wall may crumble where no training frame has it damaged. Only a colour that covers more of the background
    than the first is what remains where something vanishes.
    """
    code = _codes(colors)
    area = dict(zip(*np.unique(code[0], return_counts=True), strict=True))
    for pair in pairs.tolist():
        first, second = pair >> 24, pair & (1 << 24) - 1
        if area.get(second, 0) <= area[first]:
            continue
        free = (frequency == 0) & (code[0] == first) & ~((code == second) & (frequency > 0)).any(axis=0)
        pixels = free.any(axis=0).nonzero()[0]
        state = free.argmax(axis=0)[pixels]
        colors[state, pixels] = second // 256 ** np.arange(colors.shape[2]) % 256
        frequency[state, pixels] = 0.5 / anchors
        code[state, pixels] = second
