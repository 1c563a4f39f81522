"""The one training loop: step, log, evaluate, checkpoint, resume."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.pretraining.state import Progress, Training
from lavae_rl.runs.folder import RunFolder

LOG_EVERY = 25
"""Steps between rows of metrics.csv."""


class TrainingDivergedError(RuntimeError):
    """Too many steps had a non-finite loss or gradient, or the weights are not finite."""

    def __init__(self, problem: str, folder: RunFolder) -> None:
        super().__init__(
            f"{problem}; the last good checkpoint is in {folder.path}. Resuming repeats the same steps: start anew "
            "with another --seed, or from Python with a Recipe of lower learning rates"
        )


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
    """Train from wherever ``training`` is to the end of its recipe. Of several processes, one measures and writes.

    Args:
        training: fresh, or with a loaded state.
        source: training frames; labels are never read.
        validation: frames to evaluate on.
        folder: takes metrics, checkpoints, weights and figures.
        facts: metadata of the run for ``config.json`` beside the weights.
        on_step: called after every step with the progress and the terms of the step.
        on_evaluation: called after every evaluation with the progress and what was measured.
        stop: called after every step; True ends the run early, with a checkpoint.

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
            found = f"{progress.skipped} steps up to step {progress.step} had a non-finite loss or gradient"
            raise TrainingDivergedError(f"{found} (allowed: {recipe.max_skipped_steps})", folder)
        on_step(progress, terms)
        stopped = training.agree(stop())
        due = progress.step % recipe.evaluate_every == 0 or progress.step == recipe.steps
        if not training.accelerator.is_main_process:  # one process measures and writes; the others wait for it
            continue
        measured = unmeasured
        if due:
            method.calibrate(training.average, source, last=progress.step == recipe.steps)
            validated = method.validate(training.average, validation, recipe, training.seed)
            measured = unmeasured | validated  # without truth, some stay unmeasured; all rows need the same columns
            picture = method.draw(training.average, validation[:8])
            folder.save_figure(f"reconstructions-{progress.step:06d}", picture)
            on_evaluation(progress, validated)
            progress.seconds = time.perf_counter() - started
        if due or progress.step % LOG_EVERY == 0:
            times = {"seconds": progress.seconds, "skipped_steps": float(progress.skipped)}
            folder.log(progress.step, times | terms | {f"validation_{k}": v for k, v in measured.items()})
        if due or stopped:
            if not training.is_finite():
                found = f"weights or batch-norm statistics are not finite at step {progress.step}"
                raise TrainingDivergedError(found, folder)
            training.average.save_pretrained(folder.path, facts)
            folder.save_checkpoint(training.state())
    return progress.step >= recipe.steps
