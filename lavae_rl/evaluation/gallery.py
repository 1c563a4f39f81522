"""The paper's figures for any model, each of them one picture of enlarged frames."""

import numpy as np
import torch

from lavae_rl.evaluation.interventions import change_appearance, move, pixel_means, swap_locations
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.pictures import frame_rows, to_bytes
from lavae_rl.shapes import Frames, Picture

STEPS = 8
"""Frames of a traversal."""


def inference(model: LAVAE, frames: Frames) -> Picture:
    """Figures 1, 5 and 8: scene, canvas of locations, then each object's sprite, decoded by itself; a row per scene."""
    objects = model.encode(frames)
    canvas = np.zeros_like(frames)
    canvas[np.nonzero(objects.mask)[0], *objects.location[objects.mask].T] = 255
    sprites = to_bytes(model.decode_sprites(objects))
    size, (height, width) = sprites.shape[2], objects.canvas_size
    shown = np.zeros((*sprites.shape[:2], height, width, frames.shape[3]), np.uint8)
    row, column = (height - size) // 2, (width - size) // 2
    shown[:, :, row : row + size, column : column + size] = sprites
    return frame_rows(*(np.concatenate([frames[i : i + 1], canvas[i : i + 1], shown[i]]) for i in range(len(frames))))


def samples(
    model: LAVAE | ConvVAE, rows: int, columns: int, seed: int = 0, canvas_size: tuple[int, int] = (64, 64)
) -> Picture:
    """Figures 2 and 4: a grid of ancestral samples from the prior, pixels at their means."""
    generator = torch.Generator(model.device).manual_seed(seed)
    return _grid(model.sample_means(rows * columns, canvas_size, generator).cpu().numpy(), rows)


def counted_samples(
    model: LAVAE, most: int, rows: int, seed: int = 0, canvas_size: tuple[int, int] = (64, 64)
) -> Picture:
    """Figure 9: samples with 0 to ``most`` objects, one column for each number; the prior p(n) made uniform."""
    generator = torch.Generator(model.device).manual_seed(seed)
    columns = [pixel_means(model, model.sample_objects(rows, n, canvas_size, generator)) for n in range(most + 1)]
    return _grid(np.concatenate(np.stack(columns, axis=1)), rows)


def interventions(model: LAVAE, frame: Frames, seed: int = 0) -> Picture:
    """Figures 3, 6, 7 and 8, on one frame of at least two objects. Each row changes one thing, beginning as inferred.

    Rows: the first object walks to the right and back in; the objects swap places in turn; the widest latent of the
    first object's appearance goes from -2 to 2; the first object takes appearances drawn from the prior.
    Raises ValueError where fewer than two objects are found.
    """
    found = model.encode(frame)
    count = int(found.count[0])
    if count < 2:
        raise ValueError(f"expected a scene in which at least two objects are found, got {count}")
    (row, column), width = found.location[0, 0], found.canvas_size[1]
    walk = [move(found, 0, 0, (int(row), int((column + i * width // STEPS) % width))) for i in range(STEPS)]
    swaps = [found, *(swap_locations(found, 0, i % count, (i + 1) % count) for i in range(STEPS - 1))]
    varied = np.tile(found.appearance[0, 0], (STEPS, 1))
    # The latent of the least posterior variance is the one that is used most.
    varied[:, found.appearance_variance[0, 0].argmin()] = np.linspace(-2, 2, STEPS)
    drawn = np.random.default_rng(seed).normal(size=varied.shape).astype(np.float32)
    drawn[0] = found.appearance[0, 0]
    traversal, others = ([change_appearance(found, 0, 0, look) for look in looks] for looks in (varied, drawn))
    rows = (Objects.concatenate(scenes) for scenes in (walk, swaps, traversal, others))
    return frame_rows(*(to_bytes(pixel_means(model, row)) for row in rows))


def _grid(mean: np.ndarray, rows: int) -> Picture:
    return frame_rows(*np.split(to_bytes(mean), rows))
