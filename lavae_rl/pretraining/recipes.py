"""Recipes: what is trained, how long and with what. A recipe is a frozen dataclass; presets are constants."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

_MAY_BE_ZERO = {"dreams_from_step", "locations_from_step", "max_skipped_steps", "map_weight", "joint_fraction"}
_MAY_BE_ZERO |= {"forced_at_first", "forced_at_last", "mirrored", "crowded_dreams"}
# What memory grows with in every step, and the largest value that is taken for meant.
_SIZES, _LARGEST = {"batch_size", "dreams", "dream_size", "dream_objects", "memory", "dreamed_sprites"}, 65_536


@dataclass(frozen=True)
class Recipe:
    """Settings that every training has. Raises ValueError on values out of range."""

    steps: int = 3_000
    """Optimiser steps."""
    batch_size: int = 64
    """Training scenes per step."""
    warmup_steps: int = 50
    """Steps in which the learning rates rise linearly to their peaks."""
    decay_fraction: float = 0.4
    decay_factor: float = 0.02
    """Last part of the run, in (0, 1], in which rates fall exponentially, and what fraction of the peaks is left."""
    kl_warmup_fraction: float = 1 / 15
    """First part of the run, in which the weight of the KL of continuous latents rises from 0 to 1; in (0, 1]."""
    average_decay: float = 0.99
    """Decay of the moving average of the weights, which is what is evaluated and saved."""
    max_gradient_norm: float = 10.0
    """Gradients are clipped to this norm."""
    max_skipped_steps: int = 20
    """Non-finite steps are skipped; more than this many end the run."""
    evaluate_every: int = 250
    """Steps between evaluations on the validation split, each with a checkpoint."""
    test_scenes: int = 10_000
    """Scenes of each test split that a finished LAVAE counts and locates."""
    bound_scenes: int = 500
    """Test scenes for ELBO and importance-weighted bound, which cost 100 decodings each."""
    validation_scenes: int = 2_000
    """Validation scenes of which every evaluation of a LAVAE counts and locates the objects."""
    elbo_scenes: int = 500
    """Validation frames of which every evaluation takes the ELBO."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            # Whole numbers count things, mostly at least one; other numbers are rates, norms and fractions.
            least = 0 if name in _MAY_BE_ZERO else 1
            if isinstance(value, int) and value < least:
                raise ValueError(f"expected {name} of at least {least}, got {value}")
            if name in _SIZES and value > _LARGEST:
                raise ValueError(f"expected {name} of at most {_LARGEST:,}, got {value:,}")
            if isinstance(value, float) and not 0 < value < math.inf and not (value == 0 == least):
                raise ValueError(f"expected {name} above 0, got {value}")
        if max(self.decay_fraction, self.kl_warmup_fraction) > 1 or self.average_decay >= 1:
            raise ValueError(f"expected fractions of at most 1 and average_decay below 1, got {self}")

    def rate_factor(self, step: int) -> float:
        """Factor of the peak learning rates at ``step`` (from 0)."""
        warmup = min(1.0, (step + 1) / self.warmup_steps)
        decayed = max(0.0, 1 - (self.steps - step) / (self.decay_fraction * self.steps))
        return float(warmup * self.decay_factor**decayed)

    def kl_weight(self, step: int) -> float:
        """Weight of the KL of continuous latents at ``step`` (from 0)."""
        return min(1.0, step / (self.kl_warmup_fraction * self.steps))


