"""All metrics of a model on the test splits of a source."""

import math
import time
from typing import cast

import numpy as np
import torch

from lavae_rl.data.recordings import FrameSpec
from lavae_rl.data.sources import SceneSpec, open_source
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.evaluation.bounds import measure_bounds
from lavae_rl.evaluation.entropy import check_bound
from lavae_rl.evaluation.progress import OnFrames, ignore
from lavae_rl.evaluation.unlabelled import measure_findings
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE

_OF_OBJECTS = ("count_accuracy_0_3", "count_accuracy_7", "location_error_px", "miss_rate", "false_rate")

METRICS = (*_OF_OBJECTS, "elbo", "log_likelihood_bound", "entropy_floor", "seconds")
"""Metrics of ``evaluate``; the first five only of models that find objects."""


def evaluate_frames(
    model: LAVAE, spec: FrameSpec, num_frames: int, on_frames: OnFrames = ignore
) -> dict[str, float | None]:
    """Metrics of a model on the test split of a recording, without labels.

    Args:
        model: in evaluation mode.
        spec: the recording.
        num_frames: number of frames to read: once for the ELBO, once for the rest.
        on_frames: shows the progress.

    Returns:
        ``elbo`` (single sample, mean nats per frame), the numbers of ``unlabelled.Findings`` (``persistence`` is None
        where no frames follow each other), and ``seconds``.
    """
    start = time.perf_counter()
    source = open_source(spec, "test")
    index = np.linspace(0, len(source) - 1, min(num_frames, len(source))).round().astype(int)
    generator = torch.Generator(model.device).manual_seed(0)
    batches = np.array_split(index, -(-len(index) // 16))
    nats = []
    for batch in batches:
        nats.append(model.elbo(source[batch], generator))
        on_frames(len(batch))
    elbo = torch.cat(nats).mean().item()
    found = measure_findings(model, source, num_frames, on_frames=on_frames).summary()
    kept = {name: None if math.isnan(value) else value for name, value in found.items()}
    return {"elbo": elbo, **kept, "seconds": time.perf_counter() - start}


def evaluate(
    model: LAVAE | ConvVAE,
    spec: SceneSpec,
    num_scenes: int,
    num_samples: int,
    bound_scenes: int,
    on_frames: OnFrames = ignore,
) -> dict[str, float | None]:
    """All metrics of a model on the test splits of a data set.

    Args:
        model: in evaluation mode.
        spec: the data set.
        num_scenes: scenes of each test split to count and locate.
        num_samples: importance samples of the bound.
        bound_scenes: scenes of 0 to 3 objects to compute ELBO and bound on.
        on_frames: shows the progress.

    Returns:
        ``METRICS``: count accuracies of 0 to 3 and of 7 objects; over both splits the errors and rates of
        ``Agreement`` (the error is None where nothing matches); in mean nats per frame, ``elbo`` (single sample),
        ``log_likelihood_bound`` and ``entropy_floor``, the least that ``-log_likelihood_bound`` can be.

    Raises:
        ImpossibleBoundError: the bound is better than the entropy of the scenes by more than sampling noise.
    """
    start = time.perf_counter()
    few = open_source(spec, "test")
    objects: dict[str, float | None] = {}
    if model.finds_objects:
        lavae, splits = cast("LAVAE", model), (few, open_source(spec, "test-7"))
        found = [measure_agreement(lavae, scenes, num_scenes, on_frames) for scenes in splits]
        both = found[0] + found[1]
        error = both.location_error if len(both.displacement) else None
        values = (found[0].count_accuracy, found[1].count_accuracy, error, both.miss_rate, both.false_rate)
        objects = dict(zip(_OF_OBJECTS, values, strict=True))
    elbo, bound = measure_bounds(model, few, bound_scenes, num_samples, on_frames)
    bounds = {"elbo": elbo.mean().item(), "log_likelihood_bound": float(bound.numpy().mean())}
    floor = check_bound(few, bound.numpy())
    return {**objects, **bounds, "entropy_floor": floor, "seconds": time.perf_counter() - start}
