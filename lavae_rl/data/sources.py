"""Frame sources, and the typed settings that open them.

The same settings and split give the same bytes on every machine. A source of scenes holds a few bytes per object, not
pixels: indexing renders frames.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, overload

import numpy as np

from lavae_rl.data.digits import digits_bank
from lavae_rl.data.frame_source import FrameSource, Index
from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.recordings import FrameSpec, Recording, open_recording
from lavae_rl.data.scenes import Scenes, render_scenes, sample_scenes
from lavae_rl.data.sprites import PATCH_SIZE, SpriteBank, dsprites_bank
from lavae_rl.shapes import Frames

CANVAS_SIZE = 64
"""Side of the paper's canvas in pixels."""

_RANGES = {"canvas_size": (1, 4_096), "patch_size": (1, 128), "max_objects": (0, 256)}

SPLITS: Mapping[str, int] = {"train": 190_000, "validation": 2_000, "test": 10_000, "test-7": 10_000}
"""Scenes of each split (paper, section 3), of 0 to 3 objects, in ``test-7`` of 7. Settings are chosen on
``validation`` alone, which the paper does not have."""


@dataclass(frozen=True)
class SceneDataset:
    """Scenes and the bank their sprites come from: a ``FrameSource`` with its ground truth."""

    scenes: Scenes
    bank: SpriteBank

    @property
    def shape(self) -> tuple[int, int, int]:
        """See ``FrameSource``."""
        return (*self.scenes.canvas_size, self.bank.channels)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: Index) -> Frames:
        return render_scenes(self.scenes[index], self.bank)


@dataclass(frozen=True)
class Prepared:
    """A source whose frames are preprocessed as they are read."""

    source: FrameSource
    preprocessing: Preprocessing

    @property
    def shape(self) -> tuple[int, int, int]:
        """See ``FrameSource``."""
        return self.preprocessing.output_shape(self.source.shape)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Index) -> Frames:
        return self.preprocessing(self.source[index])


def prepared(source: FrameSource, preprocessing: Preprocessing) -> FrameSource:
    """Preprocess a source; where that changes nothing, return the source itself, with its truth if it has one."""
    return source if preprocessing == Preprocessing() else Prepared(source, preprocessing)


def _shapes(size: int, mnist_dir: str | None) -> SpriteBank:
    if mnist_dir is not None:
        raise ValueError("multi-dsprites has no digits: leave mnist_dir out (--mnist-dir)")
    return dsprites_bank(size)


DATASETS: Mapping[str, Callable[[int, str | None], SpriteBank]] = {
    "multi-mnist-1k": partial(digits_bank, 1_000),
    "multi-mnist-10k": partial(digits_bank, 10_000),
    "multi-dsprites": _shapes,
}
"""The paper's data sets: the function that makes the bank of each from the side of a patch and a folder of MNIST."""


@dataclass(frozen=True)
class SceneSpec:
    """Scenes of one of the paper's data sets. Raises ValueError on an unknown one."""

    dataset: str = "multi-dsprites"
    """A key of ``DATASETS``."""
    mnist_dir: str | None = None
    """Folder of MNIST's IDX files to draw the pool of digits from, instead of the 10,000 digits in the package."""
    canvas_size: int = CANVAS_SIZE
    """Side of the scenes in pixels. ``test-7`` has the room that the paper gives its patches, if that is more."""
    patch_size: int = PATCH_SIZE
    """Side of a sprite's patch in pixels."""
    max_objects: int = 3
    """Largest number of objects in a scene, except in ``test-7``."""
    seed: int = 0
    """Another seed gives another draw of every split."""

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise ValueError(f"expected a data set of {', '.join(DATASETS)}, got {self.dataset!r}")
        for name, (least, most) in _RANGES.items():
            if not least <= (value := getattr(self, name)) <= most:
                raise ValueError(f"expected {name} of {least} to {most:,}, got {value:,}")

    def bank(self) -> SpriteBank:
        """The sprites. Raises ValueError: patch size out of range, damaged MNIST files, or such files for shapes."""
        return _bank(self.dataset, self.patch_size, self.mnist_dir)


@lru_cache(maxsize=4)
def _bank(dataset: str, patch_size: int, mnist_dir: str | None) -> SpriteBank:
    # A bank weighs 5 MB and takes a while to make: all users in a process share it, and none writes to it.
    return DATASETS[dataset](patch_size, mnist_dir)


SourceSpec = FrameSpec | SceneSpec
"""Settings that ``open_source`` takes."""


@overload
def open_source(spec: SceneSpec, split: str) -> SceneDataset: ...


@overload
def open_source(spec: FrameSpec, split: str) -> Recording: ...


def open_source(spec: SourceSpec, split: str) -> SceneDataset | Recording:
    """Open a split of a source: of scenes a key of ``SPLITS``, of a recording "train", "validation" or "test".

    Scenes are drawn in about a second.

    Raises:
        OSError, TypeError: a recording that cannot be read; see ``open_recording``.
        ValueError: unknown split, scenes that cannot be packed, or frames that cannot be used.
    """
    if isinstance(spec, FrameSpec):
        return open_recording(spec.path).split(split)
    if split not in SPLITS:
        raise ValueError(f"expected a split of {', '.join(SPLITS)}, got {split!r}")
    bank, side, num_objects = spec.bank(), spec.canvas_size, (0, spec.max_objects)
    rng = np.random.default_rng([spec.seed, list(SPLITS).index(split), list(DATASETS).index(spec.dataset)])
    if split == "test-7":
        side, num_objects = max(side, math.ceil(spec.patch_size * CANVAS_SIZE / PATCH_SIZE)), (7, 7)
    return SceneDataset(sample_scenes(rng, bank, SPLITS[split], num_objects, (side, side)), bank)


def load_dataset(name: str, split: str, **options: Any) -> SceneDataset:
    """Open a split of a data set by name; ``options`` are the other fields of ``SceneSpec``, see ``open_source``."""
    return open_source(SceneSpec(name, **options), split)


def load_bank(name: str, mnist_dir: str | None = None, patch_size: int = PATCH_SIZE) -> SpriteBank:
    """The sprites of a data set, ``patch_size`` pixels a side; see ``SceneSpec.bank``."""
    return SceneSpec(name, mnist_dir, patch_size=patch_size).bank()
