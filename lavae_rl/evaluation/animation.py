"""Animated pictures as files."""

from collections.abc import Iterable
from pathlib import Path

import cv2

from lavae_rl.shapes import Picture


def write_gif(file: Path, frames: Iterable[tuple[Picture, int]], fps: float) -> None:
    """Writes an animated GIF that repeats forever, each picture seen for its number of frames.

    Raises:
        OSError: the file cannot be written.
    """
    # One by one: together they are large, and need not be there twice.
    shown, durations = [], []
    for picture, count in frames:
        shown.append(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        durations.append(10 * round(100 * count / fps))  # in ms, of which a GIF knows tens
    animation = cv2.Animation()
    animation.frames, animation.durations = shown, durations
    # Without dithering and with a palette of the pictures' own colours, up to 256 of them stay what they are.
    exact = [cv2.IMWRITE_GIF_DITHER, 3, cv2.IMWRITE_GIF_QUALITY, 8]
    _, encoded = cv2.imencodeanimation(".gif", animation, exact)
    file.write_bytes(encoded.tobytes())
