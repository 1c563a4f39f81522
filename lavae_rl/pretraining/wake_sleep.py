"""LAVAE's training: awake, it explains scenes; asleep, it learns to locate what it dreams."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lavae_rl.data.sources import SceneDataset
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.objective import kl_count, reconstruct, score_function_loss
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import location_log_probs
from lavae_rl.model.shapes import Images
from lavae_rl.pretraining.dreams import SpriteMemory, centre_loss, cut_out, dream, location_loss, recentre, thicken
from lavae_rl.pretraining.lavae import LAVAETraining
from lavae_rl.pretraining.proposals import propose_by_surprise
from lavae_rl.pretraining.recipes import LAVAERecipe
from lavae_rl.pretraining.sharpness import fit_sharpness
from lavae_rl.runs.folder import RunFolder
from lavae_rl.shapes import Frames

_SHARPNESS_SCENES, _SHARPNESS_SAMPLES = 250, 16
_JOINT_SAMPLES = 2


class WakeSleepTraining(LAVAETraining[LAVAERecipe]):
    """The fast recipe: a training with remembered sprites, from which dreams are composed."""

    # Nats per frame, but for the dreams (nats per dreamed object) and the norm.
    TERMS = (
        "loss",
        "log_likelihood",
        "kl_count",
        "kl_appearance",
        "joint_elbo",
        "dream_centre",
        "dream_location",
        "gradient_norm",
    )
    PARTS = ("model", "average", "memory", "optimizer")
    FIXED_SHAPES = False  # as many appearances and sprites as there are objects

    def __init__(self, config: LAVAEConfig, recipe: LAVAERecipe, seed: int, accelerator: Accelerator) -> None:
        super().__init__(config, recipe, seed, accelerator)
        self.memory = SpriteMemory(recipe.memory, config.channels, config.sprite_size).to(accelerator.device)

    def _parameter_groups(self) -> Sequence[tuple[list[nn.Parameter], float]]:
        model, recipe = self.model, self.recipe
        appearance = [*model.appearance_network.parameters(), *model.sprite_decoder.parameters()]
        location = [*model.location_network.parameters(), model.count_logits, model.log_sharpness]
        return (location, recipe.location_learning_rate), (appearance, recipe.appearance_learning_rate)

    def _loss(self, frames: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        images = self.model.images(frames).contiguous(memory_format=torch.channels_last)
        loss, terms = self._joint(images) if self._is_joint else self._wake(images)
        if len(self.memory):  # empty before the first dreams, and while all frames are
            dreaming, dream_terms = self._dream(frames.shape[1:3])
            loss, terms = loss + dreaming, terms | dream_terms
        return loss, terms

    @property
    def _is_joint(self) -> bool:
        return self.progress.step >= self.recipe.joint_from_step

    def _locate(self, images: Images) -> Detections:
        most = self.model.config.max_objects
        if self.progress.step < self.recipe.locations_from_step:
            return propose_by_surprise(images, most, self.model.config.sprite_size)
        self.model.eval()
        # In float32: half-precision copies of weights that were made without gradients could be kept for the dreams.
        with torch.autocast(images.device.type, enabled=False):
            found = self.model.detect(images).keep_first(most)
        # Out of inference mode, so that autograd may save them.
        return Detections(found.image_index.clone(), found.location.clone(), found.count.clone())

    def _wake(self, images: Images) -> tuple[Tensor, dict[str, Tensor]]:
        """The ELBO's terms for decoder, appearance network and count prior, at the locations found."""
        found = self._locate(images)
        self.model.train()
        log_likelihood, kl, sprites = reconstruct(self.model, images, found, self.generator)
        counting = kl_count(self.model, found.count)
        loss = (self.recipe.kl_weight(self.progress.step) * kl + counting - log_likelihood).mean()
        if self.progress.step >= self.recipe.dreams_from_step:
            self.memory.write(recentre(thicken(cut_out(images, found, sprites.detach()), self.generator)))
        terms = {"log_likelihood": log_likelihood, "kl_count": counting, "kl_appearance": kl}
        # Nats are large beside the dreams' losses and the clipped norm: a hundredth keeps all in one range.
        return loss / 100, {name: value.mean() for name, value in terms.items()}

    def _joint(self, images: Images) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole ELBO, but for the count prior, at locations drawn from q(l | x)."""
        self.model.eval()  # q(l | x) as it will be: scenes are not to move the batch statistics of dreams
        if self.progress.step == self.recipe.joint_from_step:
            self._sharpen(images)
        loss, elbo = score_function_loss(self.model, images, _JOINT_SAMPLES, self.generator)
        self.model.train()
        return loss.mean() / 100, {"joint_elbo": elbo.mean()}

    @torch.no_grad()
    def _sharpen(self, images: Images) -> None:
        """Starts joint training from the best sharpness, the same in all processes."""
        with torch.autocast(images.device.type, enabled=False):  # as in _locate
            fit_sharpness(self.model, images, self.seed, _SHARPNESS_SAMPLES)
        log_sharpness = self.model.log_sharpness
        log_sharpness.copy_(self.accelerator.reduce(log_sharpness.clone(), "mean"))

    def _dream(self, canvas_size: tuple[int, int]) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        images, centres = dream(self.memory, recipe.dreams, recipe.dream_objects, canvas_size, self.generator)
        logits = self.model.location_network(images.contiguous(memory_format=torch.channels_last))
        focal = centre_loss(logits, centres)
        location = location_loss(location_log_probs(logits, self.model.sharpness), centres)
        terms = {"dream_centre": focal, "dream_location": location}
        # What q(l | x) is, is the ELBO's to say, once it can.
        return focal if self._is_joint else focal + recipe.location_weight * location, terms

    def validate(self, dataset: SceneDataset, validation: SceneDataset, folder: RunFolder) -> dict[str, float]:
        """Fits the sharpness on training scenes, at last with more samples, then measures."""
        samples = _SHARPNESS_SAMPLES if self.progress.step == self.recipe.steps else 1
        fit_sharpness(self.average, self.average.images(dataset[:_SHARPNESS_SCENES]), self.seed, samples)
        return super().validate(dataset, validation, folder)