@dataclass(frozen=True)
class LAVAERecipe(Recipe):
    """Settings of wake-sleep training. Raises ValueError on values out of range."""

    location_learning_rate: float = 2e-3
    """Peak rate of Adam for the location network and the count prior."""
    appearance_learning_rate: float = 3e-3
    """Peak rate of Adam for the appearance network and the sprite decoder."""
    dreams_from_step: int = 100
    """First step with dreams: by then the decoder draws blobs that cut objects out well enough."""
    locations_from_step: int = 250
    """First step at which the location network, not surprise, says where the objects are."""
    dreams: int = 32
    """Dreamed scenes per step."""
    dream_objects: int = 12
    """Most objects in a dream; counts are uniform from 0."""
    crowded_dreams: float = 0.0
    """Fraction of the dreams, in [0, 1], whose sprites may touch and overlap."""
    memory: int = 1_024
    """Sprites that dreams are made of: the latest this many."""
    location_weight: float = 1.0
    """Weight of -log q(l | x) beside the focal loss."""
    sharpness_scenes: int = 250
    """Training frames whose ELBO chooses the sharpness at every evaluation."""
    sharpness_samples: int = 16
    """ELBOs of each of them at the end of the run and at the start of joint fine-tuning; one at other evaluations."""
    joint_fraction: float = 0.0
    """Last part of the run, in which q(l | x) follows the ELBO's own gradient and dreams teach counting alone."""
    prototypes_from_step: int = 400
    """Networks "prototypes": step at which remembered sprites are clustered."""
    corrections_fraction: float = 0.7
    """Networks "prototypes": last part of the run, in which edges are corrected and no sprites are dreamed."""
    dreamed_sprites: int = 64
    """Networks "prototypes": sprites dreamed per step, whose appearance is known."""
    dreamed_weight: float = 0.3
    """Networks "prototypes": weight of -log q(a) of a dreamed sprite beside the ELBO of a scene."""

    @property
    def corrections_from_step(self) -> int:
        """First step with corrected edges."""
        return round(self.steps * (1 - self.corrections_fraction))

    @property
    def joint_from_step(self) -> int:
        """First step of joint fine-tuning."""
        return round(self.steps * (1 - self.joint_fraction))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.joint_fraction >= 1 or self.crowded_dreams > 1:
            given = f"{self.joint_fraction} and {self.crowded_dreams}"
            raise ValueError(f"expected joint_fraction below 1 and crowded_dreams of at most 1, got {given}")


@dataclass(frozen=True)
class WorldRecipe(Recipe):
    """Settings of wake-sleep training on frames of an environment. Raises ValueError on values out of range."""

    location_learning_rate: float = 3e-3
    """Peak rate of Adam for the location network and the count prior."""
    appearance_learning_rate: float = 3e-3
    """Peak rate of Adam for the appearance network and the sprite decoder."""
    dreams_from_step: int = 10
    """First step whose objects are remembered for dreams; until then all are components."""
    dreams: int = 32
    """Dreamed scenes per step."""
    dream_size: int = 96
    """Largest side of a dream in pixels: a random part of a background."""
    dream_objects: int = 12
    """Most objects in a dream; counts are uniform from 0."""
    memory: int = 1_024
    """Cut-outs of each scale that dreams are made of: the latest this many."""
    location_weight: float = 0.1
    """Weight of -log q(l | x) beside the focal loss."""
    mirrored: float = 0.25
    """Share of the training images that are mirrored left to right."""
    alpha_cost: float = 0.3
    """Nats that a pixel of alpha costs: a sprite covers no more than it explains."""
    sharpness_scenes: int = 32
    """Training frames whose ELBO chooses the sharpness at every evaluation."""
    sharpness_samples: int = 4
    """ELBOs of each of them at the end of the run; one at other evaluations."""


