"""Objects: what ``LAVAE.encode`` returns and ``LAVAE.decode`` draws."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lavae_rl.model.posterior import Detections
from lavae_rl.model.shapes import AppearanceVectors

Array = Any
"""A NumPy array or a torch tensor; the shapes and dtypes below are checked for both."""


@dataclass(frozen=True)
class Objects:
    """The objects of a batch of frames in padded slots, the surest object first; all NumPy or all torch.

    Attributes:
        count: (batch,) integers.
        location: (batch, slots, 2) integers, (row, column) of each centre in pixels; 0 in unused slots.
        appearance: (batch, slots, latents) float32; 0 in unused slots.
        mask: (batch, slots) bool, True where a slot holds an object.
        canvas_size: (height, width) in pixels of the frames they are in.
    """

    count: Int[Array, " batch"]
    location: Int[Array, "batch slots 2"]
    appearance: Float[Array, "batch slots latents"]
    mask: Bool[Array, "batch slots"]
    canvas_size: tuple[int, int]

    @staticmethod
    def from_detections(found: Detections, appearance: AppearanceVectors, canvas_size: tuple[int, int]) -> "Objects":
        """Spreads the ragged list of a batch over padded slots."""
        batch, slots = len(found.count), int(found.count.max()) if len(found.count) else 0
        where = (found.image_index, found.rank)
        location = found.location.new_zeros(batch, slots, 2)
        location[where] = found.location
        padded = appearance.new_zeros(batch, slots, appearance.shape[1])
        padded[where] = appearance
        mask = torch.arange(slots, device=found.count.device) < found.count[:, None]
        return Objects(found.count, location, padded, mask, canvas_size)

    def numpy(self) -> "Objects":
        """The same objects as NumPy arrays."""
        return self._map(lambda value: value if isinstance(value, np.ndarray) else value.cpu().numpy())

    def torch(self, device: torch.device) -> "Objects":
        """The same objects as tensors on ``device``."""
        return self._map(lambda value: torch.as_tensor(value, device=device))

    def _map(self, convert: Callable[[Array], Array]) -> "Objects":
        count, location, appearance, mask = map(convert, (self.count, self.location, self.appearance, self.mask))
        return Objects(count, location, appearance, mask, self.canvas_size)
