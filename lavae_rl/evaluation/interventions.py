"""Interventions: change one latent variable of one object and see what changes in the picture, and what does not."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lavae_rl.data.scenes import GAP, apart
from lavae_rl.evaluation.agreement import match_locations
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.shapes import Frames

_TRIES = 50

Change = tuple[float, np.ndarray]
"""Of an object: distance in pixels, difference of appearances."""


@dataclass(frozen=True)
class MoveErrors:
    """What re-encoding says after one object of each scene was moved.

    Attributes:
        scenes: scenes in which an object was moved.
        no_room: scenes left out, since there was no room or no object.
        count_kept: fraction of scenes that still hold as many objects.
        lost: fraction of their objects that are not found again within half a sprite; left out of what follows.
        moved_px: mean distance of the moved object from where it was put; None if it is always lost.
        moved_appearance: root mean square change of its appearance, per latent; None likewise.
        others_px: mean distance of the other objects from where they were; None if there are none.
        others_appearance: root mean square change of their appearance, per latent; None likewise.
        unrelated_appearance: the same between two objects taken at random, for comparison.
    """

    scenes: int
    no_room: int
    count_kept: float
    lost: float
    moved_px: float | None
    moved_appearance: float | None
    others_px: float | None
    others_appearance: float | None
    unrelated_appearance: float


def move(objects: Objects, scene: int, slot: int, location: tuple[int, int]) -> Objects:
    """The same objects, one of them elsewhere: (row, column) in pixels."""
    moved = objects.location.copy()
    moved[scene, slot] = location
    return dataclasses.replace(objects, location=moved)


def swap_locations(objects: Objects, scene: int, first: int, second: int) -> Objects:
    """The same objects, two of them with each other's location: the paper's change of order."""
    swapped = objects.location.copy()
    swapped[scene, [first, second]] = swapped[scene, [second, first]]
    return dataclasses.replace(objects, location=swapped)


def change_appearance(objects: Objects, scene: int, slot: int, appearance: Float[np.ndarray, " latents"]) -> Objects:
    """The same objects, one of them with another look."""
    changed = objects.appearance.copy()
    changed[scene, slot] = appearance
    return dataclasses.replace(objects, appearance=changed)


def pixel_means(model: LAVAE, objects: Objects) -> Float[np.ndarray, "batch height width channels"]:
    """What objects look like, in [0, 1]."""
    return np.asarray(model.decode(objects.numpy()))


def measure_moves(model: LAVAE, frames: Frames, seed: int = 0) -> MoveErrors:
    """Moves one object of each scene to a random free place, draws the scene and encodes it again.

    Args:
        model: in evaluation mode.
        frames: scenes; those without objects, or without room, are counted and left out.
        seed: of the choice of objects and places.

    Raises:
        ValueError: no scene has an object with room to move.
    """
    rng = np.random.default_rng(seed)
    before = model.encode(frames)
    after, chosen = _moved(rng, before, _boxes(model.decode_sprites(before)))
    if not chosen:
        raise ValueError("expected at least one scene with an object that has room to move, got none")
    again = model.encode((pixel_means(model, after) > 0.5) * np.uint8(255))  # the likeliest frames
    moved: list[Change] = []
    others: list[Change] = []
    for scene, slot in chosen:
        for i, change in _changes(after, again, scene, model.config.sprite_size / 2):
            (moved if i == slot else others).append(change)
    scenes = [scene for scene, _ in chosen]
    looks = before.appearance[before.mask]
    return MoveErrors(
        scenes=len(chosen),
        no_room=len(frames) - len(chosen),
        count_kept=float((again.count[scenes] == before.count[scenes]).mean()),
        lost=1 - (len(moved) + len(others)) / int(before.count[scenes].sum()),
        moved_px=_mean_distance(moved),
        moved_appearance=_rms_change(moved),
        others_px=_mean_distance(others),
        others_appearance=_rms_change(others),
        unrelated_appearance=_rms(looks - looks[rng.permutation(len(looks))]),
    )


def _moved(
    rng: np.random.Generator, objects: Objects, boxes: Int[np.ndarray, "batch slots 4"]
) -> tuple[Objects, list[tuple[int, int]]]:
    """The objects, one of each scene in a free place, and which: (scene, slot). Scenes without room are left out."""
    chosen = []
    for scene in np.flatnonzero(objects.count).tolist():
        slot = int(rng.integers(objects.count[scene]))
        if (place := _free_place(rng, boxes[scene], objects, scene, slot)) is not None:
            objects = move(objects, scene, slot, place)
            chosen.append((scene, slot))
    return objects, chosen


def _changes(drawn: Objects, again: Objects, scene: int, radius: float) -> Iterator[tuple[int, Change]]:
    """Slot and change of each object of a scene that is found again within a radius."""
    there, found = (objects.location[scene, : objects.count[scene]] for objects in (drawn, again))
    for i, j in zip(*match_locations(there, found, radius), strict=True):
        distance = float(np.linalg.norm(found[j] - there[i]))
        yield int(i), (distance, again.appearance[scene, j] - drawn.appearance[scene, i])


def _boxes(sprites: Float[np.ndarray, "batch slots size size channels"]) -> Int[np.ndarray, "batch slots 4"]:
    """(top, left, bottom, right) of what each sprite shows, relative to its centre; nothing shown is an empty box."""
    lit, half = sprites.max(axis=4) > 0.5, sprites.shape[2] // 2
    sides = []
    for along in (lit.any(axis=3), lit.any(axis=2)):  # rows, columns
        any_lit = along.any(axis=2)
        first, last = along.argmax(axis=2), along.shape[2] - along[..., ::-1].argmax(axis=2)
        sides.append([np.where(any_lit, side - half, 0) for side in (first, last)])
    (top, bottom), (left, right) = sides
    return np.stack([top, left, bottom, right], axis=2)


def _free_place(
    rng: np.random.Generator, boxes: Int[np.ndarray, "slots 4"], objects: Objects, scene: int, slot: int
) -> tuple[int, int] | None:
    """A place inside the canvas at which an object keeps its distance from the others, as in the data sets."""
    count, canvas = int(objects.count[scene]), np.array(objects.canvas_size)
    low = np.maximum(-boxes[slot, :2], 0)
    high = np.minimum(canvas - boxes[slot, 2:], canvas - 1)
    if (low > high).any():
        return None
    kept_apart = boxes[:count] + np.array([0, 0, 2 * GAP, 2 * GAP])
    others = np.delete(kept_apart + np.tile(objects.location[scene, :count], 2), slot, axis=0)
    for row, column in rng.integers(low, high + 1, size=(_TRIES, 2)).tolist():
        if apart(kept_apart[slot] + np.array([row, column, row, column]), others).all():
            return row, column
    return None


def _mean_distance(pairs: list[Change]) -> float | None:
    return float(np.mean([distance for distance, _ in pairs])) if pairs else None


def _rms_change(pairs: list[Change]) -> float | None:
    return _rms(np.concatenate([change for _, change in pairs])) if pairs else None


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
