"""The state of a training run, and one step of it; subclasses say what the loss is."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from lavae_rl.datasets import SceneDataset
from lavae_rl.evaluation.metrics import evaluate
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.shapes import Frames
from lavae_rl.training.recipes import Recipe
from lavae_rl.training.run_folder import RunFolder

ELBO_SCENES = 500
"""Validation scenes that every evaluation takes the ELBO of."""

Model = TypeVar("Model", LAVAE, ConvVAE)
Settings = TypeVar("Settings", bound=Recipe)
Network = TypeVar("Network", bound=nn.Module)


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

    With several processes each takes its own batch, and gradients are averaged: two processes do what one does with a
    batch of twice the size, but that noise differs, and that batch norms and the level of the auxiliary VAE's map see
    one batch each. What they measure is averaged too, so that all decide alike.

    Args:
        make_model: makes the untrained model, from PyTorch's global random state.
        recipe: settings.
        seed: of weights, batches and noise.
        accelerator: device, precision and processes; ``make_accelerator`` makes one.
    """

    TERMS: ClassVar[tuple[str, ...]]
    """What every step measures."""
    VALIDATION: ClassVar[tuple[str, ...]]
    """What every evaluation measures, on the validation split."""
    PARTS: ClassVar[tuple[str, ...]] = ("model", "average", "optimizer")
    """What a checkpoint holds beside the progress."""
    OPTIMIZER: ClassVar[Callable[..., torch.optim.Optimizer]] = torch.optim.Adam

    def __init__(self, make_model: Callable[[], Model], recipe: Settings, seed: int, accelerator: Accelerator) -> None:
        self.recipe, self.seed, self.accelerator = recipe, seed, accelerator
        self.device: torch.device = accelerator.device
        self.model: Model = make_seeded(make_model, seed).to(self.device)
        self.average: Model = copy.deepcopy(self.model).eval()
        self.generator = torch.Generator(self.device)
        groups = self._parameter_groups()
        self.rates = [rate for _, rate in groups]
        self.optimizer = self.OPTIMIZER([{"params": parameters} for parameters, _ in groups])
        self.progress = Progress()
        self._objective = accelerator.prepare_model(_Objective(self._networks(), self._loss))

    @abstractmethod
    def _parameter_groups(self) -> Sequence[tuple[list[nn.Parameter], float]]:
        """Parameters and their peak learning rates."""

    def _networks(self) -> list[nn.Module]:
        """What is trained."""
        return [self.model]

    def _rate_factors(self) -> Sequence[float]:
        """What the peak rate of each group is multiplied by at this step."""
        return [self.recipe.rate_factor(self.progress.step)] * len(self.rates)

    @abstractmethod
    def _loss(self, frames: Frames) -> tuple[Tensor, dict[str, float]]:
        """The loss on a batch, and what of ``TERMS`` was measured."""

    @abstractmethod
    def validate(self, dataset: SceneDataset, validation: SceneDataset, folder: RunFolder) -> dict[str, float]:
        """Measures ``VALIDATION`` with the averaged weights, and draws reconstructions; labels are only read here."""

    def evaluate(self, name: str, num_samples: int, mnist_dir: str | None) -> dict[str, float | None]:
        """Measures the averaged weights on the test splits of a data set; see ``evaluation.metrics.evaluate``."""
        recipe = self.recipe
        world = {"name": name, "mnist_dir": mnist_dir, **recipe.world}
        return evaluate(self.average, world, recipe.test_scenes, num_samples, recipe.bound_scenes)

    def compile(self, backend: str = "inductor") -> None:
        """Has ``torch.compile`` make the networks faster, at their first steps: the same but for rounding."""
        for network in self._networks():
            for part in network.children():
                part.compile(backend=backend)
                for layers in part.children():  # those of an appearance network are what relaxed locations read
                    layers.compile(backend=backend)

    def step(self, dataset: SceneDataset) -> dict[str, float]:
        """One step on a random batch; returns its ``TERMS``. A non-finite step changes no weight and is counted."""
        size, processes, rank = self.recipe.batch_size, self.accelerator.num_processes, self.accelerator.process_index
        rng = np.random.default_rng([self.seed, self.progress.step])
        self.generator.manual_seed(int(rng.integers(2**62)) + rank)
        batch = rng.integers(len(dataset), size=size * processes)[rank * size : (rank + 1) * size]
        loss, terms = self._objective(dataset[batch])
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._objective.parameters(), self.recipe.max_gradient_norm)
        measured = dict.fromkeys(self.TERMS, math.nan) | terms | {"loss": loss.item(), "gradient_norm": norm.item()}
        if processes > 1:
            values = torch.tensor(list(measured.values()), device=self.device)
            measured = dict(zip(measured, self.accelerator.reduce(values, "mean").tolist(), strict=True))
        if math.isfinite(measured["loss"]) and math.isfinite(measured["gradient_norm"]):
            self._update()
        else:
            self.progress.skipped += 1
        self.progress.step += 1
        return measured

    def agree(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.accelerator.num_processes == 1:
            return flag
        raised = torch.tensor(float(flag), device=self.device)
        return bool(self.accelerator.reduce(raised, "sum").item() > 0)

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


def make_seeded(make: Callable[[], Network], seed: int) -> Network:
    """A network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class _Objective(nn.Module):
    """The loss, as the module around which Accelerate puts mixed precision and gradient averaging."""

    def __init__(
        self, networks: Sequence[nn.Module], loss: Callable[[Frames], tuple[Tensor, dict[str, float]]]
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._loss = loss

    def forward(self, frames: Frames) -> tuple[Tensor, dict[str, float]]:
        return self._loss(frames)


def make_accelerator(cpu: bool = False, mixed_precision: str = "no") -> Accelerator:
    """Accelerate's view of this process: launched by ``accelerate launch`` or ``torchrun``, or alone.

    Args:
        cpu: keep off the GPUs.
        mixed_precision: "no", or "bf16" for networks in bfloat16; likelihoods stay in float32.
    """
    # Early steps leave networks out: nothing is dreamed, and nothing counted, before there is anything to count.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=cpu, mixed_precision=mixed_precision, kwargs_handlers=[unused])
