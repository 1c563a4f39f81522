"""Scenes: which sprites stand where, for a whole batch at once, and how they become frames.

A *location* is the (row, column) of a sprite's centre, see ``coordinates``. The centre of a patch of side ``size`` is
its pixel ``(size // 2, size // 2)``: a sprite at (r, c) covers rows ``r - size // 2`` to ``r - size // 2 + size - 1``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from lavae_rl.data.sprites import SpriteBank
from lavae_rl.shapes import Counts, Frames, Locations, Mask, SlotIndices

GAP = 1
"""Tight boxes are grown by this many pixels on every side before they are tested for overlap."""

MARGIN = np.array([0, 0, 2 * GAP, 2 * GAP])
"""Added to a box: boxes grown by GAP on every side intersect just when boxes grown by 2 * GAP on the far side do."""

_TRIES_PER_OBJECT = (1, 3, 12, 48)
"""Tries are drawn in blocks, a few at first, since most objects need but one; the first that fits is taken."""

_FEW = 32
"""Up to so many sprites, pasting one after the other is faster than all scenes at once."""

_TRIES_PER_SCENE = (1, *[4] * 25)
"""Tries per scene, in rounds: what is stuck is tried four times at once, or a few hard scenes would cost most."""


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes. Slots at or past a scene's count are padding: index 0, location (0, 0)."""

    sprite_index: SlotIndices
    """int32, index into a sprite bank."""
    location: Locations
    """int16, (row, column) of each sprite's centre in pixels."""
    count: Counts
    """int64, number of objects."""
    canvas_size: tuple[int, int]
    """(height, width) in pixels."""

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, index: slice | Int[np.ndarray, " selected"] | Bool[np.ndarray, " batch"]) -> "Scenes":
        return Scenes(self.sprite_index[index], self.location[index], self.count[index], self.canvas_size)

    @property
    def mask(self) -> Mask:
        """True where a slot holds an object."""
        return np.arange(self.sprite_index.shape[1]) < self.count[:, None]


def sample_scenes(
    rng: np.random.Generator,
    bank: SpriteBank,
    num_scenes: int,
    num_objects: int | tuple[int, int] | Int[np.ndarray, " scenes"],
    canvas_size: tuple[int, int] = (64, 64),
) -> Scenes:
    """Sample sprites uniformly from the bank and place them uniformly, without overlap.

    Objects are placed one after the other, each uniformly over the locations at which its whole patch lies inside the
    canvas, until its tight box, grown by ``GAP`` px on every side, does not intersect an earlier object's box, grown
    likewise. A scene that gets stuck starts again with the same sprites.

    Args:
        rng: source of all randomness.
        bank: the sprites.
        num_scenes: number of scenes.
        num_objects: a count for all, an inclusive range ``(low, high)`` drawn from uniformly, or a count per scene.
        canvas_size: (height, width) in pixels.

    Raises:
        ValueError: negative or mis-shaped counts, a canvas smaller than a patch, or scenes that cannot be packed.
    """
    count = _sample_counts(rng, num_scenes, num_objects)
    if min(canvas_size) < bank.size:
        raise ValueError(f"expected a canvas of at least {bank.size} x {bank.size} pixels, got {canvas_size}")
    slots = int(count.max(initial=0))
    mask = np.arange(slots) < count[:, None]
    sprite_index = np.where(mask, rng.integers(len(bank), size=(num_scenes, slots), dtype=np.int32), 0)
    location = np.zeros((num_scenes, slots, 2), np.int16)
    waiting = np.arange(num_scenes)
    for tries in _TRIES_PER_SCENE:
        tried = np.repeat(waiting, tries)
        found, placed = _try_to_place(rng, bank, sprite_index[tried], count[tried], canvas_size)
        done, first = np.unique(tried[placed], return_index=True)
        location[done] = found[placed][first]
        waiting = np.setdiff1d(waiting, done, assume_unique=True)
        if not len(waiting):
            return Scenes(sprite_index, location, count, canvas_size)
    raise ValueError(
        f"could not pack {count[waiting[0]]} objects without overlap on a canvas of {canvas_size[0]} x "
        f"{canvas_size[1]} pixels in {sum(_TRIES_PER_SCENE)} tries; ask for fewer objects or a larger canvas"
    )


