"""Pictures, RGB uint8: rows of enlarged frames, centres and boxes marked, PNG and GIF files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from lavae_rl.runs.atomic import replacing
from lavae_rl.shapes import Frames, Picture

BOX_COLORS = ((0, 200, 255), (255, 90, 220), (130, 255, 60), (255, 160, 0))
"""RGB colours of boxes, which differ on most frames."""

_ZOOM, _EDGE, _CAPTION = 3, 2, 22
_MARK_COLOR = (255, 160, 0)
_AnyPicture = UInt8[np.ndarray, "_ _ 3"]


def to_bytes(mean: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Turn pixel means in [0, 1] into 0 to 255."""
    return np.rint(mean * 255).astype(np.uint8)


def frame_rows(*rows: Frames, centres: Sequence[np.ndarray] | None = None) -> Picture:
    """Rows of frames, one below the other, enlarged; ``centres`` holds the (row, column) marks of each column."""
    marks = [np.zeros((0, 2))] * len(rows[0]) if centres is None else centres
    return np.vstack([np.hstack(list(map(mark_centres, row, marks))) for row in rows])


def mark_centres(frame: UInt8[np.ndarray, "height width channels"], location: np.ndarray) -> Picture:
    """Enlarge a frame to RGB, border it in grey, and put a cross on each (row, column) location."""
    large = _enlarge(frame)
    for row, column in location:
        centre = (int(column) * _ZOOM + _ZOOM // 2, int(row) * _ZOOM + _ZOOM // 2)
        cv2.drawMarker(large, centre, (0, 0, 0), cv2.MARKER_CROSS, 4 * _ZOOM, 3)
        cv2.drawMarker(large, centre, _MARK_COLOR, cv2.MARKER_CROSS, 4 * _ZOOM, 1)
    return _border(large)


def mark_boxes(
    frame: UInt8[np.ndarray, "height width channels"],
    box: Int[np.ndarray, "boxes 4"],
    color: Int[np.ndarray, " boxes"] | None = None,
) -> Picture:
    """Enlarge a frame to RGB, border it in grey, and draw boxes around pixels that stay visible.

    Args:
        frame: grey or RGB.
        box: (row, column, height, width) in pixels of the frame.
        color: number of each box's colour in ``BOX_COLORS``, which repeat; by default the first.
    """
    large = _enlarge(frame)
    chosen = np.zeros(len(box), int) if color is None else color % len(BOX_COLORS)
    for (row, column, height, width), index in zip((box * _ZOOM).tolist(), chosen.tolist(), strict=True):
        cv2.rectangle(large, (column - 1, row - 1), (column + width, row + height), BOX_COLORS[index], 1)
    return _border(large)


def captioned(text: str, panels: Sequence[_AnyPicture]) -> Picture:
    """Put panels of one height beside each other, and a line of text above them."""
    row = np.hstack(list(panels))
    line = np.full((_CAPTION, row.shape[1], 3), 32, np.uint8)
    cv2.putText(line, text, (4, _CAPTION - 7), cv2.FONT_HERSHEY_PLAIN, 1.0, (224, 224, 224), 1, cv2.LINE_AA)
    return np.vstack([line, row])


def stacked(pictures: Sequence[_AnyPicture]) -> Picture:
    """Put pictures below each other, the narrower ones filled up in dark grey at their right."""
    width = max(picture.shape[1] for picture in pictures)
    wide = [np.full((picture.shape[0], width, 3), 32, np.uint8) for picture in pictures]
    for place, picture in zip(wide, pictures, strict=True):
        place[:, : picture.shape[1]] = picture
    return np.vstack(wide)


def _enlarge(frame: UInt8[np.ndarray, "height width channels"]) -> Picture:
    large = cv2.resize(frame, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_NEAREST)
    return cv2.cvtColor(large, cv2.COLOR_GRAY2RGB) if frame.shape[2] == 1 else large


def _border(picture: _AnyPicture) -> Picture:
    return cv2.copyMakeBorder(picture, _EDGE, _EDGE, _EDGE, _EDGE, cv2.BORDER_CONSTANT, value=(96, 96, 96))


def save_png(path: str | Path, picture: Picture) -> None:
    """Write an RGB picture as a whole. Raises OSError where the file cannot be written."""
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(png(picture))


def png(picture: Picture) -> bytes:
    """Encode an RGB picture as PNG."""
    # Not cv2.imwrite: it returns False, or raises its own error, without saying what is wrong.
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def write_gif(file: Path, frames: Iterable[tuple[Picture, int]], fps: float) -> None:
    """Write an animated GIF as a whole, see ``gif``. Raises OSError where the file cannot be written."""
    with replacing(file) as temporary:
        temporary.write_bytes(gif(frames, fps))


def gif(frames: Iterable[tuple[Picture, int]], fps: float) -> bytes:
    """Encode an animated GIF that repeats forever, each picture shown for its number of frames."""
    animation = cv2.Animation()
    # One by one: together they are large, and need not be there twice.
    shown = [(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), count) for picture, count in frames]
    animation.frames = [picture for picture, _ in shown]
    animation.durations = [10 * round(100 * count / fps) for _, count in shown]  # in ms; a GIF stores hundredths
    # Without dithering and with a palette of the pictures' own colours, up to 256 of them stay what they are.
    exact = [cv2.IMWRITE_GIF_DITHER, 3, cv2.IMWRITE_GIF_QUALITY, 8]
    _, encoded = cv2.imencodeanimation(".gif", animation, exact)
    return encoded.tobytes()
