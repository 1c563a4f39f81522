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
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lavae_rl.data.sources import SceneDataset
from lavae_rl.evaluation.agreement import evaluate
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.recipes import Recipe
from lavae_rl.runs.folder import RunFolder
from lavae_rl.shapes import Frames

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
    FIXED_SHAPES: ClassVar[bool] = True
    """Whether networks see the same shapes in every step."""
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
    def _loss(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss on a batch, and what of ``TERMS`` was measured, as scalars on the device."""

    @abstractmethod
    def validate(self, dataset: SceneDataset, validation: SceneDataset, folder: RunFolder) -> dict[str, float]:
        """Measures ``VALIDATION`` with the averaged weights, and draws reconstructions; labels are only read here."""

    def evaluate(self, name: str, num_samples: int, mnist_dir: str | None) -> dict[str, float | None]:
        """Measures the averaged weights on the test splits of a data set; see ``evaluation.metrics.evaluate``."""
        recipe = self.recipe
        world = {"name": name, "mnist_dir": mnist_dir, **recipe.world}
        return evaluate(self.average, world, recipe.test_scenes, num_samples, recipe.bound_scenes)

    def compile(self, backend: str = "inductor") -> None:
        """Has ``torch.compile`` make the networks faster, at their first steps: the same but for rounding.

        On a GPU it is asked for CUDA graphs, too, where shapes allow them: launching so many small kernels takes
        longer than running them.
        """
        mode = "reduce-overhead" if self.FIXED_SHAPES and self.device.type == "cuda" else None
        for network in self._networks():
            for part in network.children():
                part.compile(backend=backend, mode=mode)
                for layers in part.children():  # those of an appearance network are what relaxed locations read
                    layers.compile(backend=backend, mode=mode)

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
        measured = self._read(terms | {"loss": loss, "gradient_norm": norm})
        if math.isfinite(measured["loss"]) and math.isfinite(measured["gradient_norm"]):
            self._update()
        else:
            self.progress.skipped += 1
        self.progress.step += 1
        return measured

    def _read(self, terms: Mapping[str, Tensor]) -> dict[str, float]:
        """What a step measured, averaged over the processes; all at once, for each reading waits for the device."""
        several, missing = self.accelerator.num_processes > 1, torch.tensor(math.nan)
        names = self.TERMS if several else tuple(terms)  # not all processes need to have measured the same
        values = torch.stack([terms.get(name, missing).detach().to(self.device, torch.float32) for name in names])
        values = self.accelerator.reduce(values, "mean") if several else values
        return dict.fromkeys(self.TERMS, math.nan) | dict(zip(names, values.tolist(), strict=True))

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
        averaged, current = self.average.state_dict(), self.model.state_dict()
        floats = [name for name, value in averaged.items() if value.is_floating_point()]
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        follow([averaged[name] for name in floats], [current[name] for name in floats], None)
        for name in averaged.keys() - set(floats):
            averaged[name].copy_(current[name])

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
        self, networks: Sequence[nn.Module], loss: Callable[[Frames], tuple[Tensor, dict[str, Tensor]]]
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._loss = loss

    def forward(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        loss, terms = self._loss(frames)
        return loss, {name: value.detach() for name, value in terms.items()}  # only the loss has a gradient to average


def make_accelerator(cpu: bool = False, mixed_precision: str = "no") -> Accelerator:
    """Accelerate's view of this process: launched by ``accelerate launch`` or ``torchrun``, or alone.

    Args:
        cpu: keep off the GPUs.
        mixed_precision: "no", or "bf16" for networks in bfloat16; likelihoods stay in float32.
    """
    # Early steps leave networks out: nothing is dreamed, and nothing counted, before there is anything to count.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=cpu, mixed_precision=mixed_precision, kwargs_handlers=[unused])
