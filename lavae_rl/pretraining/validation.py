"""Metrics of validation, which change nothing and draw nothing."""

import numpy as np
import torch

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.sources import SceneDataset
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.evaluation.unlabelled import measure_findings
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import elbo_terms
from lavae_rl.pretraining.recipes import Recipe

LAVAE_VALIDATION = ("count_accuracy", "location_error_px", "miss_rate", "false_rate", "elbo", "kl_location")
"""Metrics of ``validate_lavae``; the first four only where the truth is known, in a ``SceneDataset``."""
WORLD_VALIDATION = ("elbo", "kl_location", "explained", "mean_count", "persistence")
"""Metrics of ``validate_world``, none of which needs labels."""
VAE_VALIDATION = ("elbo", "kl")

_BATCH = 16


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
def validate_world(model: LAVAE, source: FrameSource, recipe: Recipe, seed: int) -> dict[str, float]:
    """ELBO and KL of the locations, nats per frame; share of surprise explained, number and persistence of objects."""
    generator = torch.Generator(model.device).manual_seed(seed)
    index = np.linspace(0, len(source) - 1, min(recipe.elbo_scenes, len(source))).round().astype(int)
    elbo, kl = [], []
    for start in range(0, len(index), _BATCH):
        terms = elbo_terms(model, model.images(source[index[start : start + _BATCH]]), generator)
        elbo.append(terms.elbo)
        kl.append(terms.kl_location)
    found = measure_findings(model, source, recipe.elbo_scenes).summary()
    return {"elbo": torch.cat(elbo).mean().item(), "kl_location": torch.cat(kl).mean().item()} | found


@torch.inference_mode()
def validate_vae(model: ConvVAE, source: FrameSource, recipe: Recipe, seed: int) -> dict[str, float]:
    """ELBO and KL, nats per frame."""
    generator = torch.Generator(model.device).manual_seed(seed)
    log_likelihood, kl = model.elbo_terms(model.images(source[: recipe.elbo_scenes]), generator)
    return {"elbo": (log_likelihood - kl).mean().item(), "kl": kl.mean().item()}
