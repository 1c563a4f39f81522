"""The evidence lower bound, its terms kept apart, and the importance-weighted bound (paper, section 2, appendix A)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.core import LAVAECore, Scene
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import location_log_probs, ordered_log_prob, sample_locations
from lavae_rl.model.shapes import AppearanceVectors, Counts, Images, LogitMaps, LogProbs, ObjectIndex, PerImage, Sprites


@dataclass(frozen=True)
class ELBOTerms:
    """The terms of the ELBO, in nats."""

    log_likelihood: PerImage
    """Log p(x | a, l, n) at the sampled latents."""
    kl_count: PerImage
    """KL(q(n | x) || p(n)) = -log p(n) at the inferred count."""
    kl_location: PerImage
    """Log q(l | x) - log p(l | n) at the sampled locations; its mean is the KL."""
    kl_appearance: PerImage
    """KL(q(a | l, x) || N(0, I)), summed over objects, exact."""
    kl_background: PerImage
    """KL(q(b | x) || p(b)) = -log p(b) of the states of the background; 0 where it has one."""

    @property
    def elbo(self) -> PerImage:
        """The single-sample evidence lower bound."""
        return self.log_likelihood - self.kl_count - self.kl_location - self.kl_appearance - self.kl_background


def sum_by_image(values: Float[Tensor, " objects"], image_index: ObjectIndex, num_images: int) -> PerImage:
    """Add up what belongs to one image."""
    return values.new_zeros(num_images).index_add(0, image_index, values)


def kl_count(model: LAVAECore, count: Counts) -> PerImage:
    """-log p(n), since q(n | x) is a point mass; counts must not pass N_max, which the prior rules out."""
    return -model.count_log_probs[count]


def log_prior_locations(count: Counts, pixels: int) -> PerImage:
    """Log p(l_1..n | n) = -sum_{k=1..n} log(L - k + 1), eq. (3)."""
    left = pixels - torch.arange(int(count.max()) if len(count) else 0, device=count.device)
    log_left = torch.cat([left.new_zeros(1, dtype=torch.float), left.float().log().cumsum(0)])
    return -log_left[count]


def explain(
    model: LAVAECore, scene: Scene, appearance: AppearanceVectors, compose: Callable[[Sprites, Images], Images]
) -> tuple[PerImage, Sprites]:
    """Log p(x | a, l, n) of each image, in nats, and the decoded sprites.

    ``compose`` makes pixel means of the sprites and the background: it decides where the objects are.
    """
    sprites = model.sprite_decoder(appearance)
    theta = compose(sprites, scene.background)
    return model.likelihood.log_prob(scene.images, theta).sum((1, 2, 3)), sprites


def reconstruct(
    model: LAVAECore, scene: Scene, found: Detections, generator: torch.Generator | None
) -> tuple[PerImage, PerImage, Sprites]:
    """Log p(x | a, l, n) at one sample of a, KL of the appearances, and the decoded sprites, at given locations."""
    posterior = model.appearance_network(scene.inputs, found)
    appearance, _ = posterior.draw(generator)
    log_likelihood, sprites = explain(model, scene, appearance, _pasting(model, found))
    return log_likelihood, sum_by_image(posterior.kl(), found.image_index, len(found.count)), sprites


def _pasting(model: LAVAECore, found: Detections) -> Callable[[Sprites, Images], Images]:
    return lambda sprites, background: model.composition(sprites, found, background)


def _infer(model: LAVAECore, logits: LogitMaps) -> tuple[Counts, LogProbs]:
    """Number of objects by q(n | x), and log q(l_1 | x), of each image."""
    # Inference itself has no limit, but a density must not put mass where the prior has none.
    count = model.peaks(logits.detach()).count.clamp(max=model.config.max_objects)
    return count, location_log_probs(logits, model.sharpness)


def _locate(
    model: LAVAECore,
    log_probs: LogProbs,
    count: Counts,
    canvas_size: Sequence[int],
    generator: torch.Generator | None,
) -> tuple[Detections, PerImage, PerImage]:
    """Objects at locations drawn from q(l | x), with log q(l | x) and log p(l | n) of each image."""
    slots = int(count.max()) if len(count) else 0
    flat = sample_locations(log_probs.detach(), slots, generator)
    image_index, slot = (torch.arange(slots, device=flat.device) < count[:, None]).nonzero(as_tuple=True)
    chosen = flat[image_index, slot]
    height, width = canvas_size
    pixel = chosen % (height * width)
    scale = torch.tensor(model.config.scales, device=flat.device)[chosen // (height * width)]
    found = Detections(image_index, torch.stack([pixel // width, pixel % width], dim=1), count, scale)
    return found, ordered_log_prob(log_probs, flat, count), log_prior_locations(count, log_probs.shape[1])


@torch.inference_mode()
def elbo_terms(
    model: LAVAECore, images: Images, generator: torch.Generator | None = None, logits: LogitMaps | None = None
) -> ELBOTerms:
    """The ELBO of each image at one sample of the posterior, eq. (6).

    The model is in evaluation mode, and the generator on its device. ``logits`` are those of its location network;
    None computes them.
    """
    scene = model.scene(images)
    count, log_probs = _infer(model, model.location_network(scene.inputs) if logits is None else logits)
    found, log_q, log_p = _locate(model, log_probs, count, images.shape[2:], generator)
    log_likelihood, kl, _ = reconstruct(model, scene, found, generator)
    return ELBOTerms(log_likelihood, kl_count(model, count), log_q - log_p, kl, model.kl_background(images))


def score_function_loss(
    model: LAVAECore, images: Images, num_samples: int, generator: torch.Generator | None
) -> tuple[PerImage, PerImage]:
    """Loss to descend for the ELBO's own gradient, that of q(l | x) included, without relaxing the locations.

    Of each image ``num_samples`` locations are drawn. The gradient of E_q[f] is E_q[f * grad log q] (REINFORCE), with
    f the log of p(x, l, n) / q(l | x) less the KL of the appearances; the mean of the other samples' f is subtracted,
    which changes no expectation and takes most of the variance (leave-one-out: Kool et al. 2019).

    Set the model to eval() before, for the gradient of the location network as it is in evaluation.

    Returns:
        The loss of each image, whose value means nothing, and the mean ELBO of its samples but for the KL of count and
        background.

    Raises:
        ValueError: fewer than two samples.
    """
    if num_samples < 2:
        raise ValueError(f"expected at least 2 samples, one to compare the other with, got {num_samples}")
    scene = model.scene(images)
    count, log_probs = _infer(model, model.location_network(scene.inputs))
    scores, values, direct = [], [], []
    for _ in range(num_samples):
        found, log_q, log_p = _locate(model, log_probs, count, images.shape[2:], generator)
        log_likelihood, kl_appearance, _ = reconstruct(model, scene, found, generator)
        scores.append(log_q)
        direct.append(log_likelihood - kl_appearance)
        values.append((direct[-1] - log_q + log_p).detach())
    value, score = torch.stack(values), torch.stack(scores)
    advantage = (value - value.mean(0)) * num_samples / (num_samples - 1)
    return -(advantage * score + torch.stack(direct)).mean(0), value.mean(0)


@torch.inference_mode()
def importance_weighted_bound(
    model: LAVAECore,
    images: Images,
    num_samples: int,
    generator: torch.Generator | None = None,
    logits: LogitMaps | None = None,
) -> PerImage:
    """Log (1/S) sum_s p(x, z_s) / q(z_s | x), a lower bound on log p(x) in expectation (paper: 100 samples).

    Samples are drawn for one image at a time: beside the logits of the batch, memory grows with ``num_samples`` alone.
    ``logits`` are as in ``elbo_terms``.
    """
    if num_samples < 1:
        raise ValueError(f"expected at least 1 importance sample, got {num_samples}")
    count, log_probs = _infer(model, model.logits(images) if logits is None else logits)
    bounds = log_probs.new_zeros(len(images))
    for i in range(len(images)):
        scene, counts = model.scene(images[i : i + 1]), count[i].expand(num_samples)
        found, log_q, log_p = _locate(model, log_probs[i].expand(num_samples, -1), counts, images.shape[2:], generator)
        # The network reads the one image once, not as many times as it is explained.
        alone = replace(found, image_index=torch.zeros_like(found.image_index))
        posterior = model.appearance_network(scene.inputs, alone)
        appearance, noise = posterior.draw(generator)
        repeated = Scene(*(part.expand(num_samples, -1, -1, -1) for part in scene))
        log_p_x, _ = explain(model, repeated, appearance, _pasting(model, found))
        log_appearance = sum_by_image(posterior.log_ratio(appearance, noise), found.image_index, num_samples)
        bounds[i] = (log_p_x + (log_p - log_q) + log_appearance - kl_count(model, counts)).logsumexp(0)
    return bounds - math.log(num_samples) - model.kl_background(images)
