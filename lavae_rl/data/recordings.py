"""Recordings: frames of an environment on disk, memory-mapped, with their episodes kept apart."""

import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import cv2
import numpy as np
from jaxtyping import Int

from lavae_rl.data.frame_source import Index
from lavae_rl.shapes import Frames

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif")
HELD_OUT = 0.15
"""Share of a recording that validates, and share that tests."""
FEW_EPISODES = 5
"""With fewer episodes than this, splits are successive parts of the recording instead of whole episodes."""

_BATCH = 256


@dataclass(frozen=True)
class FrameSpec:
    """Frames of a recording; see ``open_recording``."""

    path: str
    """Folder or file."""


@dataclass(frozen=True)
class Recording:
    """Frames of successive episodes: a ``FrameSource`` in the order of time. Frames are read when they are indexed."""

    parts: Sequence[np.ndarray]
    """Of each episode, uint8 (frames, height, width, channels), possibly memory-mapped."""
    kept: Sequence[Int[np.ndarray, " kept"]]
    """Index of the frames of each part that count."""
    skipped: int = 0
    """Number of black frames that were left out."""

    @cached_property
    def episodes(self) -> Int[np.ndarray, " offsets"]:
        """Index of the first frame of each episode, and the number of frames at the end."""
        return np.cumsum([0, *map(len, self.kept)])

    @property
    def shape(self) -> tuple[int, int, int]:
        """See ``FrameSource``."""
        height, width, channels = self.parts[0].shape[1:]
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
        """The "train", "validation" or "test" split: whole episodes, or successive parts where there are few.

        Raises:
            ValueError: another name.
        """
        if name not in _ORDER:
            raise ValueError(f"expected a split of {', '.join(_ORDER)}, got {name!r}")
        # The last of both held-out parts tests.
        ends = [round(len(self) * (1 - share)) for share in (1, 2 * HELD_OUT, HELD_OUT, 0)]
        low, high = ends[_ORDER.index(name)], ends[_ORDER.index(name) + 1]
        if len(self.kept) >= FEW_EPISODES:
            starts = self.episodes[:-1]
            edges = [*np.searchsorted(starts, ends[:3]).tolist(), len(starts)]
            edges[2] = max(1, min(edges[2], len(starts) - 1))
            edges[1] = max(1, min(edges[1], edges[2] - 1))
            first, last = edges[_ORDER.index(name)], edges[_ORDER.index(name) + 1]
            return Recording(self.parts[first:last], self.kept[first:last])
        cut = [
            kept[max(0, low - start) : max(0, high - start)]
            for kept, start in zip(self.kept, self.episodes, strict=False)
        ]
        chosen = [i for i, kept in enumerate(cut) if len(kept)]
        return Recording([self.parts[i] for i in chosen], [cut[i] for i in chosen])


_ORDER = ("train", "validation", "test")


def open_recording(path: str | Path) -> Recording:
    """Open frames on disk. Frames that are all black, as games show between two lives, are left out and counted.

    The path is a folder of .npy files, one for each episode (``pretrain/collect_frames.py`` makes such); a .npy file
    (frames, height, width[, channels]); a folder of PNGs, or of folders of PNGs, one for each episode; a video; or an
    .npz file with an array "x". What NumPy cannot map is unpacked into a temporary file, which needs as much room as
    the frames have bytes.

    Raises:
        FileNotFoundError: no such path, or an empty folder.
        TypeError: frames that are not uint8.
        ValueError: files that are damaged or of another kind, frames of changing size, or black frames only.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"expected frames in {path}, there is no such file or folder")
    parts = [_checked(*part) for part in _read(path)]
    sizes = {part.shape[1:] for part in parts}
    if len(sizes) > 1:
        raise ValueError(f"expected frames of one size in {path}, got {' and '.join(map(str, sorted(sizes)))}")
    kept = [_not_black(part) for part in parts]
    skipped = sum(map(len, parts)) - sum(map(len, kept))
    full = [i for i, index in enumerate(kept) if len(index)]
    if not full:
        raise ValueError(f"expected frames that show something in {path}, got {skipped} that are black")
    return Recording([parts[i] for i in full], [kept[i] for i in full], skipped)


def _read(path: Path) -> Iterable[tuple[np.ndarray, Path]]:
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".npy":
        return [(_map_npy(path), path)]
    if path.suffix == ".npz":
        return [(_unpack_npz(path), path)]
    if path.suffix.lower() in VIDEOS:
        return [(_unpack(_decode_video(path), path), path)]
    kinds = f"a folder, .npy, .npz or a video ({', '.join(VIDEOS)})"
    raise ValueError(f"expected {kinds}, got {path}")


def _read_folder(folder: Path) -> Iterator[tuple[np.ndarray, Path]]:
    arrays = sorted(folder.glob("*.npy"), key=_by_number)
    pictures = sorted(folder.glob("*.png"), key=_by_number)
    folders = [each for each in sorted(folder.iterdir(), key=_by_number) if any(each.glob("*.png"))]
    if arrays:
        yield from ((_map_npy(path), path) for path in arrays)
    elif pictures:
        yield _unpack(map(_decode_png, pictures), folder), folder
    elif folders:
        for each in folders:
            yield _unpack(map(_decode_png, sorted(each.glob("*.png"), key=_by_number)), each), each
    else:
        raise FileNotFoundError(f"expected .npy files or PNGs in {folder}, there are none")


def _by_number(path: Path) -> list[Any]:
    """Sort frame-2 before frame-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _map_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no .npy file of numbers ({error})") from error


