"""Differentiable stand-ins for discrete locations: the Gumbel-softmax relaxation (paper, section 2).

A relaxed location is a map of weights over the canvas that sum to 1, nearly one-hot at low temperatures; where a
location would be an index, to read a feature or to paste a sprite, sums and convolutions with the map take its place.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.core import LAVAECore
from lavae_rl.model.networks.paper import PaperAppearanceNetwork
from lavae_rl.model.objective import ELBOTerms, explain, kl_count
from lavae_rl.model.posterior import gumbel_noise, location_log_probs
from lavae_rl.model.shapes import Counts, Images, LogitMaps, LogProbs, Sprites

TAKEN = -1e4
"""Log-probability of a location that is taken: "a low value" in the paper, and finite, for gradients."""


def relax_locations(
    log_probs: LogProbs, slots: int, temperature: float, generator: torch.Generator | None
) -> tuple[Float[Tensor, "batch slots pixels"], Float[Tensor, "batch slots"]]:
    """Sample relaxed locations of each image, one after the other without replacement, eq. (11).

    The location at which a draw peaks is the exact sample (Gumbel-max), and is what later draws cannot take. At
    temperatures near 0, samples are one-hot and gradients of high variance.

    Returns:
        Relaxed one-hot maps, and KL(q(l_k | l_<k, x) || p(l_k | l_<k)) of each draw, exact given the earlier ones, in
        nats.
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
    return torch.stack(weights, dim=1), torch.stack(kls, dim=1)


def add_relaxed_sprites(
    sprites: Float[Tensor, "batch slots channels size size"],
    weights: Float[Tensor, "batch slots height width"],
    background: Images,
) -> Images:
    """Eq. (4) as it is written: the sum of the convolutions of each sprite with its (relaxed) location.

    By Fourier transforms on a canvas grown by the sprite, so nothing wraps around. For one-hot maps this equals
    ``composition.add_sprites`` up to rounding.
    """
    height, width = weights.shape[-2:]
    size = sprites.shape[-1]
    half, grown = size // 2, (height + size - 1, width + size - 1)
    spectrum = torch.fft.rfft2(sprites, s=grown) * torch.fft.rfft2(weights, s=grown)[:, :, None]
    full = torch.fft.irfft2(spectrum.sum(dim=1), s=grown)
    return background + full[..., half : half + height, half : half + width].clamp(min=0)  # rounding may leave -1e-7


def relaxed_elbo_terms(
    model: LAVAECore,
    images: Images,
    logits: LogitMaps,
    counted: Counts,
    drawn: Counts,
    temperature: float,
    generator: torch.Generator | None,
) -> ELBOTerms:
    """The terms of eq. (6) at one sample whose locations are relaxed: differentiable in every weight but the sharpness.

    The model is of a family whose appearance map can be read at relaxed locations, ``logits`` are those of its location
    network. ``counted`` is the number of objects by q(n | x), ``drawn`` the number to explain each image with: the same
    unless it is forced, and at most N_max.
    """
    num_images, channels, height, width = images.shape
    slots, size = model.config.max_objects, model.config.sprite_size
    active = (torch.arange(slots, device=images.device) < drawn[:, None]).float()
    log_probs = location_log_probs(logits, model.sharpness.detach())
    weights, kl_location = relax_locations(log_probs, slots, temperature, generator)
    posterior = cast("PaperAppearanceNetwork", model.appearance_network).read(images, weights)
    appearance, _ = posterior.draw(generator)

    def compose(sprites: Sprites, background: Images) -> Images:
        in_slots = sprites.view(num_images, slots, channels, size, size) * active[:, :, None, None, None]
        return add_relaxed_sprites(in_slots, weights.view(num_images, slots, height, width), background)

    log_likelihood, _ = explain(model, model.scene(images), appearance, compose)
    kl_appearance = (posterior.kl().view(num_images, slots) * active).sum(1)
    kl_location = (kl_location * active).sum(1)
    return ELBOTerms(log_likelihood, kl_count(model, counted), kl_location, kl_appearance, model.kl_background(images))
