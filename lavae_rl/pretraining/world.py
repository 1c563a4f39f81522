"""Wake-sleep on frames with a background: surprise proposes, the better of proposal and location network explains."""

import math

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.evaluation.figures import detection_figure
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.core import Scene
from lavae_rl.model.image.composition import cover
from lavae_rl.model.image.windows import as_rows, gather_windows
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import kl_count, sum_by_image
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import location_log_probs
from lavae_rl.model.shapes import Images, LogitMaps, PerImage, Sprites
from lavae_rl.model.surprise import PIXEL_NATS, surprise
from lavae_rl.pretraining.collages import CutOutMemory, collage, cut_out, grow, recentre
from lavae_rl.pretraining.components import propose_components
from lavae_rl.pretraining.dreams import centre_loss, location_loss
from lavae_rl.pretraining.recipes import WorldRecipe
from lavae_rl.pretraining.sharpness import fit_sharpness
from lavae_rl.pretraining.state import Loss, Method
from lavae_rl.pretraining.validation import WORLD_VALIDATION, validate_world
from lavae_rl.pretraining.wake_sleep import make_lavae, wake_sleep_groups
from lavae_rl.shapes import Frames

_UNEXPLAINED = 0.7
"""Share of a cut-out's surprise that the decoded sprite may leave unexplained."""


