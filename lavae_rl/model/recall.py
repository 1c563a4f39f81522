"""Results for parts of earlier frames, looked up by the content of each part.

Most of a screen is as it was in some earlier frame: a score stays, a paddle comes back to a place. What a network of
limited reach makes of a cell depends on the cell and its surroundings alone, so it is computed once for each content.
Contents are distinguished by 64-bit hashes: among a million of them, the chance that any two are confused is 3 in 10^8.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped, UInt64
from torch import Tensor

from lavae_rl.model.image.background import Pictures
from lavae_rl.model.image.pixels import FramePixels
from lavae_rl.model.sites import Sites

CELL = 16
"""Side of a cell in pixels: its 8 x 8 sites of 2 x 2 pixels are the bits of one number."""
BLOCK = 4
"""Side in pixels of the blocks whose hashes make up those of a cell and its surroundings."""
CAPACITY = 32_768
"""Number of contents that are kept; the oldest make room."""

_ROW_BASE, _COLUMN_BASE = _BASES = (0xD1342543DE82EF95, 0xAF251AF3B0F025B5)
"""Odd numbers, by whose powers the rows and columns of a window are distinguished."""

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
        """The rows in some slots, of each tensor."""
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


class Surroundings:
    """Hashes of cells and all within reach of them: of the background's once, of what frames show in its place.

    The hash of a pixel is multiplied by powers of two odd numbers, its row and its column, and those of a window are
    added up, modulo 2^64. So a window is identified by its content relative to its cell: what a network makes of the
    same things on the same background is the same wherever they are.
    """

    def __init__(self, background: Pictures, reach: int) -> None:
        """Take the pixels in each direction that what is computed of a cell depends on."""
        height, width = background.canvas_size
        self.rows, self.columns = -(-height // CELL), -(-width // CELL)
        self._margin = -(-reach // BLOCK)
        self._row_factors, self._column_factors = _powers(_ROW_BASE, height), _powers(_COLUMN_BASE, width)
        back = (_powers(pow(base, -CELL, 2**64), number) for base, number in zip(_BASES, self._shape, strict=True))
        self._normalising = np.multiply.outer(*back)
        states = np.where(background.frequency.numpy()[:, None] > 0, background.states.numpy().astype(np.int64), 256)
        colors = states.reshape(-1, height * width).T
        row, column = np.divmod(np.arange(height * width), width)
        self._background = self._windows(np.zeros(len(row), int), row, column, _hashed(colors), 1)[0]

    @property
    def _shape(self) -> tuple[int, int]:
        return self.rows, self.columns

    def of(self, pixels: FramePixels) -> UInt64[np.ndarray, "batch rows columns"]:
        """A hash for each cell of frames."""
        frame, row, column = (axis.numpy() for axis in pixels.changed)
        shown = _hashed(pixels.frames.numpy()[frame, row, column])
        return _mixed(self._windows(frame, row, column, shown, len(pixels.frames)) + self._background)

    def _windows(
        self, frame: np.ndarray, row: np.ndarray, column: np.ndarray, shown: np.ndarray, batch: int
    ) -> UInt64[np.ndarray, "batch rows columns"]:
        """The sum of hashes in the window of each cell, relative to it."""
        per_cell, margin = CELL // BLOCK, self._margin
        sides = (number * per_cell + 2 * margin + 1 for number in self._shape)
        blocks = np.zeros((batch, *sides), np.uint64)
        values = shown * self._row_factors[row] * self._column_factors[column]
        np.add.at(blocks, (frame, row // BLOCK + margin + 1, column // BLOCK + margin + 1), values)
        sums = blocks.cumsum(1, dtype=np.uint64).cumsum(2, dtype=np.uint64)  # modulo 2^64: differences are exact
        top, left = (np.arange(number) * per_cell for number in self._shape)
        bottom, right = (edge + per_cell + 2 * margin for edge in (top, left))
        upper, lower = sums[:, top], sums[:, bottom]
        inside: Any = lower[..., right] - lower[..., left] - upper[..., right] + upper[..., left]
        return inside * self._normalising


class Cells:
    """The cells of frames in which something is wanted, with a key for the content of each and what is wanted."""

    def __init__(self, pixels: FramePixels, wanted: Sites, surroundings: Surroundings) -> None:
        """Take the sites at half the resolution where something is wanted."""
        self._content = surroundings.of(pixels)
        bits = _bits(wanted.mask, surroundings.rows, surroundings.columns)
        self.frame, self.row, self.column = np.nonzero(bits)
        chosen = (self.frame, self.row, self.column)
        self.keys = _mixed(self._content[chosen] + bits[chosen])

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

    def read(self, maps: Tensor, chosen: Bool[np.ndarray, " cells"]) -> Shaped[Tensor, "chosen side side"]:
        """The values of maps of pixels in chosen cells."""
        return _tiles(maps)[self.frame[chosen], self.row[chosen], self.column[chosen]]

    def write(self, maps: Tensor, values: Tensor, chosen: Bool[np.ndarray, " cells"]) -> None:
        """Put values into maps of pixels, in chosen cells."""
        _tiles(maps)[self.frame[chosen], self.row[chosen], self.column[chosen]] = values

    def object_keys(self, *parts: Tensor) -> Keys:
        """A key for each object of (frame, row, column, ...): its place in a cell, what is around, and what follows."""
        frame, row, column, *others = (part.numpy() for part in parts)
        key = self._content[frame, row // CELL, column // CELL]
        for part in (row % CELL, column % CELL, *others):
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


def _powers(base: int, number: int) -> UInt64[np.ndarray, " number"]:
    """The first powers of a number, modulo 2^64."""
    return np.cumprod(np.array([1, *[base % 2**64] * (number - 1)], np.uint64), dtype=np.uint64)


def _hashed(colors: Shaped[np.ndarray, "pixels values"]) -> UInt64[np.ndarray, " pixels"]:
    """A hash of the values of each pixel."""
    result = np.zeros(len(colors), np.uint64)
    for values in colors.T:
        result = _mixed(result + values.astype(np.uint64))
    return result


def _mixed(values: UInt64[np.ndarray, "*axes"]) -> UInt64[np.ndarray, "*axes"]:
    """Hashes of numbers: the generator SplitMix64 of Steele et al. 2014 (doi 10.1145/2660193.2660195)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
