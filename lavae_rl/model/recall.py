"""What was computed for parts of earlier frames, found again by their content.

Most of a screen is as it was in some earlier frame: a score stays, a paddle comes back to a place. What a network of
limited reach makes of a cell depends on the cell and its surroundings alone, so it is computed once for each content.
Contents are told apart by 64-bit hashes: among a million of them, the chance that any two are confused is 3 in 10^8.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped, UInt64
from torch import Tensor

from lavae_rl.model.image.pixels import FramePixels
from lavae_rl.model.sites import Sites

CELL = 16
"""Side of a cell in pixels: its 8 x 8 sites of 2 x 2 pixels are the bits of one number."""
BLOCK = 4
"""Side in pixels of the blocks whose hashes make up those of a cell and its surroundings."""
CAPACITY = 32_768
"""Number of contents that are kept; the oldest make room."""

Keys = UInt64[np.ndarray, " keys"]


class Recall:
    """Rows of numbers by the keys of what they were computed from."""

    def __init__(self) -> None:
        self._slots: dict[int, int] = {}
        self._keys = np.zeros(CAPACITY, np.uint64)
        self._next = 0
        self._columns: list[Tensor] = []

    def find(self, keys: Keys) -> Int[np.ndarray, " keys"]:
        """The slot of each key; -1 where there is none."""
        slot = self._slots.get
        return np.array([slot(key, -1) for key in keys.tolist()], np.int64)

    def rows(self, slots: Int[np.ndarray, " rows"]) -> list[Tensor]:
        """What was kept in some slots."""
        return [column[torch.from_numpy(slots)] for column in self._columns]

    def keep(self, keys: Keys, *columns: Tensor) -> None:
        """Keep rows of tensors by their keys, as many as there is room for."""
        keys, first = np.unique(keys[:CAPACITY], return_index=True)
        if not self._columns:
            self._columns = [column.new_empty(CAPACITY, *column.shape[1:]) for column in columns]
        slots = (self._next + np.arange(len(keys))) % CAPACITY
        self._next = (self._next + len(keys)) % CAPACITY
        for slot, old, new in zip(slots.tolist(), self._keys[slots].tolist(), keys.tolist(), strict=True):
            if self._slots.get(old) == slot:
                del self._slots[old]
            self._slots[new] = slot
        self._keys[slots] = keys
        for kept, column in zip(self._columns, columns, strict=True):
            kept[torch.from_numpy(slots)] = column[torch.from_numpy(first)]


class Cells:
    """The cells of frames in which something is wanted, with the content of each and of its surroundings as a hash."""

    def __init__(self, pixels: FramePixels, wanted: Sites, reach: int) -> None:
        """Take the sites at half the resolution where something is wanted, and the pixels around that it depends on."""
        self._rows, self._columns = (-(-2 * side // CELL) for side in wanted.mask.shape[1:])
        bits = _bits(wanted.mask, self._rows, self._columns)
        self.frame, self.row, self.column = np.nonzero(bits)
        self._content = _surroundings(pixels, self._rows, self._columns, reach)
        place = (self.row * self._columns + self.column).astype(np.uint64)
        chosen = (self.frame, self.row, self.column)
        self.keys = _mixed(_mixed(self._content[chosen] + place) + bits[chosen])

    def __len__(self) -> int:
        return len(self.keys)

    def sites(self, wanted: Sites, chosen: Bool[np.ndarray, " cells"]) -> Sites:
        """The wanted sites in chosen cells."""
        grid = np.zeros(self._content.shape, bool)
        grid[self.frame[chosen], self.row[chosen], self.column[chosen]] = True
        side = CELL // 2
        _, height, width = wanted.mask.shape
        mask = torch.from_numpy(grid).repeat_interleave(side, 1)[:, :height].repeat_interleave(side, 2)[..., :width]
        return Sites(wanted.mask & mask)

    def read(self, maps: Tensor, chosen: Bool[np.ndarray, " cells"]) -> Shaped[Tensor, "cells side side"]:
        """The values of maps of pixels in chosen cells."""
        return _tiles(maps)[self.frame[chosen], self.row[chosen], self.column[chosen]]

    def write(self, maps: Tensor, values: Tensor, chosen: Bool[np.ndarray, " cells"]) -> None:
        """Put values into maps of pixels, in chosen cells."""
        _tiles(maps)[self.frame[chosen], self.row[chosen], self.column[chosen]] = values

    def object_keys(self, *parts: Tensor) -> Keys:
        """A key for each object: the content around it, and its (frame, row, column, ...), frame left out."""
        frame, row, column, *others = (part.numpy() for part in parts)
        key = self._content[frame, row // CELL, column // CELL]
        for part in (row, column, *others):
            key = _mixed(key + part.astype(np.uint64))
        return key


def _tiles(maps: Tensor) -> Tensor:
    """A view of maps whose sides are multiples of those of cells: (batch, rows, columns, side, side)."""
    return maps.unfold(1, CELL, CELL).unfold(2, CELL, CELL)


def _bits(
    sites: Bool[Tensor, "batch height width"], rows: int, columns: int
) -> UInt64[np.ndarray, "batch rows columns"]:
    """The sites of each cell as the bits of a number."""
    side = CELL // 2
    padded = np.zeros((len(sites), rows * side, columns * side), bool)
    padded[:, : sites.shape[1], : sites.shape[2]] = sites.numpy()
    byte = np.packbits(padded, axis=2).reshape(len(sites), rows, side, columns)
    return np.ascontiguousarray(byte.transpose(0, 1, 3, 2)).view(np.uint64)[..., 0]


def _surroundings(pixels: FramePixels, rows: int, columns: int, reach: int) -> UInt64[np.ndarray, "batch rows columns"]:
    """Hashes of the pixels of each cell and within reach of it that are not the background's, in any order."""
    frame, row, column = (axis.numpy() for axis in pixels.changed)
    shown = pixels.frames.numpy()[frame, row, column].astype(np.uint64)
    content = (row.astype(np.uint64) << np.uint64(16)) + column.astype(np.uint64)
    for channel in shown.T:
        content = (content << np.uint64(8)) + channel
    margin = -(-reach // BLOCK)
    per_cell = CELL // BLOCK
    shape = (len(pixels.frames), rows * per_cell + 2 * margin + 1, columns * per_cell + 2 * margin + 1)
    blocks = np.zeros(shape, np.uint64)
    np.add.at(blocks, (frame, row // BLOCK + margin + 1, column // BLOCK + margin + 1), _mixed(content))
    sums = blocks.cumsum(1, dtype=np.uint64).cumsum(2, dtype=np.uint64)  # modulo 2^64: differences are exact
    top, left = np.arange(rows) * per_cell, np.arange(columns) * per_cell
    bottom, right = (edge + per_cell + 2 * margin for edge in (top, left))
    upper, lower = sums[:, top], sums[:, bottom]
    result: Any = lower[..., right] - lower[..., left] - upper[..., right] + upper[..., left]
    return result


def _mixed(values: UInt64[np.ndarray, "*axes"]) -> UInt64[np.ndarray, "*axes"]:
    """Hashes of numbers: the generator SplitMix64 of Steele et al. 2014 (doi 10.1145/2660193.2660195)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
