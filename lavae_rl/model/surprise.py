"""Surprise: the nats that pixels cost beyond those of a picture that explains them."""

import torch
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.image.likelihood import Likelihood
from lavae_rl.model.shapes import Images
from lavae_rl.model.sites import Sites

PIXEL_NATS = 2.0
"""A pixel surprises from this many nats on: two standard deviations of one channel."""
MARGIN = 2
"""Sites of 2 x 2 pixels between the centre of an object and what surprises."""


def near_surprise(surprising: Sites, sprite_size: int) -> Sites:
    """The sites where the centre of an object may be: among those that surprise, or within ``MARGIN`` of them.

    Sites lie among others if these close around them: holes of less than a sprite are filled.
    """
    return surprising.close(-(-sprite_size // 4)).grow(MARGIN)


@torch.inference_mode()
def surprise(likelihood: Likelihood, images: Images, mean: Images) -> Float[Tensor, "batch height width"]:
    """Log p(x_i | x_i) - log p(x_i | mean_i) of each pixel, summed over channels: 0 where they agree, else above."""
    return likelihood.surprise(images, mean).sum(1)
