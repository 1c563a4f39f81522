"""Pictures, RGB uint8: rows of enlarged frames, crosses on centres, PNG and GIF files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from lavae_rl.shapes import Frames, Picture

_ZOOM, _EDGE = 3, 2
_MARK_COLOR = (255, 160, 0)


def to_bytes(mean: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Turn pixel means in [0, 1] into 0 to 255."""
    return np.rint(mean * 255).astype(np.uint8)


def frame_rows(*rows: Frames, centres: Sequence[np.ndarray] | None = None) -> Picture:
    """Rows of frames, one below the other, enlarged; ``centres`` holds the (row, column) marks of each column."""
    marks = [np.zeros((0, 2))] * len(rows[0]) if centres is None else centres
    return np.vstack([np.hstack(list(map(mark_centres, row, marks))) for row in rows])


def mark_centres(frame: UInt8[np.ndarray, "height width channels"], location: np.ndarray) -> Picture:
    """Enlarge a frame to RGB, border it in grey, and put a cross on each (row, column) location."""
    large = cv2.resize(frame, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_NEAREST)
    if frame.shape[2] == 1:
        large = cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)
    for row, column in location:
        centre = (int(column) * _ZOOM + _ZOOM // 2, int(row) * _ZOOM + _ZOOM // 2)
        cv2.drawMarker(large, centre, (0, 0, 0), cv2.MARKER_CROSS, 4 * _ZOOM, 3)
        cv2.drawMarker(large, centre, _MARK_COLOR, cv2.MARKER_CROSS, 4 * _ZOOM, 1)
    return cv2.copyMakeBorder(large, _EDGE, _EDGE, _EDGE, _EDGE, cv2.BORDER_CONSTANT, value=(96, 96, 96))


def save_png(path: str | Path, picture: Picture) -> None:
    """Write an RGB picture. Raises OSError where the file cannot be written."""
    # Not cv2.imwrite: it returns False, or raises its own error, without saying what is wrong.
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    Path(path).write_bytes(encoded.tobytes())


def write_gif(file: Path, frames: Iterable[tuple[Picture, int]], fps: float) -> None:
    """Write an animated GIF that repeats forever, each picture shown for its number of frames.

    Raises OSError where the file cannot be written.
    """
    animation = cv2.Animation()
    # One by one: together they are large, and need not be there twice.
    shown = [(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), count) for picture, count in frames]
    animation.frames = [picture for picture, _ in shown]
    animation.durations = [10 * round(100 * count / fps) for _, count in shown]  # in ms; a GIF stores hundredths
    # Without dithering and with a palette of the pictures' own colours, up to 256 of them stay what they are.
    exact = [cv2.IMWRITE_GIF_DITHER, 3, cv2.IMWRITE_GIF_QUALITY, 8]
    _, encoded = cv2.imencodeanimation(".gif", animation, exact)
    file.write_bytes(encoded.tobytes())
