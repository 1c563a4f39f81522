"""The paper's data sets by name: multi-mnist-1k, multi-mnist-10k and multi-dsprites, and files of frames.

A data set holds scenes (a few bytes per object), not pixels; frames are rendered when asked for. Same name, split and
seed give the same bytes on every machine.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from lavae_rl.data.digits import digits_bank
from lavae_rl.data.scenes import Scenes, render_scenes, sample_scenes
from lavae_rl.data.sprites import PATCH_SIZE, SpriteBank, dsprites_bank
from lavae_rl.shapes import Frames

CANVAS_SIZE = 64
"""Side of the paper's canvas in pixels."""


@dataclass(frozen=True)
class Split:
    """How many scenes a split has and how many objects are in each.

    Attributes:
        num_scenes: scenes in the whole split.
        num_objects: inclusive range, drawn from uniformly.
    """

    num_scenes: int
    num_objects: tuple[int, int]


SPLITS: Mapping[str, Split] = {
    "train": Split(190_000, (0, 3)),
    "validation": Split(2_000, (0, 3)),
    "test": Split(10_000, (0, 3)),
    "test-7": Split(10_000, (7, 7)),
}
"""The splits (paper, section 3). Settings are chosen on ``validation`` alone, which the paper does not have."""

POOLS: Mapping[str, int | None] = {"multi-mnist-1k": 1_000, "multi-mnist-10k": 10_000, "multi-dsprites": None}
"""Data sets by name: the size of the pool of digits, None for dSprites shapes."""


@dataclass(frozen=True)
class SceneDataset:
    """Scenes and the bank their sprites come from; ``dataset[index]`` renders frames.

    Attributes:
        scenes: what stands where: the ground truth.
        bank: sprites and their attributes.
    """

    scenes: Scenes
    bank: SpriteBank

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: slice | Int[np.ndarray, " selected"] | Bool[np.ndarray, " batch"]) -> Frames:
        """Frames, uint8 (selected, height, width, channels), of the chosen scenes."""
        return render_scenes(self.scenes[index], self.bank)


def load_bank(name: str, mnist_dir: str | Path | None = None, patch_size: int = PATCH_SIZE) -> SpriteBank:
    """The sprites of a data set, ``patch_size`` pixels a side.

    Raises:
        ValueError: unknown name, or MNIST files without use (dSprites) or damaged.
    """
    if name not in POOLS:
        raise ValueError(f"expected a data set of {', '.join(POOLS)}, got {name!r}")
    pool = POOLS[name]
    if pool is not None:
        return digits_bank(pool, patch_size, mnist_dir)
    if mnist_dir is not None:
        raise ValueError(f"{name} has no digits: leave mnist_dir out")
    return dsprites_bank(patch_size)


def load_dataset(
    name: str,
    split: str,
    seed: int = 0,
    mnist_dir: str | Path | None = None,
    canvas_size: int = CANVAS_SIZE,
    patch_size: int = PATCH_SIZE,
    max_objects: int = 3,
) -> SceneDataset:
    """Builds a split of a data set, in about a second.

    Args:
        name: ``multi-mnist-1k``, ``multi-mnist-10k`` or ``multi-dsprites``.
        split: ``train``, ``validation``, ``test`` or ``test-7``.
        seed: another seed, another draw of every split.
        mnist_dir: folder of MNIST's IDX files to draw the pool from, instead of the 10,000 digits in the package.
        canvas_size: side of the scenes in pixels. ``test-7`` has the room that the paper gives its patches, if less.
        patch_size: side of a sprite's patch in pixels.
        max_objects: most objects in a scene, but for ``test-7``.

    Raises:
        ValueError: unknown name or split, or scenes that cannot be packed.
    """
    bank = load_bank(name, mnist_dir, patch_size)
    if split not in SPLITS:
        raise ValueError(f"expected a split of {', '.join(SPLITS)}, got {split!r}")
    rng = np.random.default_rng([seed, list(SPLITS).index(split), list(POOLS).index(name)])
    num_objects, side = SPLITS[split].num_objects, canvas_size
    if split == "test-7":
        side = max(side, math.ceil(patch_size * CANVAS_SIZE / PATCH_SIZE))
    else:
        num_objects = (num_objects[0], max_objects)
    return SceneDataset(sample_scenes(rng, bank, SPLITS[split].num_scenes, num_objects, (side, side)), bank)
