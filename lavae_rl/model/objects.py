"""Objects: what ``LAVAE.encode`` returns and ``LAVAE.decode`` draws."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lavae_rl.model.posterior import Detections
from lavae_rl.model.shapes import AppearanceVectors, Presences

Array = Any
"""A NumPy array or a torch tensor; the shapes and dtypes below are checked for both."""


@dataclass(frozen=True)
class Objects:
    """The objects of a batch of frames in padded slots; all NumPy or all torch.

    As encoded, the surest object comes first; tracked objects stand in slots of their own.

    Attributes:
        count: (batch,) integers.
        location: (batch, slots, 2) integers, (row, column) of each centre in pixels.
        appearance: (batch, slots, latents) float32, posterior means.
        appearance_variance: (batch, slots, latents) float32, posterior variances.
        presence: (batch, slots) float32, probability above ``posterior.MIN_PRESENCE`` that an object is there.
        mask: (batch, slots) bool, True where a slot holds an object; everything else is 0 in unused slots.
        dropped: (batch,) integers, objects found beyond ``max_objects`` and left out.
        canvas_size: (height, width) in pixels of the frames they are in.
    """

    count: Int[Array, " batch"]
    location: Int[Array, "batch slots 2"]
    appearance: Float[Array, "batch slots latents"]
    appearance_variance: Float[Array, "batch slots latents"]
    presence: Float[Array, "batch slots"]
    mask: Bool[Array, "batch slots"]
    dropped: Int[Array, " batch"]
    canvas_size: tuple[int, int]

    @staticmethod
    def from_detections(
        found: Detections,
        presence: Presences,
        appearance: AppearanceVectors,
        appearance_variance: AppearanceVectors,
        canvas_size: tuple[int, int],
        max_objects: int | None = None,
    ) -> "Objects":
        """Spreads the ragged list of a batch over ``max_objects`` slots, or as many as the fullest frame needs."""
        batch, fullest = len(found.count), int(found.count.max()) if len(found.count) else 0
        slots = fullest if max_objects is None else max_objects
        kept = found.rank < slots
        where = (found.image_index[kept], found.rank[kept])

        def spread(values: Array) -> Array:
            padded = values.new_zeros(batch, slots, *values.shape[1:])
            padded[where] = values[kept]
            return padded

        count = found.count.clamp(max=slots)
        return Objects(
            count=count,
            location=spread(found.location),
            appearance=spread(appearance),
            appearance_variance=spread(appearance_variance),
            presence=spread(presence),
            mask=torch.arange(slots, device=count.device) < count[:, None],
            dropped=found.count - count,
            canvas_size=canvas_size,
        )

    def numpy(self) -> "Objects":
        """The same objects as NumPy arrays."""
        return self._map(lambda value: value if isinstance(value, np.ndarray) else value.cpu().numpy())

    def torch(self, device: torch.device) -> "Objects":
        """The same objects as tensors on ``device``."""
        return self._map(lambda value: torch.as_tensor(value, device=device))

    def __getitem__(self, frames: slice) -> "Objects":
        """The objects of some frames of the batch."""
        return self._map(lambda value: value[frames])

    def _map(self, convert: Callable[[Array], Array]) -> "Objects":
        names = [field.name for field in dataclasses.fields(self) if field.name != "canvas_size"]
        return dataclasses.replace(self, **{name: convert(getattr(self, name)) for name in names})
