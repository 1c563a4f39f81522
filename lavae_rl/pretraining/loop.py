"""The one training loop: step, log, evaluate, checkpoint, resume."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from lavae_rl.data.sources import FrameSource
from lavae_rl.evaluation.figures import reconstruction_figure
from lavae_rl.pretraining.state import Progress, Training
from lavae_rl.runs.folder import RunFolder

LOG_EVERY = 25
"""Steps between rows of metrics.csv."""

_SHOWN = 8
"""Validation frames in the picture of each evaluation."""


class TrainingDivergedError(RuntimeError):
    """Too many steps had a non-finite loss or gradient."""


def train(
    training: Training,
    source: FrameSource,
    validation: FrameSource,
    folder: RunFolder,
    facts: Mapping[str, Any],
    on_step: Callable[[Progress, dict[str, float]], None],
    on_evaluation: Callable[[Progress, dict[str, float]], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains from wherever ``training`` is to the end of its recipe.

    Args:
        training: fresh, or with a loaded state.
        source: training frames; labels are never read.
        validation: frames to evaluate on.
        folder: takes metrics, checkpoints, weights and figures.
        facts: kept in ``config.json`` beside the weights.
        on_step: called after every step with the progress and the terms of the step.
        on_evaluation: called after every evaluation with the progress and what was measured.
        stop: asked after every step; True ends the run early, with a checkpoint.

    Of several processes, one measures and writes.

    Returns:
        True if the run is complete, False if it was stopped.

    Raises:
        TrainingDivergedError: more than ``max_skipped_steps`` steps were not finite. The last checkpoint is intact.
    """
    progress, recipe, method = training.progress, training.recipe, training.method
    unmeasured = dict.fromkeys(method.validation, math.nan)
    started = time.perf_counter() - progress.seconds
    stopped = False
    while progress.step < recipe.steps and not stopped:
        terms = training.step(source)
        progress.seconds = time.perf_counter() - started
        if progress.skipped > recipe.max_skipped_steps:
            raise TrainingDivergedError(
                f"{progress.skipped} steps up to step {progress.step} had a non-finite loss or gradient (allowed: "
                f"{recipe.max_skipped_steps}); the last good checkpoint is in {folder.path}. Resuming repeats the same "
                "steps: start anew with another --seed, or from Python with a Recipe of lower learning rates"
            )
        on_step(progress, terms)
        stopped = training.agree(stop())
        due = progress.step % recipe.evaluate_every == 0 or progress.step == recipe.steps
        if not training.accelerator.is_main_process:  # one process measures and writes; the others wait for it
            continue
        measured = unmeasured
        if due:
            method.calibrate(training.average, source, last=progress.step == recipe.steps)
            found = method.validate(training.average, validation, recipe, training.seed)
            measured = unmeasured | found  # without truth, some stay unmeasured, and all rows need the same columns
            picture = reconstruction_figure(training.average, validation[:_SHOWN])
            folder.save_figure(f"reconstructions-{progress.step:06d}", picture)
            on_evaluation(progress, found)
            progress.seconds = time.perf_counter() - started
        if due or progress.step % LOG_EVERY == 0:
            times = {"seconds": progress.seconds, "skipped_steps": float(progress.skipped)}
            folder.log(progress.step, times | terms | {f"validation_{k}": v for k, v in measured.items()})
        if due or stopped:
            if not training.is_finite():
                raise TrainingDivergedError(
                    f"weights or batch-norm statistics are not finite at step {progress.step}; the last good "
                    f"checkpoint is in {folder.path}. Resuming repeats the same steps: start anew with another --seed"
                )
            training.average.save_pretrained(folder.path, facts)
            folder.save_checkpoint(training.state())
    return progress.step >= recipe.steps