def _unpack_npz(path: Path) -> np.ndarray:
    try:
        with ZipFile(path) as archive:
            if "x.npy" not in archive.namelist():
                raise ValueError(f"expected an array 'x' of frames in {path}, got {sorted(archive.namelist())}")
            with archive.open("x.npy") as member, tempfile.NamedTemporaryFile(suffix=".npy") as file:
                while block := member.read(2**24):
                    file.write(block)
                file.flush()
                return _map_npy(Path(file.name))  # stays readable once its name is gone
    except (BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no npz file ({error})") from error


def _unpack(frames: Iterable[tuple[np.ndarray, str]], source: Path) -> np.ndarray:
    """Write frames, each with its name, to a temporary file and map it."""
    shape: tuple[int, ...] | None = None
    with tempfile.TemporaryFile() as file:
        number = 0
        for frame, name in frames:
            if shape is not None and frame.shape != shape:
                raise ValueError(f"expected frames of one size, {shape} as the first, got {frame.shape} in {name}")
            shape = frame.shape
            file.write(np.ascontiguousarray(frame).tobytes())
            number += 1
        if shape is None:
            raise ValueError(f"expected frames in {source}, got none: it is damaged, or OpenCV cannot read its codec")
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=(number, *shape))


def _decode_png(path: Path) -> tuple[np.ndarray, str]:
    frame = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if path.stat().st_size else None
    if frame is None:
        raise ValueError(f"{path} is damaged or no PNG")
    if frame.dtype != np.uint8:
        raise TypeError(f"expected 8 bits a channel, got {frame.dtype} in {path}")
    if frame.ndim == 2:
        return frame[..., None], str(path)
    return cv2.cvtColor(frame, cv2.COLOR_BGRA2RGB if frame.shape[2] == 4 else cv2.COLOR_BGR2RGB), str(path)


def _decode_video(path: Path) -> Iterator[tuple[np.ndarray, str]]:
    video = cv2.VideoCapture(str(path))
    try:
        while True:
            there, frame = video.read()
            if not there:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), str(path)
    finally:
        video.release()


def _checked(frames: np.ndarray, path: Path) -> np.ndarray:
    if frames.dtype != np.uint8:
        remedy = "(frames * 255).astype(np.uint8) if they are in [0, 1]"
        raise TypeError(f"expected frames as uint8, 0 to 255, in {path}, got {frames.dtype}: convert them, {remedy}")
    frames = frames[..., None] if frames.ndim == 3 else frames
    if frames.ndim != 4 or frames.shape[3] not in (1, 3) or not len(frames):
        raise ValueError(
            f"expected frames (frames, height, width[, 1 or 3 channels]) in {path}, got shape {frames.shape}; "
            "channel-first frames need frames.transpose(0, 2, 3, 1)"
        )
    return frames


def _not_black(frames: np.ndarray) -> Int[np.ndarray, " kept"]:
    lit = [frames[start : start + _BATCH].any(axis=(1, 2, 3)) for start in range(0, len(frames), _BATCH)]
    return np.flatnonzero(np.concatenate(lit))
