"""The entropy bound: the best log-likelihood that any model of a generator of scenes can have.

The mean of -log p(x) over scenes of a generator is its cross-entropy with the model, and never below its entropy. A
bound on log p(x) that is better by more than sampling noise is a bug; its distance to the entropy measures the model.
"""

import math
from collections import Counter

import numpy as np
from jaxtyping import Float

from lavae_rl.data.scenes import Scenes, apart, grown_boxes, sample_scenes
from lavae_rl.data.sources import SceneDataset
from lavae_rl.data.sprites import SpriteBank

_SCENES = 500
"""Random scenes to average the logarithm of the room left over: its spread is small (0.1 nats per object)."""

_TOLERANCE = 0.1
"""Error of the estimated entropy, in nats."""


class ImpossibleBoundError(RuntimeError):
    """A bound on log p(x) is better than the entropy of the data allows."""


def entropy_floor(
    bank: SpriteBank, num_objects: tuple[int, int] = (0, 3), canvas_size: tuple[int, int] = (64, 64)
) -> float:
    """Least mean -log p(x) that any model can have on ``sample_scenes(..., num_objects)``, nats per frame.

    With C equally likely counts, H(x) = log C + mean of H(x | n) over the counts; see ``scene_entropy``.
    """
    return float(_entropies(bank, *num_objects, canvas_size).mean())


def scene_entropy(bank: SpriteBank, num_objects: int, canvas_size: tuple[int, int] = (64, 64)) -> float:
    """Entropy of the frames with exactly ``num_objects`` sprites, bounded from below, in nats.

    A scene is an ordered list of sprites and locations; a frame has no order, and sprites that differ in nothing but a
    shift, or not at all, are one look. So, with S the look of a sprite and A_k the locations left for object k,

        H(x | n) >= n H(S) + sum_k E[log |A_k|] - log n!

    as given its look an object is uniform over A_k (or more spread, where several sprites share the look), and an
    order is worth log n! at most. |A_k| is counted for random scenes. Scenes that get stuck and start again are
    left out of account: of up to 3 objects on 64 x 64 pixels there are none; of 2 on 24 x 24 they are one in 40, which
    makes this 0.02 nats too large.
    """
    total = num_objects * _look_entropy(bank) - math.lgamma(num_objects + 1)
    scenes = sample_scenes(np.random.default_rng(0), bank, _SCENES, num_objects, canvas_size)
    return total + sum(float(np.log(_room(scenes, bank, slot)).mean()) for slot in range(num_objects))


def check_bound(dataset: SceneDataset, bound: Float[np.ndarray, " batch"]) -> float:
    """Compare bounds on log p(x) with the entropy bound of scenes that have the same counts, and return the latter.

    Args:
        dataset: scenes of 0 to N objects, all counts equally likely, N among them.
        bound: nats per frame of its first scenes.

    Raises:
        ImpossibleBoundError: the mean bound is better by more than four standard errors and ``_TOLERANCE``.
    """
    scenes = dataset.scenes
    best = _entropies(dataset.bank, 0, int(scenes.count.max()), scenes.canvas_size)[scenes.count[: len(bound)]]
    surplus = bound + best
    error = float(surplus.std()) / math.sqrt(len(surplus))
    if surplus.mean() > 4 * error + _TOLERANCE:
        raise ImpossibleBoundError(
            f"the bound of {bound.mean():.2f} nats per frame is {surplus.mean():.2f} +- {error:.2f} better than the "
            "entropy of the scenes allows: the likelihood, the prior or the posterior is computed wrongly"
        )
    return float(best.mean())


def _entropies(bank: SpriteBank, low: int, high: int, canvas_size: tuple[int, int]) -> Float[np.ndarray, " counts"]:
    """Least mean -log p(x) of the scenes of each count from ``low`` to ``high``, where all are equally likely."""
    return np.array([scene_entropy(bank, n, canvas_size) for n in range(low, high + 1)]) + math.log(high - low + 1)


def _look_entropy(bank: SpriteBank) -> float:
    crops = (
        patch[top:bottom, left:right]
        for patch, (top, left, bottom, right) in zip(bank.patches, bank.boxes, strict=True)
    )
    share = np.array(list(Counter((crop.shape, crop.tobytes()) for crop in crops).values())) / len(bank)
    return float(-(share * np.log(share)).sum())


def _room(scenes: Scenes, bank: SpriteBank, slot: int) -> Float[np.ndarray, " batch"]:
    """Number of locations left for the object of a slot beside those of the slots before it."""
    size, (height, width) = bank.size, scenes.canvas_size
    rows, columns = np.mgrid[: height - size + 1, : width - size + 1] + size // 2
    free = np.stack([rows.ravel(), columns.ravel()], axis=1)
    boxes = grown_boxes(bank, scenes.sprite_index)
    own = boxes[:, slot, None] + np.tile(free, 2)
    clear = np.ones(own.shape[:2], bool)
    for earlier in range(slot):
        there = boxes[:, earlier] + np.tile(scenes.location[:, earlier], 2)
        clear &= apart(own, there[:, None])
    return clear.sum(axis=1).astype(float)
