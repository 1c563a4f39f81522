"""What all trainings of LAVAE share: how it is measured."""

from typing import Generic, TypeVar

import torch
from accelerate import Accelerator

from lavae_rl.data.sources import SceneDataset
from lavae_rl.evaluation.agreement import measure_agreement
from lavae_rl.evaluation.figures import reconstruction_figure
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import elbo_terms
from lavae_rl.pretraining.recipes import LAVAERecipe, PaperRecipe
from lavae_rl.pretraining.state import ELBO_SCENES, Training
from lavae_rl.runs.folder import RunFolder

Settings = TypeVar("Settings", bound=LAVAERecipe | PaperRecipe)


class LAVAETraining(Training[LAVAE, Settings], Generic[Settings]):
    """A training of LAVAE; subclasses say what the loss is."""

    VALIDATION = ("count_accuracy", "location_error_px", "miss_rate", "false_rate", "elbo", "kl_location")

    def __init__(self, config: LAVAEConfig, recipe: Settings, seed: int, accelerator: Accelerator) -> None:
        def make_model() -> LAVAE:
            model = LAVAE(config)
            model.location_network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            return model

        super().__init__(make_model, recipe, seed, accelerator)

    def validate(self, dataset: SceneDataset, validation: SceneDataset, folder: RunFolder) -> dict[str, float]:
        """Measures ``VALIDATION`` and draws reconstructions."""
        model, step = self.average, self.progress.step
        found = measure_agreement(model, validation)
        generator = torch.Generator(self.device).manual_seed(self.seed)
        terms = elbo_terms(model, model.images(validation[:ELBO_SCENES]), generator)
        folder.save_figure(f"reconstructions-{step:06d}", reconstruction_figure(model, validation[:8]))
        return {
            "count_accuracy": found.count_accuracy,
            "location_error_px": found.location_error,
            "miss_rate": found.miss_rate,
            "false_rate": found.false_rate,
            "elbo": terms.elbo.mean().item(),
            "kl_location": terms.kl_location.mean().item(),
        }
