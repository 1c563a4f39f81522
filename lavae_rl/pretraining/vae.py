"""The baseline's training: the ELBO of a plain VAE, its KL warmed up."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lavae_rl.data.sources import SceneDataset
from lavae_rl.evaluation.figures import reconstruction_figure
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.pretraining.recipes import BaselineRecipe
from lavae_rl.pretraining.state import ELBO_SCENES, Training
from lavae_rl.runs.folder import RunFolder
from lavae_rl.shapes import Frames


class VAETraining(Training[ConvVAE, BaselineRecipe]):
    """Minimises reconstruction cost + beta * KL, beta rising from 0 to 1 (appendix B); all terms in nats per frame."""

    TERMS = ("loss", "log_likelihood", "kl", "gradient_norm")
    VALIDATION = ("elbo", "kl")

    def __init__(self, channels: int, recipe: BaselineRecipe, seed: int, accelerator: Accelerator) -> None:
        def make_model() -> ConvVAE:
            # The layout that frames come in: on a CPU, half as fast again as PyTorch's own.
            model = ConvVAE(BaselineConfig(channels, recipe.latents))
            return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        super().__init__(make_model, recipe, seed, accelerator)

    def _parameter_groups(self) -> Sequence[tuple[list[nn.Parameter], float]]:
        return ((list(self.model.parameters()), self.recipe.learning_rate),)

    def _loss(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        self.model.train()
        log_likelihood, kl = self.model.elbo_terms(self.model.images(frames), self.generator)
        loss = (self.recipe.kl_weight(self.progress.step) * kl - log_likelihood).mean()
        terms = {"log_likelihood": log_likelihood.mean(), "kl": kl.mean()}
        return loss / 100, terms  # one range with the clipped norm

    @torch.inference_mode()
    def validate(self, dataset: SceneDataset, validation: SceneDataset, folder: RunFolder) -> dict[str, float]:
        """Measures ``VALIDATION`` and draws scenes above their reconstructions."""
        model = self.average
        generator = torch.Generator(self.device).manual_seed(self.seed)
        log_likelihood, kl = model.elbo_terms(model.images(validation[:ELBO_SCENES]), generator)
        folder.save_figure(f"reconstructions-{self.progress.step:06d}", reconstruction_figure(model, validation[:8]))
        return {"elbo": (log_likelihood - kl).mean().item(), "kl": kl.mean().item()}
