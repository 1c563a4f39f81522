"""The state of a pretraining run, and one step of it; a ``Method`` says what the loss is."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.evaluation.figures import reconstruction_figure
from lavae_rl.pretraining.recipes import Recipe
from lavae_rl.runs.folder import CHECKPOINT_FILE
from lavae_rl.runs.reading import shortened
from lavae_rl.runs.weights import check_optimizer, check_weights
from lavae_rl.shapes import Frames, Picture

Network = TypeVar("Network", bound=nn.Module)
Loss = tuple[Tensor, dict[str, Tensor]]
"""Loss and measured ``terms``, as scalars on the device."""
ParameterGroup = tuple[Sequence[nn.Parameter], float, Callable[[int], float]]
"""Parameters, their peak learning rate, and what it is multiplied by at each step (from 0)."""


@runtime_checkable
class Method(Protocol):
    """A training method: what ``Training`` needs besides the recipe."""

    model: Any
    """Trained, averaged and saved."""
    modules: Mapping[str, nn.Module]
    """All that a checkpoint holds, by name; those with parameters are trained."""
    parameter_groups: Sequence[ParameterGroup]
    optimizer: Callable[..., torch.optim.Optimizer]
    fixed_shapes: bool
    """True if networks read the same shapes in every step."""
    terms: Sequence[str]
    """Names of what a step measures."""
    validation: Sequence[str]
    """Names of what ``validate`` measures."""
    validate: Callable[[Any, FrameSource, Any, int], dict[str, float]]
    """Measure a model on frames, given recipe and seed, without changing it."""
    draw: Callable[[Any, Frames], Picture] = staticmethod(reconstruction_figure)
    """Draw what a model makes of frames."""

    def loss(self, frames: Frames, step: int, generator: torch.Generator) -> Loss:
        """The loss on a batch at a step (from 0)."""

    def calibrate(self, average: Any, source: FrameSource, last: bool) -> None:
        """Fit what no gradient reaches in the averaged model, on training frames; ``last`` at the end of the run."""
        return  # most methods leave nothing to fit


@dataclass
class Progress:
    """Progress of a run. ``seconds`` are spent training and evaluating, over all sessions of the run."""

    step: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def check(self, steps: int) -> None:
        """Refuse, with a ValueError, what no run of so many steps can have reached."""
        whole = type(self.step) is type(self.skipped) is int and 0 <= self.skipped <= self.step <= steps
        if not whole or not isinstance(self.seconds, float) or not 0 <= self.seconds < math.inf:
            raise ValueError(f"expected the progress of a run of {steps} steps, got {self}")


class Training:
    """All state of a run: model, moving average, optimiser, progress.

    Every step draws its randomness from (seed, step) alone, so a resumed run needs no random state and repeats what
    an uninterrupted run would have done.

    With several processes each takes its own batch, and gradients are averaged: two processes do what one does with a
    batch of twice the size, but that noise differs, and that batch norms and the level of the auxiliary VAE's map see
    one batch each. What they measure is averaged too, so that all decide alike.
    """

    def __init__(self, method: Method, recipe: Recipe, seed: int, accelerator: Accelerator) -> None:
        self.method, self.recipe, self.seed, self.accelerator = method, recipe, seed, accelerator
        self.device: torch.device = accelerator.device
        self.average: Any = copy.deepcopy(method.model).eval()
        self.generator = torch.Generator(self.device)
        self.optimizer = method.optimizer([{"params": list(group)} for group, *_ in method.parameter_groups])
        self.progress = Progress()
        self._networks = [module for module in method.modules.values() if list(module.parameters())]
        self._parts = {**method.modules, "average": self.average, "optimizer": self.optimizer}
        self._objective = accelerator.prepare_model(_Objective(self._networks, method.loss))

    def compile(self, backend: str = "inductor") -> None:
        """Let ``torch.compile`` make the networks faster, at their first steps; results differ by rounding only.

        On a GPU it is asked for CUDA graphs, too, where shapes allow them: launching so many small kernels takes
        longer than running them.
        """
        mode = "reduce-overhead" if self.method.fixed_shapes and self.device.type == "cuda" else None
        for network in self._networks:
            for part in network.children():
                part.compile(backend=backend, mode=mode)
                for layers in part.children():  # those of an appearance network are what relaxed locations read
                    layers.compile(backend=backend, mode=mode)

    def step(self, source: FrameSource) -> dict[str, float]:
        """One step on a random batch; returns its terms. A non-finite step changes no weight and is counted."""
        size, processes, rank = self.recipe.batch_size, self.accelerator.num_processes, self.accelerator.process_index
        rng = np.random.default_rng([self.seed, self.progress.step])
        self.generator.manual_seed(int(rng.integers(2**62)) + rank)
        batch = rng.integers(len(source), size=size * processes)[rank * size : (rank + 1) * size]
        loss, terms = self._objective(source[batch], self.progress.step, self.generator)
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
        """Measurements of a step, averaged over the processes; all at once, for each reading waits for the device."""
        # Not all processes need to have measured the same.
        names = self.method.terms if self.accelerator.num_processes > 1 else tuple(terms)
        missing = torch.tensor(math.nan)
        values = torch.stack([terms.get(name, missing).detach().to(self.device, torch.float32) for name in names])
        measured = zip(names, self.accelerator.reduce(values, "mean").tolist(), strict=True)
        return dict.fromkeys(self.method.terms, math.nan) | dict(measured)

    def check_agreement(self) -> None:
        """Refuse, with a ValueError, to go on where the processes hold other weights than the first."""
        weights = sum(value.double().sum() for value in self.average.state_dict().values())
        mine = torch.stack([torch.tensor(float(self.progress.step), device=self.device), weights.float()])
        states = self.accelerator.gather(mine).view(-1, 2).tolist()
        if any(state != states[0] for state in states):
            steps = ", ".join(f"{step:.0f}" for step, _ in states)
            raise ValueError(
                f"expected one checkpoint for all processes, got several, of steps {steps}: --out has to be a folder "
                "that all machines share"
            )

    def agree(self, flag: bool) -> bool:
        """Return whether the flag is up in any process."""
        raised = torch.tensor(float(flag), device=self.device)
        return bool(self.accelerator.reduce(raised, "sum").item() > 0)

    def _update(self) -> None:
        for group, (_, peak, factor) in zip(self.optimizer.param_groups, self.method.parameter_groups, strict=True):
            group["lr"] = peak * factor(self.progress.step)
        self.optimizer.step()
        # A young average follows closely, or it would remember the initial weights for hundreds of steps.
        step = self.progress.step + 1
        decay = min(self.recipe.average_decay, step / (step + 10))
        averaged, current = self.average.state_dict(), self.method.model.state_dict()
        floats = [name for name, value in averaged.items() if value.is_floating_point()]
        follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        follow([averaged[name] for name in floats], [current[name] for name in floats], None)
        for name in averaged.keys() - set(floats):
            averaged[name].copy_(current[name])

    def is_finite(self) -> bool:
        """False once a weight or a batch-norm statistic is NaN or infinite: such a state is not worth keeping."""
        values = [*self.method.model.state_dict().values(), *self.average.state_dict().values()]
        return all(bool(torch.isfinite(value).all()) for value in values if value.is_floating_point())

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs, as tensors and numbers."""
        return {"progress": vars(self.progress), **{name: part.state_dict() for name, part in self._parts.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Load a saved state. Raises ValueError if it belongs to another model or recipe, or is damaged."""
        try:
            progress = Progress(**state["progress"])
            progress.check(self.recipe.steps)
            for name, part in self._parts.items():
                check = check_optimizer if part is self.optimizer else check_weights
                check(state[name], part, name)
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
        except (KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{CHECKPOINT_FILE} does not fit this run's model and recipe: {shortened(error)}"
            ) from error
        self.progress = progress


def make_seeded(make: Callable[[], Network], seed: int) -> Network:
    """A network whose initial weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


class _Objective(nn.Module):
    """The loss, as the module around which Accelerate puts mixed precision and gradient averaging."""

    def __init__(self, networks: Sequence[nn.Module], loss: Callable[[Frames, int, torch.Generator], Loss]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._loss = loss

    def forward(self, frames: Frames, step: int, generator: torch.Generator) -> Loss:
        loss, terms = self._loss(frames, step, generator)
        return loss, {name: value.detach() for name, value in terms.items()}  # only the loss has a gradient to average


def make_accelerator(cpu: bool = False, mixed_precision: str = "no") -> Accelerator:
    """Accelerate's view of this process: launched by ``accelerate launch`` or ``torchrun``, or alone.

    ``mixed_precision`` is "no", or "bf16" for networks in bfloat16; likelihoods stay in float32.
    """
    # Early steps leave networks out: nothing is dreamed, and nothing counted, before there is anything to count.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    # The others wait while the first evaluates.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=2))
    return Accelerator(cpu=cpu, mixed_precision=mixed_precision, kwargs_handlers=[unused, patience])
