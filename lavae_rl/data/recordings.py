"""Recordings: frames of an environment on disk, with their episodes kept apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from lavae_rl.data.frame_source import Index
from lavae_rl.data.manifest import Rollouts, read_manifest
from lavae_rl.data.npy import NpyFrames
from lavae_rl.data.unpacking import VIDEOS, is_npz, natural, unpack
from lavae_rl.shapes import Frames

SPLIT_SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Share of the frames in each split, in their order in a recording."""
MIN_FRAMES = 10
"""Least number of frames that can be split."""


@dataclass(frozen=True)
class FrameSpec:
    """Frames of a recording; see ``open_recording``."""

    path: str
    """Folder or file."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames of successive episodes: a ``FrameSource`` in the order of time. Frames are read when they are indexed."""

    parts: Sequence[NpyFrames]
    """File of each episode."""
    kept: Sequence[Int[np.ndarray, " _"]]
    """Indices of the frames of each episode that belong to the recording."""
    skipped: int = 0
    """Number of black frames that were left out, of all splits together."""

    @cached_property
    def episodes(self) -> Int[np.ndarray, " offsets"]:
        """Index of the first frame of each episode, and the number of frames at the end."""
        return np.cumsum([0, *map(len, self.kept)])

    @property
    def shape(self) -> tuple[int, int, int]:
        """See ``FrameSource``."""
        _, height, width, channels = self.parts[0].shape
        return height, width, channels

    def __len__(self) -> int:
        return int(self.episodes[-1])

    def __getitem__(self, index: Index) -> Frames:
        chosen = np.arange(len(self))[index]
        owner = np.searchsorted(self.episodes, chosen, side="right") - 1
        frames = np.empty((len(chosen), *self.shape), np.uint8)
        for part in np.unique(owner):
            here = owner == part
            frames[here] = self.parts[part][self.kept[part][chosen[here] - self.episodes[part]]]
        return frames

    def split(self, name: str) -> "Recording":
        """Take a split: a key of ``SPLIT_SHARES``.

        Splits are whole episodes where each then has at least half of its share; otherwise they are successive parts.

        Raises:
            ValueError: another name, or fewer frames than ``MIN_FRAMES``.
        """
        if name not in SPLIT_SHARES:
            raise ValueError(f"expected a split of {', '.join(SPLIT_SHARES)}, got {name!r}")
        if len(self) < MIN_FRAMES:
            raise ValueError(f"expected a recording of at least {MIN_FRAMES} frames to split, got {len(self)}")
        ends = np.round(len(self) * np.cumsum(list(SPLIT_SHARES.values()))).astype(int)
        whole = self.episodes[np.abs(self.episodes[:, None] - ends).argmin(axis=0)]
        shares = np.diff(whole, prepend=0) / len(self)
        if (shares >= np.array(list(SPLIT_SHARES.values())) / 2).all():
            ends = whole
        number = list(SPLIT_SHARES).index(name)
        return self._between(0 if number == 0 else int(ends[number - 1]), int(ends[number]))

    def _between(self, first: int, end: int) -> "Recording":
        """The frames of indices ``first`` to ``end - 1``."""
        starts = self.episodes[:-1].tolist()
        cut = [kept[max(0, first - start) : max(0, end - start)] for kept, start in zip(self.kept, starts, strict=True)]
        chosen = [i for i, kept in enumerate(cut) if len(kept)]
        return Recording([self.parts[i] for i in chosen], [cut[i] for i in chosen], self.skipped)


def open_recording(path: str | Path) -> Recording:
    """Open frames on disk. Frames that are all black, as games show between two lives, are left out and counted.

    The path is one of these:

    * a folder that ``pretrain/collect_frames.py`` made, or another folder of .npy files, one for each episode;
    * a .npy file, uint8 (frames, height, width[, channels]);
    * an .npz file with such an array ``x``, of which nothing else is read;
    * a folder of PNGs, or of folders of PNGs, one for each episode, in the natural order of their names;
    * a video, with one of the endings ``VIDEOS``.

    Frames stay on disk. What NumPy cannot map (.npz, PNGs, videos) is unpacked into temporary files first, which takes
    a while and as many bytes as the frames have values; see ``unpack``.

    Raises:
        FileNotFoundError: no such path, or an empty folder.
        TypeError: frames that are not uint8.
        ValueError: files that are damaged or of another kind, frames of changing size, or black frames only.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"expected frames in {path}, there is no such file or folder")
    if path.is_dir() and (manifest := read_manifest(path)) is not None:
        return _open_collected(path, manifest)
    parts = _open_files(path)
    for part in parts:
        _check_size(part, parts[0])
    kept = [np.flatnonzero(part.lit()) for part in parts]
    skipped = sum(map(len, parts)) - sum(map(len, kept))
    shown = [i for i, index in enumerate(kept) if len(index)]
    if not shown:
        raise ValueError(f"expected frames that show something in {path}, got {skipped} that are black")
    return Recording([parts[i] for i in shown], [kept[i] for i in shown], skipped)


def _open_collected(folder: Path, manifest: Rollouts) -> Recording:
    """Open the episodes that a manifest names; they hold no black frames."""
    if not manifest.files:
        raise ValueError(f"expected frames in {folder}, got none yet: go on collecting them with --resume")
    parts = [NpyFrames(folder / name) for name in manifest.files]
    for part, length in zip(parts, manifest.episodes, strict=True):
        _check_size(part, parts[0])
        if len(part) != length:
            raise ValueError(f"expected {length} frames in {part.path} by its manifest, got {len(part)}: it is damaged")
    return Recording(parts, [np.arange(len(part)) for part in parts], manifest.skipped)


def _open_files(path: Path) -> Sequence[NpyFrames]:
    if path.is_dir() and (arrays := sorted(path.glob("*.npy"), key=natural)):
        return [part for file in arrays for part in _open_array(file)]
    if path.suffix.lower() in (".npy", ".npz"):
        return _open_array(path)
    if path.is_dir() or path.suffix.lower() in VIDEOS:
        return [NpyFrames(file, path) for file in unpack(path)]
    raise ValueError(f"expected a folder, .npy, .npz or a video ({', '.join(VIDEOS)}), got {path}")


def _open_array(path: Path) -> Sequence[NpyFrames]:
    """Open a .npy or .npz file by what it holds, whichever of both its name says."""
    return [NpyFrames(file, path) for file in unpack(path)] if is_npz(path) else [NpyFrames(path)]


def _check_size(part: NpyFrames, first: NpyFrames) -> None:
    if part.shape[1:] != first.shape[1:]:
        raise ValueError(
            f"expected frames of one size, got (height, width, channels) {first.shape[1:]} in {first.source} "
            f"and {part.shape[1:]} in {part.source}"
        )
