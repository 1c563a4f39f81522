"""Interventions: change one latent variable of one object and see what changes in the picture, and what does not."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lavae_rl.data.scenes import MARGIN, apart
from lavae_rl.data.sprites import tight_boxes
from lavae_rl.evaluation.agreement import match_locations
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.shapes import Frames

_TRIES = 50

Change = tuple[float, np.ndarray]
"""Change of an object: distance in pixels, difference of appearances."""


@dataclass(frozen=True)
class MoveErrors:
    """Errors after one object of each scene was moved and the scene was drawn and encoded again."""

    scenes: int
    """Scenes in which an object was moved."""
    no_room: int
    """Scenes left out, since there was no room or no object."""
    count_kept: float
    """Fraction of scenes that still hold as many objects."""
    lost: float
    """Fraction of their objects that are not found again within half a sprite; left out of what follows."""
    moved_px: float | None
    """Mean distance of the moved object from where it was put; None if it is always lost."""
    moved_appearance: float | None
    """Root mean square change of its appearance, per latent; None likewise."""
    others_px: float | None
    """Mean distance of the other objects from where they were; None if there are none."""
    others_appearance: float | None
    """Root mean square change of their appearance, per latent; None likewise."""
    unrelated_appearance: float
    """The same between two objects taken at random, for comparison."""


def move(objects: Objects, scene: int, slot: int, location: tuple[int, int]) -> Objects:
    """Move one object to a (row, column) in pixels."""
    moved = objects.location.copy()
    moved[scene, slot] = location
    return dataclasses.replace(objects, location=moved)


def swap_locations(objects: Objects, scene: int, first: int, second: int) -> Objects:
    """Exchange the locations of two objects: the paper's change of order."""
    swapped = objects.location.copy()
    swapped[scene, [first, second]] = swapped[scene, [second, first]]
    return dataclasses.replace(objects, location=swapped)


def change_appearance(objects: Objects, scene: int, slot: int, appearance: Float[np.ndarray, " latents"]) -> Objects:
    """Give one object another appearance."""
    changed = objects.appearance.copy()
    changed[scene, slot] = appearance
    return dataclasses.replace(objects, appearance=changed)


def pixel_means(model: LAVAE, objects: Objects) -> Float[np.ndarray, "batch height width channels"]:
    """Draw objects: pixel means in [0, 1]."""
    return np.asarray(model.decode(objects.numpy()))


def measure_moves(model: LAVAE, frames: Frames, seed: int = 0) -> MoveErrors:
    """Move one object of each scene to a random free place, draw the scene and encode it again.

    Scenes without objects, or without room, are counted and left out. Raises ValueError where none is left.
    """
    rng = np.random.default_rng(seed)
    before = model.encode(frames)
    lit = model.decode_sprites(before).max(axis=4) > 0.5
    relative = tight_boxes(lit) - lit.shape[2] // 2
    after, chosen = _moved(rng, before, np.where(lit.any(axis=(2, 3))[..., None], relative, 0))
    if not chosen:
        raise ValueError("expected at least one scene with an object that has room to move, got none")
    again = model.encode((pixel_means(model, after) > 0.5) * np.uint8(255))  # the likeliest frames
    moved: list[Change] = []
    others: list[Change] = []
    for scene, slot in chosen:
        there, found = (objects.location[scene, : objects.count[scene]] for objects in (after, again))
        for i, j in zip(*match_locations(there, found, model.config.sprite_size / 2), strict=True):
            change = again.appearance[scene, j] - after.appearance[scene, i]
            (moved if i == slot else others).append((float(np.linalg.norm(found[j] - there[i])), change))
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
    """Move an object of each scene to a free place, and return which: (scene, slot), where there is room.

    The boxes (top, left, bottom, right) of what objects show are relative to their centres.
    """
    chosen = []
    for scene in np.flatnonzero(objects.count).tolist():
        slot = int(rng.integers(objects.count[scene]))
        if (place := _free_place(rng, boxes[scene], objects, scene, slot)) is not None:
            objects = move(objects, scene, slot, place)
            chosen.append((scene, slot))
    return objects, chosen


def _free_place(
    rng: np.random.Generator, boxes: Int[np.ndarray, "slots 4"], objects: Objects, scene: int, slot: int
) -> tuple[int, int] | None:
    """A place inside the canvas at which an object keeps its distance from the others, as in the data sets."""
    count, canvas = int(objects.count[scene]), np.array(objects.canvas_size)
    low = np.maximum(-boxes[slot, :2], 0)
    high = np.minimum(canvas - boxes[slot, 2:], canvas - 1)
    if (low > high).any():
        return None
    kept_apart = boxes[:count] + MARGIN
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
