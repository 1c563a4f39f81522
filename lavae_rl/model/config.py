"""Configuration of a LAVAE: all that it takes to rebuild one, apart from its weights."""

import math
from dataclasses import dataclass

from lavae_rl.model.networks.families import FAMILIES
from lavae_rl.model.networks.prototypes import Layout

LARGEST = {"sprite_size": 255, "latents": 1_024, "max_objects": 1_024, "peak_window": 255, "presence_window": 255}
LARGEST |= {"background_states": 64, "background_directions": 64}
"""Largest values, far above sensible ones: beyond them, memory would end before an error says why."""
LARGEST_BACKGROUND = 2**26
"""Most pixels of all states of a background together."""


@dataclass(frozen=True)
class LAVAEConfig:
    """Configuration of a model. Raises ValueError on values out of range."""

    channels: int = 3
    """Image channels: 1 (grey) or 3 (RGB)."""
    sprite_size: int = 21
    """Side S of a decoded sprite and of the window its appearance is read from, in pixels; odd."""
    latents: int = 8
    """Number D of appearance latents per object."""
    max_objects: int = 3
    """N_max, the largest count in training and the last class of the learned prior p(n); inference has no limit."""
    networks: str = "fast"
    """Network family, a key of ``lavae_rl.model.networks.families.FAMILIES``."""
    scales: tuple[int, ...] = (1,)
    """Factors by which sprites and their windows are enlarged, ascending; others than 1 with networks "world" alone."""
    likelihood: str = "bernoulli"
    """"bernoulli" for binary frames, "normal" for any."""
    pixel_scale: float = 0.1
    """Standard deviation of the normal likelihood, of values in [0, 1]."""
    composition: str = "sum"
    """"sum", eq. (4), or "over": sprites with an alpha channel over a background (networks "world")."""
    background_states: int = 0
    """Most colours that a pixel of the background has; 0 is a black background, on canvases of every size."""
    background_directions: int = 0
    """Number of directions in which a background changes from frame to frame, in place of states."""
    canvas_size: tuple[int, int] | None = None
    """(height, width) in pixels of a background that is not black, and so of all frames."""
    peak_window: int = 5
    """A logit is a peak if it is the largest of so many pixels a side around it; odd."""
    presence_window: int = 1
    """The presence of an enlarged sprite is that of a centre within so many pixels a side; odd, at most peak_window.
    Always 1 but with networks "world"."""
    min_prominence: float = 0.0
    """A peak is an object only if the logits fall by this fraction of its height, in [0, 1), on every way from it to a
    higher one near by; see ``posterior.prominent``. Always 0 with networks "world"."""

    def __post_init__(self) -> None:
        for name in ("channels", *LARGEST):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise ValueError(f"expected {name} to be a whole number, got {value!r}")
            if value > LARGEST.get(name, 3):
                raise ValueError(f"expected {name} of at most {LARGEST.get(name, 3)}, got {value}")
        if self.channels not in (1, 3):
            raise ValueError(f"expected 1 or 3 channels, got {self.channels!r}")
        if self.sprite_size < 5 or self.sprite_size % 2 == 0:
            raise ValueError(f"expected an odd sprite_size of at least 5, got {self.sprite_size!r}")
        if self.latents < 1 or self.max_objects < 1:
            raise ValueError(f"expected latents and max_objects of at least 1, got {self.latents}, {self.max_objects}")
        if self.networks not in FAMILIES:
            raise ValueError(f"expected networks to be one of {sorted(FAMILIES)}, got {self.networks!r}")
        if self.networks == "prototypes":
            Layout.of(self.channels, self.latents)
        self._check_image_model()

    def _check_image_model(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))
        if not self.scales or list(self.scales) != sorted(set(self.scales)) or min(self.scales) < 1:
            raise ValueError(f"expected ascending scales of at least 1, got {self.scales!r}")
        if len(self.scales) > 16 or max(self.scales) > 64:
            raise ValueError(f"expected at most 16 scales of at most 64, got {self.scales!r}")
        if self.likelihood not in ("bernoulli", "normal") or not 0 < self.pixel_scale < math.inf:
            given = f"{self.likelihood!r} and {self.pixel_scale!r}"
            raise ValueError(f'expected likelihood "bernoulli" or "normal" and pixel_scale above 0, got {given}')
        world = self.networks == "world"
        if self.composition != ("over" if world else "sum") or (self.scales != (1,) and not world):
            given = f"{self.networks!r}, {self.composition!r} and {self.scales!r}"
            raise ValueError(
                f'expected composition "over" with networks "world", and "sum" and scale 1 with others, got {given}'
            )
        numbers = (self.background_states, self.background_directions)
        if min(numbers) != 0 or (max(numbers) > 0) != (self.canvas_size is not None):
            given = f"{numbers[0]!r}, {numbers[1]!r} and {self.canvas_size!r}"
            raise ValueError(
                f"expected a canvas_size just for a background with states or with directions, got {given}"
            )
        self._check_canvas(max(numbers))
        if self.peak_window < 1 or self.peak_window % 2 == 0:
            raise ValueError(f"expected an odd peak_window, got {self.peak_window!r}")
        pool = self.presence_window
        if not 1 <= pool <= self.peak_window or pool % 2 == 0 or (pool > 1 and not world):
            raise ValueError(
                f"expected an odd presence_window of at most peak_window ({self.peak_window}), and 1 but with networks "
                f'"world", got {pool} with {self.networks!r}'
            )
        if not 0 <= self.min_prominence < 1 or (world and self.min_prominence > 0):
            raise ValueError(
                f'expected min_prominence in [0, 1), and 0 with networks "world", got {self.min_prominence!r} '
                f"with {self.networks!r}"
            )

    def _check_canvas(self, states: int) -> None:
        if self.canvas_size is None:
            return
        sides = tuple(self.canvas_size)
        if len(sides) != 2 or min(sides) < 1 or math.prod(sides) * states > LARGEST_BACKGROUND:
            raise ValueError(
                f"expected a canvas_size (height, width) of at most {LARGEST_BACKGROUND:,} pixels in all states, "
                f"got {self.canvas_size!r} with {states}"
            )
