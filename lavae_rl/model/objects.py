"""The objects of a batch: ragged as they are found (``Detections``), padded as they are handed out (``Objects``)."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lavae_rl.model.shapes import Counts, ObjectIndex, ObjectLocations

Array = Any
"""A NumPy array or a torch tensor; the shapes and dtypes below are checked for both."""


@dataclass(frozen=True)
class Detections:
    """The objects of a batch as one ragged list, ordered by image, then by descending logit."""

    image_index: ObjectIndex
    location: ObjectLocations
    """(row, column) of each centre in pixels."""
    count: Counts
    scale: ObjectIndex = None  # type: ignore[assignment]
    """Factor by which each sprite and its window are enlarged; by default 1."""

    def __post_init__(self) -> None:
        # Most models have one scale, and most detections are written without it.
        object.__setattr__(self, "scale", torch.ones_like(self.image_index) if self.scale is None else self.scale)

    @property
    def rank(self) -> ObjectIndex:
        """0 for the first object of its image, 1 for the second, and so on."""
        first = self.count.cumsum(0) - self.count
        return torch.arange(len(self.image_index), device=self.count.device) - first[self.image_index]

    def keep_first(self, most: int) -> "Detections":
        """Keep at most ``most`` objects per image, the most confident."""
        kept = self.rank < most
        return Detections(self.image_index[kept], self.location[kept], self.count.clamp(max=most), self.scale[kept])

    def select(self, kept: Bool[Tensor, " objects"] | Int[Tensor, " kept"]) -> "Detections":
        """The objects of a mask over the list, or of indices in their order, of the same images."""
        image_index = self.image_index[kept]
        count = torch.bincount(image_index, minlength=len(self.count))
        return Detections(image_index, self.location[kept], count, self.scale[kept])

    def to(self, device: torch.device) -> "Detections":
        """The same objects on a device."""
        values = (self.image_index, self.location, self.count, self.scale)
        return Detections(*(value.to(device) for value in values))

    def clone(self) -> "Detections":
        """Copy the objects outside inference mode, so that autograd may save them."""
        return Detections(self.image_index.clone(), self.location.clone(), self.count.clone(), self.scale.clone())


_PER_FRAME = ("count", "dropped", "canvas_size")
"""Fields of ``Objects`` that have no value for each slot."""


@dataclass(frozen=True)
class Objects:
    """The objects of a batch of frames in padded slots; all NumPy or all torch.

    As encoded, the most confident object comes first; tracked objects stand in slots of their own.
    All fields are 0 in unused slots.
    """

    count: Int[Array, " batch"]
    location: Int[Array, "batch slots 2"]
    """(row, column) of each centre in pixels."""
    appearance: Float[Array, "batch slots latents"]
    """Posterior means."""
    appearance_variance: Float[Array, "batch slots latents"]
    presence: Float[Array, "batch slots"]
    """Probability, above ``posterior.MIN_PRESENCE``, that an object is there."""
    mask: Bool[Array, "batch slots"]
    """True where a slot holds an object."""
    dropped: Int[Array, " batch"]
    """Number of objects found beyond ``max_objects`` and left out."""
    canvas_size: tuple[int, int]
    """(height, width) in pixels of the frames they are in."""
    scale: Int[Array, "batch slots"] = None
    """Factor by which the model enlarges the sprite of each object; by default 1."""
    box: Int[Array, "batch slots 4"] = None
    """(row, column, height, width) in pixels of what the decoded sprite shows; row and column are those of its top left
    corner. By default it has no extent."""

    def __post_init__(self) -> None:
        if self.scale is None:
            object.__setattr__(self, "scale", self.mask + 0 * self.count[:, None])
        if self.box is None:
            stack = np.concatenate if isinstance(self.location, np.ndarray) else torch.cat
            object.__setattr__(self, "box", stack([self.location, 0 * self.location], -1))

    @classmethod
    def from_detections(
        cls, found: Detections, canvas_size: tuple[int, int], max_objects: int | None = None, **described: Tensor
    ) -> "Objects":
        """Spread the ragged list of a batch over ``max_objects`` slots, or as many as the fullest frame needs.

        ``described`` holds the other fields that have a value for each object, (objects, ...).
        """
        batch = len(found.count)
        slots = (int(found.count.max()) if batch else 0) if max_objects is None else max_objects
        kept = found.rank < slots
        where = (found.image_index[kept], found.rank[kept])

        def spread(values: Tensor) -> Tensor:
            padded = values.new_zeros(batch, slots, *values.shape[1:])
            padded[where] = values[kept]
            return padded

        count = found.count.clamp(max=slots)
        mask = torch.arange(slots, device=count.device) < count[:, None]
        values: dict[str, Any] = {name: spread(value) for name, value in described.items()}
        values |= {"location": spread(found.location), "scale": spread(found.scale)}
        values |= {"count": count, "mask": mask, "dropped": found.count - count}
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
        return batches[0]._map(lambda *values: np.concatenate(values), *batches[1:])

    def scatter(self, slots: Int[np.ndarray, "batch slots"]) -> "Objects":
        """Move the objects of each frame, NumPy, to other slots: the new one of each, -1 for what is left out."""
        frame, index = np.nonzero(slots >= 0)

        def moved(values: np.ndarray) -> np.ndarray:
            result = np.zeros_like(values)
            result[frame, slots[frame, index]] = values[frame, index]
            return result

        return self._map(moved, fixed=_PER_FRAME)

    def arrays(self) -> list[Array]:
        """The fields that have a value for each slot."""
        return [getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in _PER_FRAME]

    def _map(
        self, convert: Callable[..., Array], *others: "Objects", fixed: Sequence[str] = ("canvas_size",)
    ) -> "Objects":
        # Over all fields but the fixed ones: a new field follows by itself.
        names = [field.name for field in dataclasses.fields(self) if field.name not in fixed]
        values = {name: convert(*(getattr(each, name) for each in (self, *others))) for name in names}
        return dataclasses.replace(self, **values)