@dataclass(frozen=True)
class PaperRecipe(Recipe):
    """Settings of the paper's training (appendix B), whose schedules all stretch with ``steps``.

    What is inherited is not the paper's: a warm-up of all rates over a fixed number of steps and of the KL, clipped
    gradients, averaged weights. ``decay_fraction`` and ``decay_factor`` are for all but the location network, whose own
    decay spans the whole run. Raises ValueError on values out of range.
    """

    location_learning_rate: float = 5e-4
    location_decay_factor: float = 0.01
    """Rate of Adamax for the location network, and what fraction of it an exponential decay leaves at the end."""
    learning_rate: float = 1e-3
    """Rate of Adamax for all else."""
    first_temperature: float = 0.5
    last_temperature: float = 0.02
    """Temperature of the Gumbel-softmax at the first step and at the end of the run; exponential in between."""
    warm_fraction: float = 0.3
    """First part of the run, in which the information map counts fully and the number of objects is forced most."""
    cooling_fraction: float = 0.3
    """Part of the run after that, in which both fall linearly."""
    map_weight: float = 1.0
    """Weight of the squared distance to the information map at first; 0 does without the auxiliary VAE."""
    forced_at_first: float = 1.0
    forced_at_last: float = 0.1
    """Probability that the number of objects is forced to N_max, at first and at last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if max(self.warm_fraction + self.cooling_fraction, self.forced_at_first, self.forced_at_last) > 1:
            raise ValueError(f"expected fractions and probabilities of at most 1, got {self}")

    def temperature(self, step: int) -> float:
        """Temperature of the Gumbel-softmax at ``step`` (from 0)."""
        return float(self.first_temperature * (self.last_temperature / self.first_temperature) ** (step / self.steps))

    def map_weight_at(self, step: int) -> float:
        """Weight of the distance to the information map at ``step`` (from 0)."""
        return self.map_weight * self._warmth(step)

    def forced_at(self, step: int) -> float:
        """Probability that the number of objects is forced at ``step`` (from 0)."""
        return self.forced_at_last + (self.forced_at_first - self.forced_at_last) * self._warmth(step)

    def location_rate_factor(self, step: int) -> float:
        """Factor of the location network's learning rate at ``step`` (from 0)."""
        return float(min(1.0, (step + 1) / self.warmup_steps) * self.location_decay_factor ** (step / self.steps))

    def _warmth(self, step: int) -> float:
        """1 in the first part of the run, falling to 0 in the part after it."""
        return min(1.0, max(0.0, 1 - (step / self.steps - self.warm_fraction) / self.cooling_fraction))


@dataclass(frozen=True)
class BaselineRecipe(Recipe):
    """Settings of a training of the baseline. Raises ValueError on values out of range."""

    learning_rate: float = 1e-3
    """Peak rate of Adam."""


class Preset(NamedTuple):
    """A recipe, and what it was made for."""

    method: str
    """Key of ``lavae_rl.pretraining.run.METHODS``; "world" is for frames of environments."""
    recipe: LAVAERecipe | WorldRecipe | PaperRecipe | BaselineRecipe
    model: Mapping[str, Any] = {}
    """Fields of the model's configuration; channels and N_max are those of the data."""
    data: Mapping[str, Any] = {}
    """Fields of ``SceneSpec``."""
    digits: Mapping[str, Any] = {}
    """Fields of the recipe that are others for digits."""


DIGITS = ("multi-mnist-1k", "multi-mnist-10k")
DIGIT_LATENTS = 16
"""Appearance latents of a LAVAE for the data sets of digits (ours)."""

_PLAIN = LAVAERecipe()
FAST = replace(_PLAIN, crowded_dreams=0.5)
"""Minutes on two CPU cores. Strokes of digits that cross cost more nats than overlapping dreams gain."""
LONG = replace(_PLAIN, steps=20_000, kl_warmup_fraction=0.01, evaluate_every=1_000)
"""The fast recipe for half an hour: the same counts, sharper sprites, tidier latents."""
PROTOTYPES = {"networks": "prototypes", "latents": 11}
"""Separate latents for shape, turn, scale and colour, with room for six shapes of sprites of three channels."""
JOINT = replace(_PLAIN, steps=4_000, kl_warmup_fraction=0.05, joint_fraction=0.25)
"""The fast recipe and a last phase of joint fine-tuning."""

_SMOKE_SIZES = {"steps": 20, "batch_size": 8, "evaluate_every": 10, "test_scenes": 50, "bound_scenes": 5}
_SMOKE_SIZES |= {"validation_scenes": 50, "elbo_scenes": 20}
_SMOKE_DREAMS = {"dreams": 4, "dreams_from_step": 5, "locations_from_step": 10}
_SMOKE_DREAMS |= {"sharpness_scenes": 20, "sharpness_samples": 2}
SMOKE = LAVAERecipe(**_SMOKE_SIZES, **_SMOKE_DREAMS, joint_fraction=0.25)
"""Seconds: every code path, no learning. For tests and for trying out an installation."""

