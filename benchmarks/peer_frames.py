"""Frames that are harder than those of training: noise, sprites that touch or overlap, broken strokes."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from lavae_rl.data.scenes import Scenes, render_scenes
from lavae_rl.data.sources import SceneDataset
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.shapes import Counts, Frames

Labelled = tuple[Frames, Counts]


def plain(dataset: SceneDataset, rng: np.random.Generator) -> Labelled:
    """The scenes as they are."""
    return dataset[:], dataset.scenes.count


def noisy(dataset: SceneDataset, rng: np.random.Generator, share: float) -> Labelled:
    """A share of the pixels inverted."""
    frames = dataset[:]
    flipped = rng.random(frames.shape[:3]) < share
    return np.where(flipped[..., None], 255 - frames, frames), dataset.scenes.count


def broken(dataset: SceneDataset, rng: np.random.Generator, lines: int = 3) -> Labelled:
    """Black rows and columns, a pixel wide, across each frame."""
    frames = dataset[:].copy()
    for frame in frames:
        frame[rng.integers(len(frame), size=lines)] = 0
        frame[:, rng.integers(frame.shape[1], size=lines)] = 0
    return frames, dataset.scenes.count


def overlapping(dataset: SceneDataset, rng: np.random.Generator) -> Labelled:
    """Scenes of as many sprites anywhere, one over the other or not."""
    scenes, bank = dataset.scenes, dataset.bank
    half, free = bank.size // 2, np.array(scenes.canvas_size) - bank.size + 1
    location = (half + rng.integers(free, size=scenes.location.shape)).astype(np.int16)
    location[~scenes.mask] = 0
    return _rendered(scenes.sprite_index, location, scenes.count, scenes.canvas_size, bank)


def touching(dataset: SceneDataset, rng: np.random.Generator) -> Labelled:
    """Two sprites each, whose boxes have a side in common."""
    bank, canvas_size, number = dataset.bank, dataset.scenes.canvas_size, len(dataset)
    sprites = rng.integers(len(bank), size=(number, 2), dtype=np.int32)
    _, left, _, right = bank.boxes[sprites].transpose(2, 0, 1)
    half, free = bank.size // 2, np.array(canvas_size) - bank.size + 1
    location = np.zeros((number, 2, 2), np.int64)
    location[:, 0] = half + rng.integers(free, size=(number, 2))
    # To the right of the first, or to its left where there is no room.
    gap = right[:, 0] - left[:, 1]
    fits = location[:, 0, 1] + gap < half + free[1]
    location[:, 1, 0] = location[:, 0, 0]
    location[:, 1, 1] = location[:, 0, 1] + np.where(fits, gap, left[:, 0] - right[:, 1])
    return _rendered(sprites, location.astype(np.int16), np.full(number, 2), canvas_size, bank)


def _rendered(
    sprites: np.ndarray, location: np.ndarray, count: Counts, size: tuple[int, int], bank: SpriteBank
) -> Labelled:
    return render_scenes(Scenes(sprites, location, count, size), bank), count


VARIATIONS: Mapping[str, Callable[[SceneDataset, np.random.Generator], Labelled]] = {
    "plain": plain,
    "1 % noise": partial(noisy, share=0.01),
    "2 % noise": partial(noisy, share=0.02),
    "5 % noise": partial(noisy, share=0.05),
    "touching": touching,
    "overlapping": overlapping,
    "broken strokes": broken,
}
"""Frames and counts of the objects of a data set, changed."""
