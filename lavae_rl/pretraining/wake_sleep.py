"""LAVAE's training by wake-sleep: awake, it explains scenes; asleep, it learns to locate what it dreams."""

from typing import cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.networks.fast import FastAppearanceNetwork
from lavae_rl.model.networks.prototypes import PrototypeDecoder
from lavae_rl.model.objective import kl_count, reconstruct, score_function_loss
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import location_log_probs
from lavae_rl.model.shapes import Images
from lavae_rl.pretraining.dreams import SpriteMemory, centre_loss, cut_out, dilate, dream, location_loss, recentre
from lavae_rl.pretraining.proposals import propose_by_surprise
from lavae_rl.pretraining.prototypes import MOST_SPRITES, fit_prototypes
from lavae_rl.pretraining.recipes import LAVAERecipe, WorldRecipe
from lavae_rl.pretraining.sharpness import fit_sharpness
from lavae_rl.pretraining.state import Loss, Method, ParameterGroup, make_seeded
from lavae_rl.pretraining.validation import LAVAE_VALIDATION, validate_lavae
from lavae_rl.shapes import Frames

_JOINT_SAMPLES = 2


class WakeSleep(Method):
    """The fast recipe, with remembered sprites, from which dreams are composed."""

    # Nats per frame, but for the dreams (nats per dreamed object) and the norm.
    terms: tuple[str, ...] = ("loss", "log_likelihood", "kl_count", "kl_appearance")
    terms += ("joint_elbo", "dream_centre", "dream_location", "gradient_norm")
    model_class, recipe_class = LAVAE, LAVAERecipe
    validation, validate = LAVAE_VALIDATION, staticmethod(validate_lavae)
    optimizer = torch.optim.Adam
    fixed_shapes = False  # as many appearances and sprites as there are objects

    def __init__(self, config: LAVAEConfig, recipe: LAVAERecipe, seed: int, accelerator: Accelerator) -> None:
        self.recipe, self._seed, self._accelerator = recipe, seed, accelerator
        self.model = model = make_lavae(config, seed, accelerator.device)
        self.memory = SpriteMemory(recipe.memory, config.channels, config.sprite_size).to(accelerator.device)
        self.modules = {"model": model, "memory": self.memory}
        self.parameter_groups = wake_sleep_groups(model, recipe)
        decoder = model.sprite_decoder
        self._prototypes = decoder if isinstance(decoder, PrototypeDecoder) else None
        if self._prototypes is not None:
            if recipe.steps <= recipe.prototypes_from_step:
                raise ValueError(
                    f"expected more than {recipe.prototypes_from_step} steps with networks prototypes, whose sprites "
                    f"are clustered after as many, got {recipe.steps}"
                )
            self.terms = (*self.terms, "dream_appearance")

    def loss(self, frames: Frames, step: int, generator: torch.Generator) -> Loss:
        """The ELBO's terms at locations found, later the whole ELBO, and beside them what the dreams teach."""
        images = self.model.images(frames).contiguous(memory_format=torch.channels_last)
        if self._prototypes is not None:
            self._shape(self._prototypes, step, generator)
        joint = step >= self.recipe.joint_from_step
        loss, terms = self._joint(images, step, generator) if joint else self._wake(images, step, generator)
        if len(self.memory):  # empty before the first dreams, and while all frames are
            dreaming, dream_terms = self._dream(frames.shape[1:3], joint, generator)
            loss, terms = loss + dreaming, terms | dream_terms
        if self._prototypes is not None and not self._prototypes.corrects:
            naming = self._dream_sprites(self._prototypes, generator)
            loss, terms = loss + self.recipe.dreamed_weight * naming / 100, terms | {"dream_appearance": naming}
        return loss, terms

    @torch.no_grad()
    def _shape(self, decoder: PrototypeDecoder, step: int, generator: torch.Generator) -> None:
        """Set the prototypes of a decoder, which no gradient finds, to the same in all processes."""
        if step == self.recipe.prototypes_from_step and len(self.memory):
            sprites = self.memory.read(MOST_SPRITES, generator)
            drawing = torch.Generator().manual_seed(self._seed)
            decoder.set_prototypes(fit_prototypes(sprites.any(1), len(decoder.used), drawing))
            for part in (*decoder.parameters(), *decoder.buffers()):
                broadcast(part.data)
        if step == max(self.recipe.corrections_from_step, self.recipe.prototypes_from_step):
            decoder.corrects.fill_(True)

    def _dream_sprites(self, decoder: PrototypeDecoder, generator: torch.Generator) -> Tensor:
        """-log q(a) of what dreamed sprites look like, up to a constant: the sleep phase of the continuous latents."""
        shape = (self.recipe.dreamed_sprites, self.model.config.latents)
        appearance = torch.randn(shape, generator=generator, device=self.model.device)
        with torch.no_grad():
            windows = (decoder(appearance) > 0.5).float()
        mean, log_variance = cast("FastAppearanceNetwork", self.model.appearance_network).describe(windows)
        return 0.5 * ((appearance - mean).square() * (-log_variance).exp() + log_variance).sum(1).mean()

    def _locate(self, images: Images, step: int) -> Detections:
        if step < self.recipe.locations_from_step:
            return propose_by_surprise(self.model, images)
        self.model.eval()
        # In float32: half-precision copies of weights that were made without gradients could be kept for the dreams.
        with torch.autocast(images.device.type, enabled=False):
            found = self.model.detect(images).keep_first(self.model.config.max_objects)
        return found.clone()  # out of inference mode

    def _wake(self, images: Images, step: int, generator: torch.Generator) -> Loss:
        """The ELBO's terms for decoder, appearance network and count prior, at the locations found."""
        found = self._locate(images, step)
        self.model.train()
        log_likelihood, kl, sprites = reconstruct(self.model, self.model.scene(images), found, generator)
        counting = kl_count(self.model, found.count)
        loss = (self.recipe.kl_weight(step) * kl + counting - log_likelihood).mean()
        if step >= self.recipe.dreams_from_step:
            self.memory.write(recentre(dilate(cut_out(images, found, sprites.detach()), generator)))
        terms = {"log_likelihood": log_likelihood, "kl_count": counting, "kl_appearance": kl}
        # Nats are large beside the dreams' losses and the clipped norm: a hundredth keeps all in one range.
        return loss / 100, {name: value.mean() for name, value in terms.items()}

    def _joint(self, images: Images, step: int, generator: torch.Generator) -> Loss:
        """The whole ELBO, but for the count prior, at locations drawn from q(l | x)."""
        self.model.eval()  # q(l | x) as it will be: scenes are not to move the batch statistics of dreams
        if step == self.recipe.joint_from_step:
            self._sharpen(images)
        loss, elbo = score_function_loss(self.model, images, _JOINT_SAMPLES, generator)
        self.model.train()
        return loss.mean() / 100, {"joint_elbo": elbo.mean()}

    @torch.no_grad()
    def _sharpen(self, images: Images) -> None:
        """Start joint training from the best sharpness, the same in all processes."""
        with torch.autocast(images.device.type, enabled=False):  # as in _locate
            fit_sharpness(self.model, images, self._seed, self.recipe.sharpness_samples)
        log_sharpness = self.model.log_sharpness
        log_sharpness.copy_(self._accelerator.reduce(log_sharpness.clone(), "mean"))

    def _dream(self, canvas_size: tuple[int, int], joint: bool, generator: torch.Generator) -> Loss:
        recipe = self.recipe
        number, most, crowded = recipe.dreams, recipe.dream_objects, recipe.crowded_dreams
        images, centres = dream(self.memory, number, most, canvas_size, generator, crowded)
        logits = self.model.location_network(images.contiguous(memory_format=torch.channels_last))
        focal = centre_loss(logits, centres)
        location = location_loss(location_log_probs(logits, self.model.sharpness), centres)
        terms = {"dream_centre": focal, "dream_location": location}
        # What q(l | x) is, is the ELBO's to say, once it can.
        return focal if joint else focal + recipe.location_weight * location, terms

    def calibrate(self, average: LAVAE, source: FrameSource, last: bool) -> None:
        """Fit the sharpness on training frames, at last with more samples."""
        images = average.images(source[: self.recipe.sharpness_scenes])
        fit_sharpness(average, images, self._seed, self.recipe.sharpness_samples if last else 1)


def wake_sleep_groups(model: LAVAE, recipe: LAVAERecipe | WorldRecipe) -> tuple[ParameterGroup, ParameterGroup]:
    """Parameters that dreams train, then those that frames train, each group with its peak rate and schedule."""
    appearance = [*model.appearance_network.parameters(), *model.sprite_decoder.parameters()]
    location = [*model.location_network.parameters(), model.count_logits, model.log_sharpness]
    return (
        (location, recipe.location_learning_rate, recipe.rate_factor),
        (appearance, recipe.appearance_learning_rate, recipe.rate_factor),
    )


def make_lavae(config: LAVAEConfig, seed: int, device: torch.device) -> LAVAE:
    """An untrained model on its device."""
    model = make_seeded(lambda: LAVAE(config), seed)
    model.location_network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(device)
