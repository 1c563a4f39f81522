"""The directions in which a background changes, estimated from frames with objects."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lavae_rl.model.image.changing import ChangingPicture
from lavae_rl.model.image.likelihood import as_images
from lavae_rl.model.shapes import Images
from lavae_rl.shapes import Frames

NUMBERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Numbers of directions that are tried, in this order."""
GAIN = 0.1
"""A larger number is taken if it leaves, of the pixels that differ from the background, this share fewer in frames from
which it was not estimated: objects of single frames are no background."""
PATIENCE = 2
"""Numbers tried in a row that are no better, after which no more are."""
DIFFERENT = 0.1
"""Difference of a pixel's values in [0, 1] from which on an object may hide the background."""

_ROUNDS, _STRETCHES = 6, 16


def estimate_changing(
    frames: Frames, ignored: Bool[np.ndarray, "height width"], pixel_scale: float
) -> tuple[ChangingPicture, float]:
    """Estimate a background that changes from frame to frame, with as few directions as explain the frames.

    Objects are left out: in turns, pixels that differ are replaced by what the background shows there, and the
    directions are the principal components of the frames so completed (De la Torre & Black 2001).

    Args:
        frames: some hundred frames of different moments, in the order of time.
        ignored: pixels that are not looked at.
        pixel_scale: standard deviation of the likelihood.

    Returns:
        The background, and the mean share of pixels that differ from it.
    """
    images = as_images(torch.from_numpy(frames))
    # Every other of a few stretches of time: neighbouring frames show their objects at the same places.
    judging = torch.arange(len(images)) * _STRETCHES // len(images) % 2 == 1
    chosen, least, in_vain = NUMBERS[0], 1.0, 0
    for number in NUMBERS:
        if in_vain == PATIENCE or number > len(images) // 4:
            break
        share = _different(_estimate(images[~judging], ignored, number, pixel_scale), images[judging])
        in_vain += 1
        if share <= (1 - GAIN) * least:
            chosen, least, in_vain = number, share, 0
    background = _estimate(images, ignored, chosen, pixel_scale)
    return background, _different(background, images)


def _different(background: ChangingPicture, images: Images) -> float:
    """Mean share of pixels that differ from a background."""
    covered = background.cover(images)
    return float(((covered - background(covered)).square().sum(1) > DIFFERENT**2).float().mean())


def _estimate(
    images: Images, ignored: Bool[np.ndarray, "height width"], number: int, pixel_scale: float
) -> ChangingPicture:
    _, channels, height, width = images.shape
    background = ChangingPicture(number, channels, (height, width), pixel_scale)
    background.ignored.copy_(torch.from_numpy(ignored))
    completed = background.cover(images)
    for _ in range(_ROUNDS):
        mean, directions = _principal(completed.flatten(1), number)
        background.mean.copy_(mean.view(images.shape[1:]))
        background.directions.copy_(directions.view(number, *images.shape[1:]))
        behind = background(images)
        differs = (images - behind).square().sum(1, keepdim=True) > DIFFERENT**2
        completed = torch.where(differs | background.ignored, behind, images)
    return background


def _principal(
    rows: Float[Tensor, "frames values"], number: int
) -> tuple[Float[Tensor, " values"], Float[Tensor, "directions values"]]:
    """Mean and first principal components of rows, each as long as the standard deviation along it."""
    mean = rows.mean(0)
    centred = rows - mean
    # Of far more values than frames, the frames' inner products have the same components.
    along = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -number:].flip(1)
    return mean, (along.T @ centred) / len(rows) ** 0.5
