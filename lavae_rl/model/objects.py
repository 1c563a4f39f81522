"""The objects of a batch: ragged as they are found (``Detections``), padded as they are handed out (``Objects``)."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lavae_rl.model.shapes import ObjectIndex, ObjectLocations

Array = Any
"""A NumPy array or a torch tensor; the shapes and dtypes below are checked for both."""


@dataclass(frozen=True)
class Detections:
    """The objects of a batch as one ragged list, ordered by image, then by descending logit.

    Attributes:
        image_index: (objects,), which image an object is in.
        location: (objects, 2), (row, column) of its centre in pixels.
        count: (batch,), number of objects of each image.
    """

    image_index: ObjectIndex
    location: ObjectLocations
    count: Int[Tensor, " batch"]

    @property
    def rank(self) -> ObjectIndex:
        """0 for the first object of its image, 1 for the second, and so on."""
        first = self.count.cumsum(0) - self.count
        return torch.arange(len(self.image_index), device=self.count.device) - first[self.image_index]

    def keep_first(self, most: int) -> "Detections":
        """At most ``most`` objects per image, the most confident."""
        kept = self.rank < most
        return Detections(self.image_index[kept], self.location[kept], self.count.clamp(max=most))

    def clone(self) -> "Detections":
        """Copies: outside inference mode, autograd may save them."""
        return Detections(self.image_index.clone(), self.location.clone(), self.count.clone())

    def in_one_image(self) -> "Detections":
        """The same objects, all of them in the first of the images that are read."""
        return dataclasses.replace(self, image_index=torch.zeros_like(self.image_index))


@dataclass(frozen=True)
class Objects:
    """The objects of a batch of frames in padded slots; all NumPy or all torch.

    As encoded, the most confident object comes first; tracked objects stand in slots of their own. Whatever rearranges
    objects asks ``per_object`` which fields there are: a new field follows by itself.

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

    @classmethod
    def per_object(cls) -> Sequence[str]:
        """Names of the fields (batch, slots, ...), which hold a value for each object."""
        others = ("count", "dropped", "canvas_size")
        return [field.name for field in dataclasses.fields(cls) if field.name not in others]

    @classmethod
    def from_detections(
        cls, found: Detections, canvas_size: tuple[int, int], max_objects: int | None = None, **described: Tensor
    ) -> "Objects":
        """Spreads the ragged list of a batch over ``max_objects`` slots, or as many as the fullest frame needs.

        Args:
            found: where the objects are.
            canvas_size: (height, width) in pixels.
            max_objects: number of slots, or None.
            described: all other fields of ``per_object`` but the mask, (objects, ...).
        """
        batch, fullest = len(found.count), int(found.count.max()) if len(found.count) else 0
        slots = fullest if max_objects is None else max_objects
        kept = found.rank < slots
        where = (found.image_index[kept], found.rank[kept])

        def spread(values: Tensor) -> Tensor:
            padded = values.new_zeros(batch, slots, *values.shape[1:])
            padded[where] = values[kept]
            return padded

        count = found.count.clamp(max=slots)
        mask = torch.arange(slots, device=count.device) < count[:, None]
        values: dict[str, Any] = {name: spread(value) for name, value in described.items()}
        values |= {"count": count, "location": spread(found.location), "mask": mask, "dropped": found.count - count}
        return cls(**values, canvas_size=canvas_size)

    def numpy(self) -> "Objects":
        """The same objects as NumPy arrays."""
        return self._map(lambda value: value if isinstance(value, np.ndarray) else value.cpu().numpy())

    def torch(self, device: torch.device) -> "Objects":
        """The same objects as tensors on ``device``."""
        return self._map(lambda value: torch.as_tensor(value, device=device))

    def __getitem__(self, frames: slice) -> "Objects":
        """The objects of some frames of the batch."""
        return self._map(lambda value: value[frames])

    @staticmethod
    def concatenate(batches: Sequence["Objects"]) -> "Objects":
        """One batch of several, NumPy, with as many slots and on the same canvas."""
        names = [field.name for field in dataclasses.fields(batches[0]) if field.name != "canvas_size"]
        values: dict[str, Any] = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}
        return dataclasses.replace(batches[0], **values)

    def scatter(self, slots: Sequence[np.ndarray]) -> "Objects":
        """Moves the objects of each frame to other slots; used slots need no longer come first.

        Args:
            slots: for each frame the new slot of each of its objects, which stand in the first slots.
        """

        def moved(values: np.ndarray) -> np.ndarray:
            result = np.zeros_like(values)
            for i, slot in enumerate(slots):
                result[i, slot] = values[i, : len(slot)]
            return result

        values: dict[str, Any] = {name: moved(getattr(self, name)) for name in self.per_object()}
        return dataclasses.replace(self, **values)

    def _map(self, convert: Callable[[Array], Array]) -> "Objects":
        names = [field.name for field in dataclasses.fields(self) if field.name != "canvas_size"]
        return dataclasses.replace(self, **{name: convert(getattr(self, name)) for name in names})
