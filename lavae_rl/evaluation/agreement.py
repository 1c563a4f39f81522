"""Metrics with truth: counts and matched centres. Labels are used here and for the entropy bound only."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from lavae_rl.data.sources import SceneDataset
from lavae_rl.data.sprites import PATCH_SIZE
from lavae_rl.evaluation.progress import OnFrames, ignore
from lavae_rl.model.lavae import LAVAE

MATCH_RADIUS = PATCH_SIZE / 2
"""Farthest a predicted centre may be from the true one and still match it: half a patch, in pixels."""

_BATCH = 250


@dataclass(frozen=True)
class Agreement:
    """Agreement of a model's objects with the truth on labelled scenes."""

    correct: int
    """Number of scenes whose count is right."""
    scenes: int
    """Number of scenes."""
    displacement: Float[np.ndarray, "matched 2"]
    """Predicted minus true (row, column) of each matched object, in pixels."""
    objects: int
    """Number of true objects."""
    predictions: int
    """Number of predicted objects."""

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

        The offset is removed since no image shows which pixel of a sprite counts as its centre.
        """
        if not len(self.displacement):
            return float("nan")
        return float(np.linalg.norm(self.displacement - self.displacement.mean(0), axis=1).mean())

    def summary(self) -> dict[str, float]:
        """All metrics by name."""
        return {
            "count_accuracy": self.count_accuracy,
            "location_error_px": self.location_error,
            "miss_rate": self.miss_rate,
            "false_rate": self.false_rate,
        }

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
    """Match one to one with least total distance (Hungarian), no pair farther apart than ``radius`` pixels.

    Returns indices into ``predicted`` and, in the same order, into ``true``.

    >>> match_locations(np.array([[9, 9], [30, 30]]), np.array([[31, 30], [50, 9], [9, 10]]))
    (array([0, 1]), array([2, 0]))
    """
    distance = np.linalg.norm(predicted[:, None].astype(float) - true[None], axis=2)
    # Beyond the radius every distance costs the same, so a hopeless object cannot pull a good pair apart.
    rows, columns = linear_sum_assignment(np.where(distance <= radius, distance, 2 * radius))
    near = distance[rows, columns] <= radius
    return rows[near], columns[near]


def measure_agreement(
    model: LAVAE, dataset: SceneDataset, num_scenes: int | None = None, on_frames: OnFrames = ignore
) -> Agreement:
    """Encode the first ``num_scenes`` scenes (None: all) and compare them with the truth."""
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
        correct = int((objects.count == scenes.count).sum())
        sizes = int(scenes.count.sum()), int(objects.count.sum())
        total += Agreement(correct, len(scenes), np.concatenate(displacement), *sizes)
        on_frames(len(scenes))
    return total
