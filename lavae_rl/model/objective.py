"""The evidence lower bound, its terms kept apart, and the importance-weighted bound (paper, section 2, appendix A)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lavae_rl.model.core import LAVAECore
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import find_peaks, location_log_probs, ordered_log_prob, sample_locations
from lavae_rl.model.shapes import AppearanceVectors, Images, LogitMaps, ObjectIndex, PerImage, Sprites


@dataclass(frozen=True)
class ELBOTerms:
    """The terms of the ELBO, each (batch,) in nats: ``elbo = log_likelihood - kl_count - kl_location - kl_appearance``.

    Attributes:
        log_likelihood: log p(x | a, l, n) at the sampled latents.
        kl_count: KL(q(n | x) || p(n)) = -log p(n) at the inferred count.
        kl_location: log q(l | x) - log p(l | n) at the sampled locations; its mean is the KL.
        kl_appearance: KL(q(a | l, x) || N(0, I)), summed over objects, exact.
    """

    log_likelihood: PerImage
    kl_count: PerImage
    kl_location: PerImage
    kl_appearance: PerImage

    @property
    def elbo(self) -> PerImage:
        """The single-sample evidence lower bound."""
        return self.log_likelihood - self.kl_count - self.kl_location - self.kl_appearance


def sum_by_image(values: Float[Tensor, " objects"], image_index: ObjectIndex, num_images: int) -> PerImage:
    """Adds up what belongs to one image."""
    return values.new_zeros(num_images).index_add(0, image_index, values)


def kl_count(model: LAVAECore, count: Int[Tensor, " batch"]) -> PerImage:
    """-log p(n), since q(n | x) is a point mass; counts must not pass N_max, which the prior rules out."""
    return -model.count_log_probs[count]


def log_prior_locations(count: Int[Tensor, " batch"], pixels: int) -> PerImage:
    """Log p(l_1..n | n) = -sum_{k=1..n} log(L - k + 1), eq. (3)."""
    left = pixels - torch.arange(int(count.max()) if len(count) else 0, device=count.device)
    log_left = torch.cat([left.new_zeros(1, dtype=torch.float), left.float().log().cumsum(0)])
    return -log_left[count]


def explain(
    model: LAVAECore, images: Images, appearance: AppearanceVectors, compose: Callable[[Sprites, Images], Images]
) -> tuple[PerImage, Sprites]:
    """Log p(x | a, l, n) of each image, in nats, and the decoded sprites.

    Args:
        model: decoder and image model.
        images: to be explained.
        appearance: of all objects.
        compose: makes pixel means of their sprites and of a background: where the objects are is its affair.
    """
    sprites = model.sprite_decoder(appearance)
    theta = compose(sprites, model.background(images))
    return model.likelihood.log_prob(images, theta).sum((1, 2, 3)), sprites


def reconstruct(
    model: LAVAECore, images: Images, found: Detections, generator: torch.Generator | None
) -> tuple[PerImage, PerImage, Sprites]:
    """Log p(x | a, l, n) at one sample of a, KL of the appearances, and the decoded sprites, at given locations."""
    posterior = model.appearance_network(images, found)
    appearance, _ = posterior.draw(generator)
    log_likelihood, sprites = explain(model, images, appearance, _pasting(model, found))
    return log_likelihood, sum_by_image(posterior.kl(), found.image_index, len(images)), sprites


def _pasting(model: LAVAECore, found: Detections) -> Callable[[Sprites, Images], Images]:
    return lambda sprites, background: model.composition(sprites, found, background)


@torch.inference_mode()
def elbo_terms(
    model: LAVAECore, images: Images, generator: torch.Generator | None = None, logits: LogitMaps | None = None
) -> ELBOTerms:
    """The ELBO of each image at one sample of the posterior, eq. (6).

    Args:
        model: in evaluation mode.
        images: float32, 0 or 1.
        generator: source of randomness, on the model's device.
        logits: what the location network says of the images, if that is known.
    """
    logits = model.location_network(images) if logits is None else logits
    count = _inferred_count(model, logits)
    log_probs = location_log_probs(logits, model.sharpness)
    flat = sample_locations(log_probs, int(count.max()) if len(count) else 0, generator)
    log_likelihood, kl, _ = reconstruct(model, images, _as_detections(flat, count, images.shape[-1]), generator)
    location = ordered_log_prob(log_probs, flat, count) - log_prior_locations(count, log_probs.shape[1])
    return ELBOTerms(log_likelihood, kl_count(model, count), location, kl)


def score_function_loss(
    model: LAVAECore, images: Images, num_samples: int, generator: torch.Generator | None
) -> tuple[PerImage, PerImage]:
    """What to descend for the ELBO's own gradient, that of q(l | x) included, without relaxing the locations.

    Of each image ``num_samples`` locations are drawn. The gradient of E_q[f] is E_q[f * grad log q] (REINFORCE), with
    f the log of p(x, l, n) / q(l | x) less the KL of the appearances; the mean of the other samples' f is subtracted,
    which changes no expectation and takes most of the variance (leave-one-out: Kool et al. 2019).

    Args:
        model: whose location network gives the gradient as it is in evaluation: set it to eval() before.
        images: of the batch.
        num_samples: at least 2.
        generator: source of randomness.

    Returns:
        The loss of each image, whose value means nothing, and the mean ELBO of its samples but for the KL of the count.

    Raises:
        ValueError: fewer than two samples.
    """
    if num_samples < 2:
        raise ValueError(f"expected at least 2 samples, one to compare the other with, got {num_samples}")
    logits = model.location_network(images)
    log_probs = location_log_probs(logits, model.sharpness)
    count = _inferred_count(model, logits.detach())
    slots = int(count.max()) if len(count) else 0
    scores, values, direct = [], [], []
    for _ in range(num_samples):
        flat = sample_locations(log_probs.detach(), slots, generator)
        found = _as_detections(flat, count, images.shape[-1])
        log_likelihood, kl_appearance, _ = reconstruct(model, images, found, generator)
        log_q = ordered_log_prob(log_probs, flat, count)
        scores.append(log_q)
        direct.append(log_likelihood - kl_appearance)
        values.append((direct[-1] - log_q + log_prior_locations(count, log_probs.shape[1])).detach())
    value, score = torch.stack(values), torch.stack(scores)
    advantage = (value - value.mean(0)) * num_samples / (num_samples - 1)
    return -(advantage * score + torch.stack(direct)).mean(0), value.mean(0)


def _inferred_count(model: LAVAECore, logits: LogitMaps) -> Int[Tensor, " batch"]:
    # Inference itself has no limit, but a density must not put mass where the prior has none.
    return find_peaks(logits).count.clamp(max=model.config.max_objects)


def _as_detections(flat: Int[Tensor, "batch slots"], count: Int[Tensor, " batch"], width: int) -> Detections:
    image_index, slot = (torch.arange(flat.shape[1], device=flat.device) < count[:, None]).nonzero(as_tuple=True)
    chosen = flat[image_index, slot]
    return Detections(image_index, torch.stack([chosen // width, chosen % width], dim=1), count)


@torch.inference_mode()
def importance_weighted_bound(
    model: LAVAECore, images: Images, num_samples: int, generator: torch.Generator | None = None
) -> PerImage:
    """Log (1/S) sum_s p(x, z_s) / q(z_s | x), a lower bound on log p(x) in expectation (paper: 100 samples).

    Samples are drawn for one image at a time: beside the logits of the batch, memory grows with ``num_samples`` alone.
    """
    if num_samples < 1:
        raise ValueError(f"expected at least 1 importance sample, got {num_samples}")
    logits = model.location_network(images)
    log_probs = location_log_probs(logits, model.sharpness)
    count = _inferred_count(model, logits)
    bounds = [
        torch.logsumexp(_log_weights(model, images[i], log_probs[i], count[i], num_samples, generator), 0)
        for i in range(len(images))
    ]
    return torch.stack(bounds) - math.log(num_samples) if bounds else logits.new_zeros(0)


def _log_weights(
    model: LAVAECore,
    image: Float[Tensor, "channels height width"],
    log_probs: Float[Tensor, " pixels"],
    count: Int[Tensor, ""],
    num_samples: int,
    generator: torch.Generator | None,
) -> Float[Tensor, " samples"]:
    """Log p(x, z) - log q(z | x) of each sample z = (n, l, a) for one image."""
    counts, log_probs = count.expand(num_samples), log_probs.expand(num_samples, -1)
    flat = sample_locations(log_probs, int(count), generator)
    found = _as_detections(flat, counts, image.shape[-1])
    # The networks read the one image once, not as many times as it is explained.
    posterior = model.appearance_network(image[None], found.in_one_image())
    appearance, noise = posterior.draw(generator)
    log_p_x, _ = explain(model, image.expand(num_samples, -1, -1, -1), appearance, _pasting(model, found))
    log_appearance = sum_by_image(posterior.log_ratio(appearance, noise), found.image_index, num_samples)
    log_location = log_prior_locations(counts, log_probs.shape[1]) - ordered_log_prob(log_probs, flat, counts)
    return log_p_x + log_location + log_appearance - kl_count(model, counts)
