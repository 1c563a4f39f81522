"""All metrics of a model on the test splits of a source."""

import time
from typing import cast

from lavae_rl.data.sources import SceneSpec, open_source
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.evaluation.bounds import measure_bounds
from lavae_rl.evaluation.entropy import check_bound
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE

_OF_OBJECTS = ("count_accuracy_0_3", "count_accuracy_7", "location_error_px", "miss_rate", "false_rate")

METRICS = (*_OF_OBJECTS, "elbo", "log_likelihood_bound", "entropy_floor", "seconds")
"""Metrics of ``evaluate``; the first five only of models that find objects."""


def evaluate(
    model: LAVAE | ConvVAE, spec: SceneSpec, num_scenes: int, num_samples: int, bound_scenes: int
) -> dict[str, float | None]:
    """All metrics of a model on the test splits of a data set.

    Args:
        model: in evaluation mode.
        spec: the data set.
        num_scenes: scenes of each test split to count and locate.
        num_samples: importance samples of the bound.
        bound_scenes: scenes of 0 to 3 objects to compute ELBO and bound on.

    Returns:
        ``METRICS``: count accuracies of 0 to 3 and of 7 objects; over both splits the errors and rates of
        ``Agreement`` (the error is None where nothing matches); in mean nats per frame, ``elbo`` (single sample),
        ``log_likelihood_bound`` and ``entropy_floor``, the least that ``-log_likelihood_bound`` can be.

    Raises:
        ImpossibleBoundError: the bound is better than the entropy of the scenes by more than chance.
    """
    start = time.perf_counter()
    few = open_source(spec, "test")
    objects: dict[str, float | None] = {}
    if model.finds_objects:
        lavae, splits = cast("LAVAE", model), (few, open_source(spec, "test-7"))
        found = [measure_agreement(lavae, scenes, num_scenes) for scenes in splits]
        both = found[0] + found[1]
        error = both.location_error if len(both.displacement) else None
        values = (found[0].count_accuracy, found[1].count_accuracy, error, both.miss_rate, both.false_rate)
        objects = dict(zip(_OF_OBJECTS, values, strict=True))
    elbo, bound = measure_bounds(model, few, bound_scenes, num_samples)
    bounds = {"elbo": elbo.mean().item(), "log_likelihood_bound": float(bound.numpy().mean())}
    floor = check_bound(few, bound.numpy())
    return {**objects, **bounds, "entropy_floor": floor, "seconds": time.perf_counter() - start}
