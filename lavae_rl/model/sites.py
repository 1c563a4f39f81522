"""Sites: some places of a batch of grids."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Sites:
    """Some places of a batch of grids, in reading order."""

    mask: Bool[Tensor, "batch height width"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(batch, height, width) of the grids."""
        batch, height, width = self.mask.shape
        return batch, height, width

    @cached_property
    def index(self) -> tuple[Int[Tensor, " sites"], Int[Tensor, " sites"], Int[Tensor, " sites"]]:
        """Frame, row and column of each site."""
        return unravel(nonzero(self.mask), self.shape)

    def grow(self, reach: int) -> "Sites":
        """These sites and all within ``reach`` rows and columns."""
        mask = F.pad(self.mask, (reach, reach, reach, reach))
        for dim in (1, 2):
            covered = 1  # sites of the window whose values are joined already, which doubles each time
            while (step := min(covered, 2 * reach + 1 - covered)) > 0:
                length = mask.shape[dim] - step
                mask = mask.narrow(dim, 0, length) | mask.narrow(dim, step, length)
                covered += step
        return Sites(mask)

    def close(self, reach: int) -> "Sites":
        """These sites and those between them: the morphological closing by windows of ``2 * reach + 1`` sites."""
        border = Sites(F.pad(self.mask, (reach, reach, reach, reach)))
        outside = Sites(~border.grow(reach).mask).grow(reach)
        return Sites(~outside.mask[:, reach:-reach, reach:-reach])

    def halve(self) -> "Sites":
        """The sites at half the resolution that hold these; height and width are even."""
        rows = self.mask[:, ::2] | self.mask[:, 1::2]
        return Sites(rows[..., ::2] | rows[..., 1::2])

    def double(self) -> "Sites":
        """The sites at twice the resolution that these hold."""
        return Sites(self.mask.repeat_interleave(2, 1).repeat_interleave(2, 2))

    def stride(self) -> "Sites":
        """The outputs of a 3 x 3 convolution of stride 2 that depend on these sites; height and width are even."""
        # The window of an output begins one row above the two that it stands for.
        below = F.pad(self.mask, (0, 0, 1, 0))[:, :-1] | self.mask
        return Sites(F.pad(below, (1, 0))[:, :, :-1] | below).halve()

    def __and__(self, other: "Sites") -> "Sites":
        return Sites(self.mask & other.mask)


def nonzero(mask: Bool[Tensor, "..."]) -> Int[Tensor, " places"]:
    """Indices of the values of a mask that are true, in reading order."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))  # PyTorch takes five times as long
    return mask.flatten().nonzero()[:, 0]


def take(rows: Shaped[Tensor, "rows channels"], index: Int[Tensor, " places"]) -> Shaped[Tensor, "places channels"]:
    """Rows by their index, on the CPU."""
    return torch.from_numpy(rows.numpy().take(index.numpy(), axis=0))  # PyTorch takes twice as long, or more


def blocks(
    frame: Int[Tensor, " blocks"], rows: Int[Tensor, "blocks height"], columns: Int[Tensor, "blocks width"]
) -> tuple[Int[Tensor, " places"], Int[Tensor, " places"], Int[Tensor, " places"]]:
    """Frame, row and column of all places of rectangular blocks, each block in reading order."""
    shape = (*rows.shape, columns.shape[1])
    grids = (frame[:, None, None], rows[:, :, None], columns[:, None, :])
    first, second, third = (grid.expand(shape).flatten() for grid in grids)
    return first, second, third


def unravel(
    flat: Int[Tensor, " places"], shape: tuple[int, int, int]
) -> tuple[Int[Tensor, " places"], Int[Tensor, " places"], Int[Tensor, " places"]]:
    """Frame, row and column of indices into a batch of grids of a shape."""
    _, height, width = shape
    row = flat // width
    return row // height, row % height, flat % width
