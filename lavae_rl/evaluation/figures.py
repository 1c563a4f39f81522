"""Frames, what a model finds in them, and what it is built on, as pictures: RGB, enlarged three times."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.moved import moved_names
from lavae_rl.pictures import captioned, frame_rows, mark_boxes, stacked, to_bytes
from lavae_rl.shapes import Frames, Picture

BRIGHTEST_NATS = 20
"""Surprise from which on a pixel is shown as brightest."""

_NO_BOXES = np.zeros((0, 4), int)
_IGNORED_COLOR = (200, 0, 0)

__getattr__ = moved_names(__name__)


def reconstruction_figure(model: LAVAE | ConvVAE, frames: Frames) -> Picture:
    """Frames above, reconstructions below, with the centres of the objects found marked on both."""
    mean, centres = model.reconstruct(frames)
    return frame_rows(frames, to_bytes(mean), centres=centres)


def detection_figure(model: LAVAE, frames: Frames) -> Picture:
    """Frames above with the box of each object, in the colour of its scale; reconstructions below."""
    objects, (mean, _) = model.encode(frames), model.reconstruct(frames)
    color = np.asarray(np.searchsorted(model.config.scales, objects.scale))
    found = zip(frames, objects.box, color, objects.mask, strict=True)
    marked = [mark_boxes(frame, box[mask], color[mask]) for frame, box, color, mask in found]
    return np.vstack([np.hstack(marked), frame_rows(to_bytes(mean))])


def background_figure(
    pictures: UInt8[np.ndarray, "pictures height width channels"],
    ignored: Bool[np.ndarray, "height width"],
    windows: Sequence[int],
    frames: Frames,
    nats: Float[np.ndarray, "batch height width"],
    boxes: Sequence[Int[np.ndarray, "_ 4"]],
) -> Picture:
    """Draw what a model of an environment is built on, in three rows with captions.

    The rows are pictures of the background and, on the first of them, windows and ignored area; frames with the
    boxes of components; and the surprise of each pixel.

    Args:
        pictures: what the background can be, the most usual first.
        ignored: pixels that are never looked at.
        windows: sides in pixels of the windows of all scales, ascending.
        frames: some of the environment's.
        nats: surprise of their pixels under the background.
        boxes: (row, column, height, width) in pixels of the components of each frame.
    """
    sides = ", ".join(map(str, windows))
    plain = [mark_boxes(picture, _NO_BOXES) for picture in pictures]
    marked = [mark_boxes(frame, box) for frame, box in zip(frames, boxes, strict=True)]
    first = f"the background; windows of {sides} px" + (", ignored pixels red" if ignored.any() else "")
    return stacked(
        [
            captioned(first, [*plain, _windows(pictures[0], ignored, windows)]),
            captioned("frames and the components of what surprises", marked),
            captioned(f"surprise: black 0, white {BRIGHTEST_NATS} nats and more", [_heat(each) for each in nats]),
        ]
    )


def _windows(
    background: UInt8[np.ndarray, "height width channels"],
    ignored: Bool[np.ndarray, "height width"],
    windows: Sequence[int],
) -> Picture:
    """Windows of all scales around the middle of a darkened background."""
    dark = np.broadcast_to(background // 3, (*ignored.shape, 3)).copy()
    dark[ignored] = _IGNORED_COLOR
    side, middle = np.array(windows)[:, None], np.array(ignored.shape) // 2
    box = np.concatenate([middle - side // 2, np.broadcast_to(side, (len(windows), 2))], axis=1)
    return mark_boxes(dark, box, np.arange(len(windows)))


def _heat(nats: Float[np.ndarray, "height width"]) -> Picture:
    bright = np.rint(np.clip(nats / BRIGHTEST_NATS, 0, 1) * 255).astype(np.uint8)
    return mark_boxes(cv2.cvtColor(cv2.applyColorMap(bright, cv2.COLORMAP_HOT), cv2.COLOR_BGR2RGB), _NO_BOXES)
