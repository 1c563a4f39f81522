"""The state of a training run, and one step of it; subclasses say what the loss is."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lavae_rl.datasets import SceneDataset
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.shapes import Frames
from lavae_rl.training.recipes import Recipe
from lavae_rl.training.run_folder import RunFolder

Model = TypeVar("Model", LAVAE, ConvVAE)
Settings = TypeVar("Settings", bound=Recipe)


@dataclass
class Progress:
    """Where a run is. ``seconds`` are spent training and evaluating, over all sessions of the run."""

    step: int = 0
    skipped: int = 0
    seconds: float = 0.0


class Training(ABC, Generic[Model, Settings]):
    """All state of a run: model, moving average, optimiser, progress.

    Every step draws its randomness from (seed, step) alone, so a resumed run needs no random state and repeats what
    an uninterrupted run would have done.

    Args:
        make_model: makes the untrained model, from PyTorch's global random state.
        recipe: settings.
        seed: of weights, batches and noise.
        device: where to train.
    """

    TERMS: ClassVar[tuple[str, ...]]
    """What every step measures."""
    VALIDATION: ClassVar[tuple[str, ...]]
    """What every evaluation measures, on the validation split."""
    PARTS: ClassVar[tuple[str, ...]] = ("model", "average", "optimizer")
    """What a checkpoint holds beside the progress."""
    OPTIMIZER: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam

    def __init__(self, make_model: Callable[[], Model], recipe: Settings, seed: int, device: torch.device) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make_model()
        self.model: Model = model.to(device)
        self.average: Model = copy.deepcopy(self.model).eval()
        self.generator = torch.Generator(device)
        groups = self._parameter_groups()
        self.rates = [rate for _, rate in groups]
        self.optimizer = self.OPTIMIZER([{"params": parameters} for parameters, _ in groups])
        self.progress = Progress()

    @abstractmethod
    def _parameter_groups(self) -> Sequence[tuple[list[nn.Parameter], float]]:
        """Parameters and their peak learning rates."""

    def _rate_factors(self) -> Sequence[float]:
        """What the peak rate of each group is multiplied by at this step."""
        return [self.recipe.rate_factor(self.progress.step)] * len(self.rates)

    @abstractmethod
    def _loss(self, frames: Frames) -> tuple[Tensor, dict[str, float]]:
        """The loss on a batch, and what of ``TERMS`` was measured."""

    @abstractmethod
    def validate(self, dataset: SceneDataset, validation: SceneDataset, folder: RunFolder) -> dict[str, float]:
        """Measures ``VALIDATION`` with the averaged weights, and draws reconstructions; labels are only read here."""

    @abstractmethod
    def evaluate(self, name: str, num_samples: int, mnist_dir: str | None) -> dict[str, float | None]:
        """Measures the averaged weights on the test splits of a data set."""

    def step(self, dataset: SceneDataset) -> dict[str, float]:
        """One step on a random batch; returns its ``TERMS``. A non-finite step changes no weight and is counted."""
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, self.progress.step])
        self.generator.manual_seed(int(rng.integers(2**62)))
        loss, terms = self._loss(dataset[rng.integers(len(dataset), size=recipe.batch_size)])
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.max_gradient_norm)
        if math.isfinite(loss.item()) and math.isfinite(norm.item()):
            self._update()
        else:
            self.progress.skipped += 1
        self.progress.step += 1
        empty = dict.fromkeys(self.TERMS, math.nan)
        return empty | {"loss": loss.item(), "gradient_norm": norm.item()} | terms

    def _update(self) -> None:
        for group, rate, factor in zip(self.optimizer.param_groups, self.rates, self._rate_factors(), strict=True):
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
        parts = {name: getattr(self, name).state_dict() for name in self.PARTS}
        return {"progress": vars(self.progress), **parts}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up a saved state.

        Raises:
            ValueError: it belongs to another model or recipe.
        """
        try:
            self.progress = Progress(**state["progress"])
            for part in self.PARTS:
                getattr(self, part).load_state_dict(state[part])
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"the checkpoint does not fit this run's model and recipe: {error}") from error
