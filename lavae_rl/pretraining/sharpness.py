"""Sharpness of q(l | x), an inverse temperature: the one number of the posterior that dreams cannot teach.

Dreams are drawn a little differently from scenes, on purpose, so in them the pixel of a centre is less certain; and a
sharp sprite pasted one pixel off costs hundreds of nats, which no loss on dreams contains. So the sharpness is read off
the ELBO of real training scenes, without labels. Counts and locations do not depend on it.
"""

import math

import torch

from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import elbo_terms
from lavae_rl.model.shapes import Images

TEMPERATURES = (1.0, 1 / 2, 1 / 4, 1 / 6, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
"""Divisors of the logits inside q(l | x); 1 leaves the log-odds as they are."""


@torch.inference_mode()
def fit_sharpness(model: LAVAE, images: Images, seed: int, num_samples: int = 1) -> None:
    """Set the sharpness of a model in evaluation mode to its own or one of ``TEMPERATURES``, by the best mean ELBO.

    Every temperature is given the same random numbers, for ``num_samples`` ELBOs of each image. What tells them apart
    are rare sprites a pixel off, of hundreds of nats each, so a choice to a nat or two needs many samples.
    """
    logits = model.logits(images)
    sites = logits.shape[1:].numel()
    candidates = [-math.log(temperature * math.log(sites)) for temperature in TEMPERATURES]
    candidates.append(model.log_sharpness.item())

    def elbo(log_sharpness: float) -> float:
        model.log_sharpness.fill_(log_sharpness)
        generator = torch.Generator(images.device).manual_seed(seed)
        return sum(elbo_terms(model, images, generator, logits).elbo.mean().item() for _ in range(num_samples))

    model.log_sharpness.fill_(max(candidates, key=elbo))
