"""Objects and their sprites, drawn over a rendered frame."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.shapes import Picture

_COLOR = (255, 160, 0)
_TILE = 48


def draw_objects(
    picture: UInt8[np.ndarray, "height width 3"],
    objects: Objects,
    model: LAVAE,
    area: Sequence[float] = (0.0, 0.0, 1.0, 1.0),
) -> UInt8[np.ndarray, "taller width 3"]:
    """Mark one frame's objects, NumPy, with their slots on a picture, and add a strip of their decoded sprites.

    A cross marks the centre of each object; of models with a background, whose objects differ in size, its box does.

    Args:
        picture: an rgb_array frame of any size.
        objects: what the model found in the frame.
        model: decodes the sprites.
        area: (top, left, height, width) of the canvas in the picture, as shares of the picture's sides.
    """
    marked = picture.copy()
    sides = np.array(picture.shape[:2])
    origin, scale = area[:2] * sides, area[2:] * sides / objects.canvas_size
    for slot in np.flatnonzero(objects.mask[0]):
        row, column, height, width = objects.box[0, slot]
        if model.config.canvas_size is not None:
            (top, left), (bottom, right) = (
                (origin + np.array(corner) * scale).astype(int).tolist()
                for corner in ((row, column), (row + height, column + width))
            )
            cv2.rectangle(marked, (left - 1, top - 1), (right, bottom), _COLOR, 1)
            _write(marked, str(slot), (right + 2, top + 3))
        else:
            row, column = (origin + (objects.location[0, slot] + 0.5) * scale).astype(int).tolist()
            cv2.drawMarker(marked, (column, row), (0, 0, 0), cv2.MARKER_CROSS, 9, 3)
            cv2.drawMarker(marked, (column, row), _COLOR, cv2.MARKER_CROSS, 9, 1)
            _write(marked, str(slot), (column + 4, row - 3))
    return np.concatenate([marked, _sprite_strip(objects, model, picture.shape[1])])


def _sprite_strip(objects: Objects, model: LAVAE, width: int) -> Picture:
    """Draw one tile per slot, as many to a row as fit the width."""
    slots = objects.mask.shape[1]
    columns = max(1, width // _TILE)
    strip = np.full((-(-slots // columns) * _TILE, width, 3), 32, np.uint8)
    sprites = model.decode_sprites(objects)[0]
    for slot in range(slots):
        top, left = slot // columns * _TILE, slot % columns * _TILE
        tile = cv2.resize(sprites[slot], (_TILE - 2, _TILE - 2), interpolation=cv2.INTER_NEAREST)
        place = strip[top : top + _TILE - 2, left : left + _TILE - 2]
        place[:] = np.rint(tile.reshape(_TILE - 2, _TILE - 2, -1) * 255)[:, : place.shape[1]]
        _write(strip, str(slot), (left + 2, top + 11))
    return strip


def _write(picture: Picture, text: str, corner: tuple[int, int]) -> None:
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_PLAIN, 0.8, (0, 0, 0), 3)
    cv2.putText(picture, text, corner, cv2.FONT_HERSHEY_PLAIN, 0.8, _COLOR, 1)
