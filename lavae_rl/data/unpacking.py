"""Frames that NumPy cannot map, unpacked once into temporary .npy files: videos, PNGs and compressed arrays."""

import atexit
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lavae_rl.data.arrays import KIND, MAGIC, check_header, first_bytes
from lavae_rl.data.npy import write_frames
from lavae_rl.runs.archives import open_zip
from lavae_rl.runs.reading import check_file

VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif")
_MOST_PIXELS = 2**26
_COMPLETE = 0.9
"""Smallest share of the frames that a video announces, which are often not counted exactly."""


def unpack(path: Path) -> Sequence[Path]:
    """Unpack a video, an .npz file or a folder of PNGs into .npy files, one for each episode, kept until the exit.

    A second call for the same unchanged files returns the same .npy files. They lie in the folder for temporary files
    (``TMPDIR``) and need as many bytes as the frames have values.

    Raises:
        FileNotFoundError: a folder without PNGs.
        TypeError: PNGs of 16 bits.
        ValueError: files that are damaged or of another kind, or frames of changing size.
    """
    if not path.is_dir():
        check_file(path)
    files = [path] if path.is_file() else [file for episode in _png_episodes(path) for file in episode]
    return _unpack(path, tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files))


def is_npz(path: Path) -> bool:
    """Return whether a file is an .npz: by its content, or, where that is neither .npz nor .npy, by its name."""
    start = first_bytes(path)
    return start.startswith(b"PK") or (path.suffix.lower() == ".npz" and start != MAGIC)


@lru_cache(maxsize=16)
def _unpack(path: Path, stamp: tuple[tuple[str, int, int], ...]) -> Sequence[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lavae-frames-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if path.is_file() and is_npz(path):
        return [_extract(path, folder / "x.npy")]
    episodes = [_decode_video(path)] if path.is_file() else map(_decode_pngs, _png_episodes(path))
    targets: list[Path] = []
    first: list[tuple[tuple[int, ...], Path]] = []
    for i, frames in enumerate(episodes):
        targets.append(folder / f"{i:05d}.npy")
        write_frames(targets[-1], _of_one_size(frames, first, path))
    return targets


def _of_one_size(
    frames: Iterator[tuple[np.ndarray, Path]], first: list[tuple[tuple[int, ...], Path]], source: Path
) -> Iterator[np.ndarray]:
    """Yield frames, under a progress bar if it takes long; all have the size in ``first``, or the first one sets it."""
    for frame, path in tqdm(frames, f"unpacking {source}", unit=" frames", delay=2, leave=False, disable=None):
        if not first:
            first.append((frame.shape, path))
        if frame.shape != first[0][0]:
            raise ValueError(
                f"expected frames of one size, got (height, width, channels) {first[0][0]} in {first[0][1]} and "
                f"{frame.shape} in {path}"
            )
        yield frame


def natural(path: Path) -> list[int | str]:
    """Sorting key by which frame-2 comes before frame-10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _png_episodes(folder: Path) -> list[list[Path]]:
    def pngs(folder: Path) -> list[Path]:
        return sorted((file for file in folder.iterdir() if file.suffix.lower() == ".png"), key=natural)

    folders = sorted((each for each in folder.iterdir() if each.is_dir()), key=natural)
    episodes = [found for each in (folder, *folders) if (found := pngs(each))]
    if not episodes:
        raise FileNotFoundError(f"expected .npy files, PNGs or folders of PNGs in {folder}, there are none")
    if len(episodes) > 1 and episodes[0][0].parent == folder:
        raise ValueError(f"expected PNGs either in {folder} or in its folders, one for each episode, got both")
    return episodes


def _extract(path: Path, target: Path) -> Path:
    with open_zip(path, KIND) as archive:
        if "x.npy" not in archive.namelist():
            raise ValueError(f"expected an array 'x' of frames in {path}, got {sorted(archive.namelist())}")
        check_header(archive, "x.npy")
        with archive.open("x.npy") as member, target.open("wb") as file:
            shutil.copyfileobj(member, file, 2**24)
    return target


def _decode_pngs(paths: Iterable[Path]) -> Iterator[tuple[np.ndarray, Path]]:
    for path in paths:
        check_file(path)
        frame = _decode_png(np.fromfile(path, np.uint8))
        if frame is None:
            raise ValueError(f"{path} is damaged or no PNG of at most {_MOST_PIXELS:,} pixels")
        if frame.dtype != np.uint8:
            raise TypeError(f"expected 8 bits a channel, got {frame.dtype} in {path}: save it with 8")
        if frame.ndim == 2:
            frame = frame[..., None]
        elif frame.shape[2] > 1:
            frame = cv2.cvtColor(frame, cv2.COLOR_BGRA2RGB if frame.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        yield frame, path


def _decode_png(data: np.ndarray) -> np.ndarray | None:
    """The pixels of a PNG file; None if it is damaged, or its header claims too many pixels."""
    height, width = int.from_bytes(data[20:24].tobytes(), "big"), int.from_bytes(data[16:20].tobytes(), "big")
    if len(data) < 24 or height * width > _MOST_PIXELS:
        return None
    try:
        return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _decode_video(path: Path) -> Iterator[tuple[np.ndarray, Path]]:
    video, number = cv2.VideoCapture(str(path)), 0
    try:
        announced = video.get(cv2.CAP_PROP_FRAME_COUNT)
        while True:
            there, frame = video.read()
            if not there:
                break
            number += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), path
    finally:
        video.release()
    if number < max(1.0, _COMPLETE * announced):
        raise ValueError(
            f"{path} is damaged, or OpenCV cannot read its codec: got {number} frames of {max(0, announced):.0f}; "
            "record it again, or convert it by ffmpeg"
        )
