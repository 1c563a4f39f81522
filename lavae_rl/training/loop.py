"""The one training loop: step, log, evaluate, checkpoint, resume."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lavae_rl.datasets import SceneDataset
from lavae_rl.evaluation.figures import reconstruction_figure
from lavae_rl.evaluation.metrics import measure_agreement
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import elbo_terms, kl_count, reconstruct
from lavae_rl.model.posterior import Detections, location_log_probs
from lavae_rl.model.shapes import Images, Sprites
from lavae_rl.training.dreams import SpriteMemory, centre_loss, cut_out, dream, location_loss, recentre, thicken
from lavae_rl.training.proposals import propose_by_surprise
from lavae_rl.training.recipes import Recipe
from lavae_rl.training.run_folder import RunFolder
from lavae_rl.training.sharpness import fit_sharpness

LOG_EVERY = 25
"""Steps between rows of metrics.csv."""

TERMS = ("loss", "log_likelihood", "kl_count", "kl_appearance", "dream_centre", "dream_location", "gradient_norm")
"""What every step measures, nats per frame but for the dreams (nats per dreamed object) and the norm."""

VALIDATION = ("count_accuracy", "location_error_px", "miss_rate", "false_rate", "elbo", "kl_location")
"""What every evaluation measures, on the validation split."""

_ELBO_SCENES = 500
_SHARPNESS_SCENES = 250


class TrainingDivergedError(RuntimeError):
    """Too many steps had a non-finite loss or gradient."""


@dataclass
class Progress:
    """Where a run is. ``seconds`` are spent training and evaluating, over all sessions of the run."""

    step: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Training:
    """All state of a run: model, moving average, optimiser, remembered sprites, progress.

    Every step draws its randomness from (seed, step) alone, so a resumed run needs no random state and repeats what
    an uninterrupted run would have done.
    """

    def __init__(self, config: LAVAEConfig, recipe: Recipe, seed: int, device: torch.device) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LAVAE(config)
        self.model = model.to(device)
        self.model.location_network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model).eval()
        self.memory = SpriteMemory(recipe.memory, config.channels, config.sprite_size).to(device)
        self.generator = torch.Generator(device)
        appearance = [*model.appearance_network.parameters(), *model.sprite_decoder.parameters()]
        location = [*model.location_network.parameters(), model.count_logits, model.log_sharpness]
        self.rates = (recipe.location_learning_rate, recipe.appearance_learning_rate)
        self.optimizer = torch.optim.Adam([{"params": location}, {"params": appearance}])
        self.progress = Progress()

    def step(self, dataset: SceneDataset) -> dict[str, float]:
        """One step on a random batch; returns its ``TERMS``. A non-finite step changes no weight and is counted."""
        recipe, step = self.recipe, self.progress.step
        rng = np.random.default_rng([self.seed, step])
        self.generator.manual_seed(int(rng.integers(2**62)))
        frames = dataset[rng.integers(len(dataset), size=recipe.batch_size)]
        images = self.model.images(frames).contiguous(memory_format=torch.channels_last)
        found = self._locate(images)
        self.model.train()
        loss, sprites, terms = self._wake(images, found)
        if step >= recipe.dreams_from_step:
            self.memory.write(recentre(thicken(cut_out(images, found, sprites.detach()), self.generator)))
            if len(self.memory):  # stays empty while all frames are
                dreaming, dream_terms = self._dream(frames.shape[1:3])
                loss, terms = loss + dreaming, terms | dream_terms
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.max_gradient_norm)
        if math.isfinite(loss.item()) and math.isfinite(norm.item()):
            self._update()
        else:
            self.progress.skipped += 1
        self.progress.step += 1
        empty = dict.fromkeys(TERMS, math.nan)
        return empty | {"loss": loss.item(), "gradient_norm": norm.item()} | terms

    def _locate(self, images: Images) -> Detections:
        most = self.model.config.max_objects
        if self.progress.step < self.recipe.locations_from_step:
            return propose_by_surprise(images, most, self.model.config.sprite_size)
        self.model.eval()
        found = self.model.detect(images).keep_first(most)
        # Out of inference mode, so that autograd may save them.
        return Detections(found.image_index.clone(), found.location.clone(), found.count.clone())

    def _wake(self, images: Images, found: Detections) -> tuple[Tensor, Sprites, dict[str, float]]:
        """The ELBO's terms for decoder, appearance network and count prior, at the locations found."""
        log_likelihood, kl, sprites = reconstruct(self.model, images, found, self.generator)
        counting = kl_count(self.model, found.count)
        loss = (self.recipe.kl_weight(self.progress.step) * kl + counting - log_likelihood).mean()
        terms = {"log_likelihood": log_likelihood, "kl_count": counting, "kl_appearance": kl}
        # Nats are large beside the dreams' losses and the clipped norm: a hundredth keeps all in one range.
        return loss / 100, sprites, {name: value.mean().item() for name, value in terms.items()}

    def _dream(self, canvas_size: tuple[int, int]) -> tuple[Tensor, dict[str, float]]:
        recipe = self.recipe
        images, centres = dream(self.memory, recipe.dreams, recipe.dream_objects, canvas_size, self.generator)
        logits = self.model.location_network(images.contiguous(memory_format=torch.channels_last))
        focal = centre_loss(logits, centres)
        location = location_loss(location_log_probs(logits, self.model.sharpness), centres)
        terms = {"dream_centre": focal.item(), "dream_location": location.item()}
        return focal + recipe.location_weight * location, terms

    def _update(self) -> None:
        factor = self.recipe.rate_factor(self.progress.step)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.step()
        # A young average follows closely, or it would remember the initial weights for hundreds of steps.
        step = self.progress.step + 1
        decay = min(self.recipe.average_decay, step / (step + 10))
        with torch.no_grad():
            current = self.model.state_dict()
            for name, value in self.average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(current[name], 1 - decay)
                else:
                    value.copy_(current[name])

    def is_finite(self) -> bool:
        """False once a weight or a batch-norm statistic is NaN or infinite: such a state is not worth keeping."""
        values = [*self.model.state_dict().values(), *self.average.state_dict().values()]
        return all(bool(torch.isfinite(value).all()) for value in values if value.is_floating_point())

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and numbers."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "average", "memory", "optimizer")}
        return {"progress": vars(self.progress), **parts}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up a saved state.

        Raises:
            ValueError: it belongs to another model or recipe.
        """
        try:
            self.progress = Progress(**state["progress"])
            for part in ("model", "average", "memory", "optimizer"):
                getattr(self, part).load_state_dict(state[part])
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"the checkpoint does not fit this run's model and recipe: {error}") from error


def train(
    training: Training,
    dataset: SceneDataset,
    validation: SceneDataset,
    folder: RunFolder,
    facts: Mapping[str, Any],
    on_step: Callable[[Progress, dict[str, float]], None],
    on_evaluation: Callable[[Progress, dict[str, float]], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Trains from wherever ``training`` is to the end of its recipe.

    Args:
        training: fresh, or with a loaded state.
        dataset: training scenes; their labels are never read.
        validation: labelled scenes to evaluate on.
        folder: takes metrics, checkpoints, weights and figures.
        facts: kept in ``config.json`` beside the weights.
        on_step: called after every step with the progress and the step's ``TERMS``.
        on_evaluation: called after every evaluation with the progress and ``VALIDATION``.
        stop: asked after every step; True ends the run early, with a checkpoint.

    Returns:
        True if the run is complete, False if it was stopped.

    Raises:
        TrainingDivergedError: more than ``max_skipped_steps`` steps were not finite. The last checkpoint is intact.
    """
    progress, recipe = training.progress, training.recipe
    unmeasured = dict.fromkeys(VALIDATION, math.nan)
    started = time.perf_counter() - progress.seconds
    stopped = False
    while progress.step < recipe.steps and not stopped:
        terms = training.step(dataset)
        progress.seconds = time.perf_counter() - started
        if progress.skipped > recipe.max_skipped_steps:
            raise TrainingDivergedError(
                f"{progress.skipped} steps up to step {progress.step} had a non-finite loss or gradient (allowed: "
                f"{recipe.max_skipped_steps}); the last good checkpoint is in {folder.path}. Resuming repeats the same "
                "steps: start anew with another --seed, or from Python with a Recipe of lower learning rates"
            )
        on_step(progress, terms)
        stopped = stop()
        due = progress.step % recipe.evaluate_every == 0 or progress.step == recipe.steps
        measured = unmeasured
        if due:
            average = training.average
            fit_sharpness(average, average.images(dataset[:_SHARPNESS_SCENES]), training.seed)
            measured = validate(training, validation, folder)
            on_evaluation(progress, measured)
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
            folder.save_model(training.average, facts)
            folder.save_checkpoint(training.state())
    return progress.step >= recipe.steps


def validate(training: Training, validation: SceneDataset, folder: RunFolder) -> dict[str, float]:
    """Measures ``VALIDATION`` with the averaged weights, and draws reconstructions."""
    model, step = training.average, training.progress.step
    found = measure_agreement(model, validation)
    generator = torch.Generator(training.device).manual_seed(training.seed)
    terms = elbo_terms(model, model.images(validation[:_ELBO_SCENES]), generator)
    picture = reconstruction_figure(model, validation[:8])
    folder.save_figure(f"reconstructions-{step:06d}", picture)
    return {
        "count_accuracy": found.count_accuracy,
        "location_error_px": found.location_error,
        "miss_rate": found.miss_rate,
        "false_rate": found.false_rate,
        "elbo": terms.elbo.mean().item(),
        "kl_location": terms.kl_location.mean().item(),
    }
