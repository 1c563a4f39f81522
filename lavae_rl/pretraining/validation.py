"""Metrics of validation, which change nothing and draw nothing."""

import torch

from lavae_rl.data.sources import FrameSource, SceneDataset
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import elbo_terms
from lavae_rl.pretraining.recipes import Recipe

LAVAE_VALIDATION = ("count_accuracy", "location_error_px", "miss_rate", "false_rate", "elbo", "kl_location")
"""Metrics of ``validate_lavae``; the first four only where the truth is known, in a ``SceneDataset``."""
VAE_VALIDATION = ("elbo", "kl")


@torch.inference_mode()
def validate_lavae(model: LAVAE, source: FrameSource, recipe: Recipe, seed: int) -> dict[str, float]:
    """ELBO and KL of the locations, nats per frame; on scenes, how well the objects agree with the truth."""
    found: dict[str, float] = {}
    if isinstance(source, SceneDataset):
        found = measure_agreement(model, source, recipe.validation_scenes).summary()
    generator = torch.Generator(model.device).manual_seed(seed)
    terms = elbo_terms(model, model.images(source[: recipe.elbo_scenes]), generator)
    return found | {"elbo": terms.elbo.mean().item(), "kl_location": terms.kl_location.mean().item()}


@torch.inference_mode()
def validate_vae(model: ConvVAE, source: FrameSource, recipe: Recipe, seed: int) -> dict[str, float]:
    """ELBO and KL, nats per frame."""
    generator = torch.Generator(model.device).manual_seed(seed)
    log_likelihood, kl = model.elbo_terms(model.images(source[: recipe.elbo_scenes]), generator)
    return {"elbo": (log_likelihood - kl).mean().item(), "kl": kl.mean().item()}
