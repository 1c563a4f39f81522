"""The baseline's training: the ELBO of a plain VAE, its KL warmed up."""

import torch
from accelerate import Accelerator

from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.pretraining.recipes import BaselineRecipe
from lavae_rl.pretraining.state import Loss, Method, make_seeded
from lavae_rl.pretraining.validation import VAE_VALIDATION, validate_vae
from lavae_rl.shapes import Frames


class PlainVAE(Method):
    """Method that minimises cost + beta * KL, where beta rises from 0 to 1 (appendix B); terms are nats per frame."""

    terms = ("loss", "log_likelihood", "kl", "gradient_norm")
    model_class, recipe_class = ConvVAE, BaselineRecipe
    validation, validate = VAE_VALIDATION, staticmethod(validate_vae)
    optimizer = torch.optim.Adam
    fixed_shapes = True

    def __init__(self, config: BaselineConfig, recipe: BaselineRecipe, seed: int, accelerator: Accelerator) -> None:
        self.recipe = recipe
        model = make_seeded(lambda: ConvVAE(config), seed)
        # The layout that frames come in: on a CPU, half as fast again as PyTorch's own.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model.to(accelerator.device)
        self.modules = {"model": self.model}
        parameters = list(self.model.parameters())
        self.parameter_groups = ((parameters, recipe.learning_rate, recipe.rate_factor),)

    def loss(self, frames: Frames, step: int, generator: torch.Generator) -> Loss:
        """The negative ELBO, its KL weighed."""
        self.model.train()
        log_likelihood, kl = self.model.elbo_terms(self.model.images(frames), generator)
        loss = (self.recipe.kl_weight(step) * kl - log_likelihood).mean()
        return loss / 100, {"log_likelihood": log_likelihood.mean(), "kl": kl.mean()}  # one range with the clipped norm