WORLD = WorldRecipe(steps=1_000, batch_size=16, dreams=24, evaluate_every=200, decay_fraction=0.5, elbo_scenes=100)
"""Minutes on two CPU cores, for frames of an environment."""
WORLD_SMOKE = replace(WORLD, steps=20, batch_size=4, evaluate_every=6, elbo_scenes=8, dreams_from_step=4, dream_size=48)
"""Seconds: every code path, no learning."""

PAPER = PaperRecipe(steps=100_000, kl_warmup_fraction=0.02, evaluate_every=1_000)
"""The paper's own training, for a GPU.

The ELBO leaves shoulders beside the peak of a sprite, where dreams leave none. The fractions of ``min_prominence``,
here and below, were chosen on validation scenes, with one model each."""
_PAPER = {"networks": "paper", "min_prominence": 0.65}

_SMALL_RUN = {"steps": 1_200, "evaluate_every": 200, "test_scenes": 2_000, "bound_scenes": 250}
_SMALL: dict[str, Mapping[str, Any]] = {
    "model": {"networks": "paper-small", "sprite_size": 13, "min_prominence": 0.14},
    "data": {"canvas_size": 24, "patch_size": 10, "max_objects": 2},
}
PAPER_SMALL = PaperRecipe(**_SMALL_RUN, location_learning_rate=2e-3, learning_rate=3e-3, kl_warmup_fraction=0.05)
"""The same mechanisms on small canvases with narrow networks: minutes on a CPU. Of shapes: such small digits vanish."""
PAPER_SMOKE = replace(PAPER_SMALL, **_SMOKE_SIZES)
_NO_FORCING: dict[str, Any] = {"forced_at_first": 0.0, "forced_at_last": 0.0}
DREAMS_SMALL = LAVAERecipe(**_SMALL_RUN, kl_warmup_fraction=1 / 6, dream_objects=4)
"""For comparison: the same networks and scenes, trained as the fast recipe does."""

BASELINE = BaselineRecipe(kl_warmup_fraction=1 / 3)
"""The paper anneals the KL over 100k steps; here over a third of the run."""
BASELINE_LONG = replace(BASELINE, steps=10_000, evaluate_every=1_000)
"""The baseline with patience: it is still learning after the steps of LAVAE's fast recipe."""
BASELINE_SMOKE = BaselineRecipe(**_SMOKE_SIZES)

PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "lavae": {
        "fast": Preset("wake-sleep", FAST, digits={"crowded_dreams": 0.0}),
        "long": Preset("wake-sleep", LONG),
        "joint": Preset("wake-sleep", JOINT),
        "prototypes": Preset("wake-sleep", LONG, PROTOTYPES),
        "world": Preset("world", WORLD),
        "world-smoke": Preset("world", WORLD_SMOKE),
        "paper": Preset("paper", PAPER, _PAPER, digits={"location_learning_rate": 1e-4}),
        "paper-small": Preset("paper", PAPER_SMALL, **_SMALL),
        "paper-small-no-map": Preset("paper", replace(PAPER_SMALL, map_weight=0.0), **_SMALL),
        "paper-small-no-forcing": Preset("paper", replace(PAPER_SMALL, **_NO_FORCING), **_SMALL),
        "paper-small-dreams": Preset("wake-sleep", DREAMS_SMALL, **_SMALL),
        "smoke": Preset("wake-sleep", SMOKE),
        "paper-smoke": Preset("paper", PAPER_SMOKE, **_SMALL),
    },
    "baseline": {
        "fast": Preset("vae", BASELINE),
        "long": Preset("vae", BASELINE_LONG),
        "smoke": Preset("vae", BASELINE_SMOKE),
    },
}
"""Presets by model and name: what ``--model`` and ``--recipe`` take."""
