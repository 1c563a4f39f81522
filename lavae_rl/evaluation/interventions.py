"""Interventions: change one latent variable of one object and see what changes in the picture, and what does not."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lavae_rl.evaluation.metrics import match_locations
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.shapes import Frames

_TRIES = 50


@dataclass(frozen=True)
class MoveErrors:
    """What re-encoding says after one object of each scene was moved.

    Attributes:
        scenes: scenes in which an object was moved.
        no_room: scenes left out, since there was no room or no object.
        count_kept: fraction of scenes that still hold as many objects.
        moved_px: mean distance of the moved object from where it was put.
        moved_appearance: root mean square change of its appearance, per latent.
        others_px: mean distance of the other objects from where they were.
        others_appearance: root mean square change of their appearance, per latent.
        unrelated_appearance: the same between two objects taken at random, for comparison.
    """

    scenes: int
    no_room: int
    count_kept: float
    moved_px: float
    moved_appearance: float
    others_px: float
    others_appearance: float
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
    after, chosen = before, []
    for scene in np.flatnonzero(before.count).tolist():
        slot = int(rng.integers(before.count[scene]))
        if (place := _free_place(rng, model.config.sprite_size, before, scene, slot)) is not None:
            after = move(after, scene, slot, place)
            chosen.append((scene, slot))
    if not chosen:
        raise ValueError("expected at least one scene with an object that has room to move, got none")
    again = model.encode((pixel_means(model, after) > 0.5) * np.uint8(255))  # the likeliest frames
    moved: list[tuple[float, np.ndarray]] = []
    others: list[tuple[float, np.ndarray]] = []
    kept = 0
    for scene, slot in chosen:
        count = int(before.count[scene])
        kept += int(again.count[scene] == count)
        expected, found = match_locations(after.location[scene, :count], again.location[scene, : again.count[scene]])
        for i, j in zip(expected, found, strict=True):
            change = again.location[scene, j] - after.location[scene, i]
            pair = (float(np.linalg.norm(change)), again.appearance[scene, j] - after.appearance[scene, i])
            (moved if i == slot else others).append(pair)
    looks = before.appearance[before.mask]
    return MoveErrors(
        scenes=len(chosen),
        no_room=len(frames) - len(chosen),
        count_kept=kept / len(chosen),
        moved_px=_mean_distance(moved),
        moved_appearance=_rms([change for _, change in moved]),
        others_px=_mean_distance(others),
        others_appearance=_rms([change for _, change in others]),
        unrelated_appearance=_rms([looks - looks[rng.permutation(len(looks))]]),
    )


def _free_place(rng: np.random.Generator, size: int, objects: Objects, scene: int, slot: int) -> tuple[int, int] | None:
    others: Int[np.ndarray, "others 2"] = np.delete(objects.location[scene, : objects.count[scene]], slot, axis=0)
    half, (height, width) = size // 2, objects.canvas_size
    for _ in range(_TRIES):
        row, column = int(rng.integers(half, height - half)), int(rng.integers(half, width - half))
        if (np.abs(others - [row, column]).max(axis=1, initial=0) >= size).all():
            return row, column
    return None


def _mean_distance(pairs: list[tuple[float, np.ndarray]]) -> float:
    return float(np.mean([distance for distance, _ in pairs])) if pairs else float("nan")


def _rms(changes: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.square(np.concatenate(changes))))) if changes else float("nan")
