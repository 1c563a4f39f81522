"""Differentiable stand-ins for discrete locations: the Gumbel-softmax relaxation (paper, section 2).

A relaxed location is a map of weights over the canvas that sum to 1, nearly one-hot at low temperatures; where a
location would be an index, to read a feature or to paste a sprite, sums and convolutions with the map take its place.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.posterior import gumbel_noise
from lavae_rl.model.shapes import Images

TAKEN = -1e4
"""Log-probability of a location that is taken: "a low value" in the paper, and finite, for gradients."""


class RelaxedLocations(NamedTuple):
    """Locations of the objects of each image, drawn one after the other without replacement, eq. (11).

    Attributes:
        weights: relaxed one-hot maps.
        kl: KL(q(l_k | l_<k, x) || p(l_k | l_<k)) of each draw, exact given the earlier ones, in nats.
    """

    weights: Float[Tensor, "batch slots pixels"]
    kl: Float[Tensor, "batch slots"]


def relax_locations(
    log_probs: Float[Tensor, "batch pixels"], slots: int, temperature: float, generator: torch.Generator | None
) -> RelaxedLocations:
    """Samples ``slots`` relaxed locations for each image.

    The location at which a draw peaks is the exact sample (Gumbel-max), and is what later draws cannot take.

    Args:
        log_probs: log q(l_1 | x).
        slots: locations per image, fewer than pixels.
        temperature: of the relaxation; near 0, samples are one-hot and gradients of high variance.
        generator: source of randomness.
    """
    pixels, weights, kls = log_probs.shape[1], [], []
    for slot in range(slots):
        scores = log_probs + gumbel_noise(log_probs, generator)
        weights.append(F.softmax(scores / temperature, dim=1))
        # log q is bounded below where q is 0, or 0 * log 0 would be NaN.
        negative_entropy = (log_probs.exp() * log_probs.clamp(min=TAKEN)).sum(1)
        kls.append(negative_entropy + torch.log(log_probs.new_tensor(pixels - slot)))
        left = log_probs.scatter(1, scores.argmax(dim=1, keepdim=True), TAKEN)
        log_probs = F.log_softmax(left, dim=1)
    return RelaxedLocations(torch.stack(weights, dim=1), torch.stack(kls, dim=1))


def compose_relaxed(
    sprites: Float[Tensor, "batch slots channels size size"], weights: Float[Tensor, "batch slots height width"]
) -> Images:
    """Eq. (4) as it is written: the sum of the convolutions of each sprite with its (relaxed) location.

    By Fourier transforms on a canvas grown by the sprite, so nothing wraps around. For one-hot maps this equals
    ``canvas.compose`` up to rounding.
    """
    height, width = weights.shape[-2:]
    size = sprites.shape[-1]
    half, grown = size // 2, (height + size - 1, width + size - 1)
    spectrum = torch.fft.rfft2(sprites, s=grown) * torch.fft.rfft2(weights, s=grown)[:, :, None]
    full = torch.fft.irfft2(spectrum.sum(dim=1), s=grown)
    return full[..., half : half + height, half : half + width].clamp(min=0)  # rounding may leave -1e-7
