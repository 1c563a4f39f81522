"""Surprise: the nats that pixels cost beyond those of a picture that explains them."""

import torch
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.image.likelihood import Likelihood
from lavae_rl.model.shapes import Images


@torch.inference_mode()
def surprise(likelihood: Likelihood, images: Images, mean: Images) -> Float[Tensor, "batch height width"]:
    """Log p(x_i | x_i) - log p(x_i | mean_i) of each pixel, summed over channels: 0 where they agree, else above."""
    return likelihood.surprise(images, mean).sum(1)