class WorldWakeSleep(Method):
    """The recipe for environments, with the cut-outs that its dreams are made of."""

    # Nats per frame, but for the dreams (nats per dreamed object), shares and the norm.
    terms: tuple[str, ...] = ("loss", "unexplained", "kl_count", "kl_appearance", "located")
    terms += ("dream_centre", "dream_location", "gradient_norm")
    model_class, recipe_class = LAVAE, WorldRecipe
    validation, validate = WORLD_VALIDATION, staticmethod(validate_world)
    draw = staticmethod(detection_figure)
    optimizer = torch.optim.Adam
    fixed_shapes = False  # as many appearances and sprites as there are objects

    def __init__(self, config: LAVAEConfig, recipe: WorldRecipe, seed: int, accelerator: Accelerator) -> None:
        self.recipe, self._seed = recipe, seed
        self.model = model = make_lavae(config, seed, accelerator.device)
        sizes = [config.sprite_size * scale for scale in config.scales]
        self.memories = [CutOutMemory(recipe.memory, config.channels, size) for size in sizes]
        self.modules = {"model": model, "memory": nn.ModuleList(self.memories).to(accelerator.device)}
        self.parameter_groups = wake_sleep_groups(model, recipe)

    def loss(self, frames: Frames, step: int, generator: torch.Generator) -> Loss:
        """The ELBO's terms at the locations found, and beside them what the dreams teach."""
        images = self.model.images(frames).contiguous(memory_format=torch.channels_last)
        scene = self.model.scene(images)
        loss, terms = self._wake(scene, step, generator)
        if any(len(memory) for memory in self.memories):
            dreaming, dream_terms = self._dream(scene, generator)
            loss, terms = loss + dreaming, terms | dream_terms
        return loss, terms

    def _wake(self, scene: Scene, step: int, generator: torch.Generator) -> Loss:
        """The ELBO's terms for decoder, appearance network and count prior."""
        nats = surprise(self.model.likelihood, scene.images, scene.background)
        found, seen, located = self._locate(scene, nats, step)
        posterior = self.model.appearance_network(scene.inputs, found)
        sprites = self.model.sprite_decoder(posterior.draw(generator)[0])
        gain, left = self._explain(scene, nats, sprites, found)
        kl, counting = sum_by_image(posterior.kl(), found.image_index, len(nats)), kl_count(self.model, found.count)
        clutter = self.recipe.alpha_cost * sprites[:, -1].sum() / len(nats)
        loss = (self.recipe.kl_weight(step) * kl + counting - gain + nats.sum((1, 2))).mean() + clutter
        if step >= self.recipe.dreams_from_step:
            self._remember(scene, nats, left, found, seen, sprites.detach())
        values = {"unexplained": nats.sum((1, 2)) - gain, "kl_count": counting, "kl_appearance": kl, "located": located}
        # Nats are large beside the dreams' losses and the clipped norm: a hundredth keeps all in one range.
        return loss / 100, {name: value.mean() for name, value in values.items()}

    def _locate(self, scene: Scene, nats: LogitMaps, step: int) -> tuple[Detections, Detections, Tensor]:
        """Of proposals and what the location network sees, those that explain an image better.

        The network never takes over at a fixed step: what it missed by then, the sprites would forget.

        Returns:
            The objects to explain the images with, all that the network sees, and 1 for images of which it was taken.
        """
        proposed = propose_components(self.model, nats)
        if step <= self.recipe.dreams_from_step:
            return proposed, proposed, nats.new_zeros(len(nats))
        self.model.eval()
        with torch.no_grad(), torch.autocast(nats.device.type, enabled=False):
            seen = self.model.peaks(self.model.location_network(scene.inputs))
            seen = seen.keep_first(self.model.config.max_objects)
            better = self._score(scene, nats, seen) > self._score(scene, nats, proposed)
        self.model.train()
        return merge(seen, proposed, better).clone(), seen, better.float()

    def _score(self, scene: Scene, nats: LogitMaps, found: Detections) -> PerImage:
        """ELBO at the mean appearance, less what does not depend on the objects."""
        posterior = self.model.appearance_network(scene.inputs, found)
        gain, _ = self._explain(scene, nats, self.model.sprite_decoder(posterior.mean), found)
        sites = len(self.model.config.scales) * nats[0].numel()
        return gain - sum_by_image(posterior.kl(), found.image_index, len(nats)) - found.count * math.log(sites)

    def _explain(
        self, scene: Scene, nats: LogitMaps, sprites: Sprites, found: Detections
    ) -> tuple[PerImage, LogitMaps]:
        """Nats of surprise that sprites explain in each image, and the surprise that is left, without a gradient.

        Only covered pixels are computed: elsewhere the likelihood is that of the background.
        """
        pixels, theta = cover(sprites, found, scene.background)
        # The likelihood takes images: one, of a single row.
        shown, mean = (rows.T[None, :, None] for rows in (as_rows(scene.images)[pixels], theta))
        after = self.model.likelihood.surprise(shown, mean).sum((0, 1, 2))
        gain = sum_by_image(nats.flatten()[pixels] - after, pixels // nats[0].numel(), len(nats))
        return gain, nats.flatten().index_put((pixels,), after.detach()).view_as(nats)

    @torch.no_grad()
    def _remember(
        self, scene: Scene, nats: LogitMaps, left: LogitMaps, found: Detections, seen: Detections, sprites: Sprites
    ) -> None:
        """Keep what objects show, but not of those in which the location network sees several, or badly explained."""
        peaks = torch.zeros_like(nats)
        peaks[seen.image_index, seen.location[:, 0], seen.location[:, 1]] = 1
        layers = torch.cat([scene.images, torch.stack([left, nats, nats > PIXEL_NATS], dim=1)], dim=1)
        for memory, scale in zip(self.memories, self.model.config.scales, strict=True):
            chosen = found.scale == scale
            alpha = sprites[chosen, -1:]
            if scale > 1:
                alpha = F.interpolate(alpha, scale_factor=scale, mode="bilinear")
            here = found.select(chosen)
            cut = cut_out(layers, here, alpha)
            several = (gather_windows(peaks[:, None], here, alpha.shape[-1]) * grow(alpha, 2)).sum((1, 2, 3)) > 1
            after, before = cut[:, -3].sum((1, 2)), cut[:, -2].sum((1, 2))
            kept = ~several & (after <= _UNEXPLAINED * before)
            memory.write(recentre(torch.cat([cut[kept, :-3], cut[kept, -1:]], dim=1)))

    def _dream(self, scene: Scene, generator: torch.Generator) -> Loss:
        recipe, model = self.recipe, self.model
        backgrounds = crop_randomly(
            scene.background[torch.arange(recipe.dreams) % len(scene.background)], recipe.dream_size, generator
        )
        dreams, sites = collage(self.memories, backgrounds, recipe.dream_objects, generator)
        inputs = torch.cat([dreams, dreams - backgrounds], dim=1).contiguous(memory_format=torch.channels_last)
        logits = model.location_network(inputs)
        focal = centre_loss(logits, sites)
        location = location_loss(location_log_probs(logits, model.sharpness), sites)
        terms = {"dream_centre": focal, "dream_location": location}
        return focal + recipe.location_weight * location, terms

    def calibrate(self, average: LAVAE, source: FrameSource, last: bool) -> None:
        """Fits the sharpness on training frames, at last with more samples."""
        index = torch.linspace(0, len(source) - 1, self.recipe.sharpness_scenes).round().long().numpy()
        images = average.images(source[index])
        fit_sharpness(average, images, self._seed, self.recipe.sharpness_samples if last else 1)


def merge(one: Detections, other: Detections, chosen: Tensor) -> Detections:
    """The objects of ``one`` in the chosen images, those of ``other`` in the rest, ordered by image."""
    one, other = one.select(chosen[one.image_index]), other.select(~chosen[other.image_index])
    order = torch.cat([one.image_index, other.image_index]).argsort(stable=True)
    both = [torch.cat(pair)[order] for pair in ((one.location, other.location), (one.scale, other.scale))]
    index = torch.cat([one.image_index, other.image_index])[order]
    return Detections(index, both[0], one.count + other.count, both[1])


def crop_randomly(
    images: Images, size: int, generator: torch.Generator
) -> Float[Tensor, "batch channels rows columns"]:
    """One random part of all images, at most ``size`` pixels a side."""
    height, width = (min(size, side) for side in images.shape[2:])
    room = torch.tensor([images.shape[2] - height, images.shape[3] - width], device=images.device) + 1
    corner = torch.rand(2, generator=generator, device=images.device) * room
    row, column = corner.long().tolist()
    return images[:, :, row : row + height, column : column + width]
