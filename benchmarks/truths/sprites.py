"""Synthetic scenes: sprites that move, and turn or not, over a background, with exact boxes of what is visible.

The sprites and the fixed backgrounds are the same for all seeds, as those of a game are.
"""

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np

from truths.truth import Game, Moment, record

SIDE = 96
"""Height and width of the frames in pixels."""
SIZES = (8, 24)
"""Smallest and largest side of a sprite in pixels, before it turns."""
COUNTS = (2, 6)
EPISODE_STEPS = 100
VISIBLE_SHARE = 0.5
"""A sprite counts if at least this share of it is uncovered."""

BACKGROUNDS = ("plain", "coloured", "textured", "changing")
"""One colour, another colour in each episode, one texture, or another texture in each episode."""
_WORLD_SEED = 7
_NUM_DESIGNS = 12


def sprites(name: str) -> Game:
    """Scenes over a background: "sprites-plain", "sprites-coloured", "sprites-textured", "sprites-changing"."""
    background = name.removeprefix("sprites-")
    if background not in BACKGROUNDS:
        raise ValueError(f"expected sprites- and a background of {', '.join(BACKGROUNDS)}, got {name!r}")
    play = partial(_play, background)
    return Game(name, partial(record, play, (0, 0, SIDE, SIDE)), play, None)


def designs() -> list[np.ndarray]:
    """The sprites, uint8 (size, size, 4), RGB and a mask of 0 and 255; as large as a turned one needs."""
    rng = np.random.default_rng(_WORLD_SEED)
    return [_design(rng, i) for i in range(_NUM_DESIGNS)]


def _design(rng: np.random.Generator, index: int) -> np.ndarray:
    # Sizes are spread evenly; sprites are brighter than any background.
    side = int(np.linspace(*SIZES, _NUM_DESIGNS)[index])
    colours = rng.integers(130, 256, (2, 3))
    rows, columns = np.indices((side, side))
    pattern = (np.zeros((side, side), int), rows // 3 % 2, (rows // 4 + columns // 4) % 2)[index % 3]
    mask = np.zeros((side, side), np.uint8)
    centre, half = (side // 2, side // 2), side // 2
    if index % 4 == 0:
        mask[:] = 255
    elif index % 4 == 1:
        cv2.ellipse(mask, centre, (half, half), 0, 0, 360, 255, -1)
    elif index % 4 == 2:
        cv2.fillPoly(mask, [np.array([(0, side - 1), (side - 1, side - 1), (half, 0)])], 255)
    else:
        cv2.ellipse(mask, centre, (half, max(half // 2, 2)), 0, 0, 360, 255, -1)
    margin = int(np.ceil(side * (2**0.5 - 1) / 2))
    return np.pad(np.dstack([colours[pattern].astype(np.uint8), mask]), ((margin, margin), (margin, margin), (0, 0)))


def _texture(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.integers(0, 90, (8, 8, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(smooth + rng.integers(0, 25, (SIDE, SIDE, 1)), 0, 120).astype(np.uint8)


def _background(kind: str, rng: np.random.Generator) -> np.ndarray:
    if kind == "plain":
        return np.full((SIDE, SIDE, 3), (40, 70, 110), np.uint8)
    if kind == "coloured":
        return np.broadcast_to(rng.integers(0, 120, 3, np.uint8), (SIDE, SIDE, 3))
    return _texture(rng if kind == "changing" else np.random.default_rng(_WORLD_SEED))


def _play(background: str, seed: int) -> Iterator[Moment]:
    rng, bank = np.random.default_rng(seed), designs()
    while True:
        yield from _episode(rng, bank, _background(background, rng))


def _episode(rng: np.random.Generator, bank: list[np.ndarray], background: np.ndarray) -> Iterator[Moment]:
    """One episode: sprites start anywhere, keep their speed and spin, and bounce off the borders."""
    chosen = rng.choice(len(bank), rng.integers(COUNTS[0], COUNTS[1] + 1), replace=False).tolist()
    room = np.array([SIDE - len(bank[i]) for i in chosen])[:, None].astype(float)
    place, speed = rng.uniform(0, 1, (len(chosen), 2)) * room, rng.uniform(-3, 3, (len(chosen), 2))
    angle, spin = rng.uniform(0, 360, len(chosen)), rng.uniform(-15, 15, len(chosen))
    still = rng.random(len(chosen)) < 0.5
    angle[still] = spin[still] = 0
    for step in range(EPISODE_STEPS):
        turned = [_turn(bank[i], degrees) for i, degrees in zip(chosen, angle, strict=True)]
        frame, boxes, indices = paint(background, turned, place.round().astype(int))
        yield Moment(frame, boxes, [f"sprite {chosen[i]}" for i in indices], step == 0)
        place, angle = place + speed, angle + spin
        speed = np.where((place < 0) | (place > room), -speed, speed)
        place = np.where(place < 0, -place, np.where(place > room, 2 * room - place, place))


def _turn(sprite: np.ndarray, degrees: float) -> np.ndarray:
    if not degrees:
        return sprite
    size = len(sprite)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(sprite, matrix, (size, size), flags=cv2.INTER_NEAREST))


def paint(
    background: np.ndarray, patches: list[np.ndarray], corners: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int, int, int]], list[int]]:
    """Paint sprites over a background, later ones over earlier ones.

    Returns:
        The frame, the box of the visible part of each sprite that counts, and the indices of those.
    """
    frame, owner = background.copy(), np.full(background.shape[:2], -1)
    for i, (patch, (row, column)) in enumerate(zip(patches, corners.tolist(), strict=True)):
        where = (slice(row, row + len(patch)), slice(column, column + len(patch)))
        solid = patch[..., 3] > 0
        frame[where][solid] = patch[..., :3][solid]
        owner[where][solid] = i
    boxes, counted = [], []
    for i, patch in enumerate(patches):
        rows, columns = np.nonzero(owner == i)
        if len(rows) >= VISIBLE_SHARE * (patch[..., 3] > 0).sum():
            top, left = int(rows.min()), int(columns.min())
            boxes.append((top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1))
            counted.append(i)
    return frame, boxes, counted
