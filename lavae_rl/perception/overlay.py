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

    A cross marks the centre of each object; of models with a background, whose objects differ in size, also its box.

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
        if model.config.canvas_size is not None:
            corner, extent = objects.box[0, slot, :2], objects.box[0, slot, 2:]
            first, last = ((origin + each * scale).astype(int)[::-1].tolist() for each in (corner, corner + extent))
            cv2.rectangle(marked, [first[0] - 1, first[1] - 1], last, _COLOR, 1)
        row, column = (origin + (objects.location[0, slot] + 0.5) * scale).astype(int)
        centre = (int(column), int(row))
        cv2.drawMarker(marked, centre, (0, 0, 0), cv2.MARKER_CROSS, 9, 3)
        cv2.drawMarker(marked, centre, _COLOR, cv2.MARKER_CROSS, 9, 1)
        _write(marked, str(slot), (centre[0] + 4, centre[1] - 3))
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
