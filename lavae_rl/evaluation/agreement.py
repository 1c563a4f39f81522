"""How right a model is about what stands where: counts, matched centres, bounds. Labels are used here only."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from lavae_rl.data.sources import SceneDataset, load_dataset
from lavae_rl.data.sprites import PATCH_SIZE
from lavae_rl.evaluation.entropy import measure_bounds
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE

MATCH_RADIUS = PATCH_SIZE / 2
"""Farthest a predicted centre may be from the true one and still match it: half a patch, in pixels."""

METRICS = (
    "count_accuracy_0_3",
    "count_accuracy_7",
    "location_error_px",
    "miss_rate",
    "false_rate",
    "elbo",
    "log_likelihood_bound",
    "entropy_floor",
    "seconds",
)
"""What ``evaluate`` measures."""

_BATCH = 250


@dataclass(frozen=True)
class Agreement:
    """How a model's objects agree with the truth on labelled scenes.

    Attributes:
        correct: number of scenes whose count is right.
        scenes: number of scenes.
        displacement: (matched, 2), predicted minus true (row, column) of each matched object, in pixels.
        objects: number of true objects.
        predictions: number of predicted objects.
    """

    correct: int
    scenes: int
    displacement: Float[np.ndarray, "matched 2"]
    objects: int
    predictions: int

    @property
    def count_accuracy(self) -> float:
        """Fraction of scenes whose count is right."""
        return self.correct / self.scenes

    @property
    def miss_rate(self) -> float:
        """Fraction of true objects without a matching prediction; 0 where there are no objects."""
        return (self.objects - len(self.displacement)) / max(self.objects, 1)

    @property
    def false_rate(self) -> float:
        """Fraction of predictions without a matching object; 0 where nothing is predicted."""
        return (self.predictions - len(self.displacement)) / max(self.predictions, 1)

    @property
    def location_error(self) -> float:
        """Mean distance of matched centres in pixels, after one constant offset for all is removed; NaN without any.

        What counts as the centre of a sprite is a convention that no image can tell, hence the offset.
        """
        if not len(self.displacement):
            return float("nan")
        return float(np.linalg.norm(self.displacement - self.displacement.mean(0), axis=1).mean())

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.correct + other.correct,
            self.scenes + other.scenes,
            np.concatenate([self.displacement, other.displacement]),
            self.objects + other.objects,
            self.predictions + other.predictions,
        )


def match_locations(
    predicted: Int[np.ndarray, "predicted 2"], true: Int[np.ndarray, "true 2"], radius: float = MATCH_RADIUS
) -> tuple[Int[np.ndarray, " matched"], Int[np.ndarray, " matched"]]:
    """One-to-one matching of least total distance (Hungarian), no pair farther apart than ``radius``.

    Returns:
        Indices into ``predicted`` and, in the same order, into ``true``.

    Example:
        >>> match_locations(np.array([[9, 9], [30, 30]]), np.array([[31, 30], [50, 9], [9, 10]]))
        (array([0, 1]), array([2, 0]))
    """
    distance = np.linalg.norm(predicted[:, None].astype(float) - true[None], axis=2)
    # Beyond the radius every distance costs the same, so a hopeless object cannot pull a good pair apart.
    rows, columns = linear_sum_assignment(np.where(distance <= radius, distance, 2 * radius))
    near = distance[rows, columns] <= radius
    return rows[near], columns[near]


def measure_agreement(model: LAVAE, dataset: SceneDataset, num_scenes: int | None = None) -> Agreement:
    """Encodes the first ``num_scenes`` scenes (None: all) and compares with the truth."""
    total = Agreement(0, 0, np.zeros((0, 2)), 0, 0)
    stop = len(dataset) if num_scenes is None else min(num_scenes, len(dataset))
    if stop < 1:
        raise ValueError(f"expected at least one scene to measure on, got {stop}")
    for start in range(0, stop, _BATCH):
        index = slice(start, min(start + _BATCH, stop))
        scenes, objects = dataset.scenes[index], model.encode(dataset[index])
        displacement = [np.zeros((0, 2))]
        for i in range(len(scenes)):
            found, true = objects.location[i, : objects.count[i]], scenes.location[i, : scenes.count[i]]
            rows, columns = match_locations(found, true, dataset.bank.size / 2)
            displacement.append(found[rows] - true[columns].astype(float))
        right = int((objects.count == scenes.count).sum())
        batch = len(scenes), np.concatenate(displacement), int(scenes.count.sum()), int(objects.count.sum())
        total = total + Agreement(right, *batch)
    return total


def evaluate(
    model: LAVAE | ConvVAE, world: Mapping[str, Any], num_scenes: int, num_samples: int, bound_scenes: int
) -> dict[str, float | None]:
    """All metrics of a model on a data set's test splits.

    Args:
        model: in evaluation mode.
        world: ``name`` and other keywords of ``load_dataset``.
        num_scenes: scenes of each test split to count and locate.
        num_samples: importance samples of the bound.
        bound_scenes: scenes of 0 to 3 objects to compute ELBO and bound on.

    Returns:
        ``count_accuracy_0_3``, ``count_accuracy_7``; over both splits ``location_error_px``, ``miss_rate``,
        ``false_rate`` (see ``Agreement``; the error is None where nothing matches), all of these of LAVAE alone;
        ``elbo`` (single sample) and ``log_likelihood_bound``, mean nats per frame, and ``entropy_floor``, the least
        that ``-log_likelihood_bound`` can be; ``seconds``.

    Raises:
        ImpossibleBoundError: the bound is better than the entropy of the scenes by more than chance.
    """
    start = time.perf_counter()
    few = load_dataset(split="test", **world)
    objects: dict[str, float | None] = {}
    if isinstance(model, LAVAE):
        objects = _objects(model, few, load_dataset(split="test-7", **world), num_scenes)
    bounds = measure_bounds(model, few, bound_scenes, num_samples)
    return {**objects, **bounds, "seconds": time.perf_counter() - start}


def _objects(model: LAVAE, few: SceneDataset, seven: SceneDataset, num_scenes: int) -> dict[str, float | None]:
    """What of ``evaluate`` is about objects."""
    found_few, found_seven = (measure_agreement(model, dataset, num_scenes) for dataset in (few, seven))
    both = found_few + found_seven
    return {
        "count_accuracy_0_3": found_few.count_accuracy,
        "count_accuracy_7": found_seven.count_accuracy,
        "location_error_px": both.location_error if len(both.displacement) else None,
        "miss_rate": both.miss_rate,
        "false_rate": both.false_rate,
    }