def _sample_counts(rng: np.random.Generator, num_scenes: int, num_objects: int | tuple[int, int] | Counts) -> Counts:
    if isinstance(num_objects, tuple):
        low, high = num_objects
        if not 0 <= low <= high:
            raise ValueError(f"expected 0 <= low <= high in num_objects, got {num_objects}")
        return rng.integers(low, high + 1, size=num_scenes)
    count = np.broadcast_to(np.asarray(num_objects, np.int64), (num_scenes,)).copy()
    if (count < 0).any():
        raise ValueError(f"expected counts of at least 0, got {count.min()}")
    return count


def _try_to_place(
    rng: np.random.Generator, bank: SpriteBank, sprite_index: SlotIndices, count: Counts, canvas_size: tuple[int, int]
) -> tuple[Locations, Bool[np.ndarray, " batch"]]:
    """Try each scene once, all together. Returns locations, and which scenes did not get stuck."""
    half = bank.size // 2
    span = np.array(canvas_size) - bank.size + 1
    boxes = grown_boxes(bank, sprite_index).astype(np.int16)
    location = np.zeros((*sprite_index.shape, 2), np.int16)
    placed = np.ones(len(count), bool)
    for slot in range(sprite_index.shape[1]):
        pending = np.flatnonzero(placed & (count > slot))
        earlier = boxes[:, None, :slot] + np.tile(location[:, None, :slot], 2)
        for tries in _TRIES_PER_OBJECT:
            drawn = half + rng.integers(span, size=(len(pending), tries, 2), dtype=np.int16)
            own = boxes[pending, None, slot] + np.tile(drawn, 2)
            clear = np.logical_and.reduce(apart(own[:, :, None], earlier[pending]), axis=2)
            first = clear.argmax(axis=1)
            found = clear[np.arange(len(pending)), first]
            location[pending[found], slot] = drawn[found, first[found]]
            pending = pending[~found]
            if not len(pending):
                break
        placed[pending] = False
    return location, placed


def grown_boxes(bank: SpriteBank, sprite_index: Int[np.ndarray, "*axes"]) -> Int[np.ndarray, "*axes 4"]:
    """Boxes (top, left, bottom, right) of sprites, relative to their centres, that are to be kept ``apart``."""
    return bank.boxes[sprite_index] - bank.size // 2 + MARGIN


def apart(one: Int[np.ndarray, "*#axes 4"], other: Int[np.ndarray, "*#axes 4"]) -> Bool[np.ndarray, "*axes"]:
    """True where two boxes (top, left, bottom, right) do not intersect."""
    return (  # column by column, since reducing an axis of two or four takes NumPy three times as long
        (one[..., 0] >= other[..., 2])
        | (one[..., 2] <= other[..., 0])
        | (one[..., 1] >= other[..., 3])
        | (one[..., 3] <= other[..., 1])
    )


def render_scenes(scenes: Scenes, bank: SpriteBank) -> Frames:
    """Render frames of 0 and 255. Raises ValueError for a sprite that is not wholly inside the canvas."""
    height, width = scenes.canvas_size
    size, mask = bank.size, scenes.mask
    frames = np.zeros((len(scenes), height, width, bank.channels), np.uint8)
    corner = scenes.location.astype(np.intp) - size // 2
    placed = corner[mask]
    if (placed < 0).any() or (placed > np.array([height, width]) - size).any():
        raise ValueError(f"expected every {size} px sprite inside the {height} x {width} canvas, got one outside")
    if len(placed) <= _FEW:
        for place, (row, column) in zip(np.argwhere(mask).tolist(), placed.tolist(), strict=True):
            patch = bank.patches[scenes.sprite_index[tuple(place)]]
            frames[place[0], row : row + size, column : column + size] |= patch
        return frames
    # Every size x size window of every frame, as a view: one indexed assignment pastes a slot of the whole batch.
    windows = np.lib.stride_tricks.sliding_window_view(frames, (size, size), axis=(1, 2), writeable=True)
    patches = bank.patches.transpose(0, 3, 1, 2)
    for slot in range(mask.shape[1]):
        scene = np.flatnonzero(mask[:, slot])
        windows[scene, *corner[scene, slot].T] |= patches[scenes.sprite_index[scene, slot]]
    return frames
