"""Wake-sleep on frames with a background: surprise proposes, the better of proposal and location network explains."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float, Int
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
from lavae_rl.pretraining.collages import CutOutMemory, collage, grow, recentre
from lavae_rl.pretraining.components import propose_components
from lavae_rl.pretraining.dreams import centre_loss, location_loss
from lavae_rl.pretraining.recipes import WorldRecipe
from lavae_rl.pretraining.sharpness import fit_sharpness
from lavae_rl.pretraining.state import Loss, Method
from lavae_rl.pretraining.validation import WORLD_VALIDATION, validate_world
from lavae_rl.pretraining.wake_sleep import make_lavae, wake_sleep_groups
from lavae_rl.shapes import Frames

_UNEXPLAINED = 0.7
"""Share of its surprise that a decoded sprite may leave unexplained where it is to cut an object out."""


class Located(NamedTuple):
    """The objects to explain images with, and where they come from."""

    found: Detections
    component: Int[Tensor, " objects"]
    """The component of surprise that each object is, as in ``owner``; 0 for detections of the location network."""
    owner: Int[Tensor, "batch height width"]
    """The component that a pixel belongs to, 0 for none."""
    seen: Detections
    """All detections of the location network."""
    by_network: PerImage
    """1 for images that are explained by these, 0 for others."""


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
        scene = mirror(self.model.scene(images), self.recipe.mirrored, generator)
        loss, terms = self._wake(scene, step, generator)
        if any(len(memory) for memory in self.memories):
            dreaming, dream_terms = self._dream(scene, generator)
            loss, terms = loss + dreaming, terms | dream_terms
        return loss, terms

    def _wake(self, scene: Scene, step: int, generator: torch.Generator) -> Loss:
        """The ELBO's terms for decoder, appearance network and count prior."""
        nats = surprise(self.model.likelihood, scene.images, scene.background)
        located = self._locate(scene, nats, step)
        found = located.found
        posterior = self.model.appearance_network(scene.inputs, found)
        sprites = self.model.sprite_decoder(posterior.draw(generator)[0])
        gain, left = self._explain(scene, nats, sprites, found)
        kl, counting = sum_by_image(posterior.kl(), found.image_index, len(nats)), kl_count(self.model, found.count)
        clutter = self.recipe.alpha_cost * sprites[:, -1].sum() / len(nats)
        loss = (self.recipe.kl_weight(step) * kl + counting - gain + nats.sum((1, 2))).mean() + clutter
        if step >= self.recipe.dreams_from_step:
            self._remember(scene, nats, left, located, sprites.detach())
        values = {"unexplained": nats.sum((1, 2)) - gain, "kl_count": counting, "kl_appearance": kl}
        values["located"] = located.by_network
        # Nats are large beside the dreams' losses and the clipped norm: a hundredth keeps all in one range.
        return loss / 100, {name: value.mean() for name, value in values.items()}

    def _locate(self, scene: Scene, nats: LogitMaps, step: int) -> Located:
        """Choose for each image the proposals or the detections of the location network, whichever explain it better.

        The network never takes over at a fixed step: what it missed by then, the sprites would forget.
        """
        proposed, owner = propose_components(self.model, nats)
        if step <= self.recipe.dreams_from_step:
            component = torch.arange(len(proposed.scale), device=nats.device) + 1
            return Located(proposed, component, owner, proposed, nats.new_zeros(len(nats)))
        self.model.eval()
        with torch.no_grad(), torch.autocast(nats.device.type, enabled=False):
            # By single pixels: where a few together are enough, early training keeps parts of sprites as objects.
            seen = self.model.peaks(self.model.location_network(scene.inputs), presence_window=1)
            seen = seen.keep_first(self.model.config.max_objects)
            better = self._score(scene, nats, seen) > self._score(scene, nats, proposed)
        self.model.train()
        found, component = merge(seen, proposed, better)
        return Located(found.clone(), component.clone(), owner, seen, better.float())

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
    def _remember(self, scene: Scene, nats: LogitMaps, left: LogitMaps, located: Located, sprites: Sprites) -> None:
        """Keep cut-outs of the objects, but of none in which the location network detects several.

        A cut-out is what surprises within the decoded sprite. Where that explains little, because the decoder has not
        learned such an object yet, the cut-out is the component.
        """
        peaks, seen = torch.zeros_like(nats), located.seen
        peaks[seen.image_index, seen.location[:, 0], seen.location[:, 1]] = 1
        layers = torch.stack([located.owner.to(nats), peaks, left, nats, nats > PIXEL_NATS], dim=1)
        layers = torch.cat([scene.images, layers], dim=1)
        for memory, scale in zip(self.memories, self.model.config.scales, strict=True):
            chosen = located.found.scale == scale
            alpha = sprites[chosen, -1:]
            if scale > 1:
                alpha = F.interpolate(alpha, scale_factor=scale, mode="bilinear")
            windows = gather_windows(layers, located.found.select(chosen), alpha.shape[-1])
            colors, (owner, peak, after, before, surprising) = windows[:, :-5], windows[:, -5:].unsqueeze(2).unbind(1)
            shown = grow(alpha, 1) * surprising
            total = (before * shown).sum((1, 2, 3))
            explained = (total > 0) & ((after * shown).sum((1, 2, 3)) <= _UNEXPLAINED * total)
            component = located.component[chosen][:, None, None, None]
            shown = torch.where(explained[:, None, None, None], shown, (owner == component) * surprising)
            several = (peak * grow(shown, 2)).sum((1, 2, 3)) > 1
            kept = ~several & (explained | (component > 0).flatten())
            memory.write(recentre(torch.cat([colors * shown, shown], dim=1)[kept]))

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
        """Fit the sharpness on training frames, at last with more samples."""
        index = torch.linspace(0, len(source) - 1, self.recipe.sharpness_scenes).round().long().numpy()
        images = average.images(source[index])
        fit_sharpness(average, images, self._seed, self.recipe.sharpness_samples if last else 1)


def mirror(scene: Scene, share: float, generator: torch.Generator) -> Scene:
    """Turn left and right around in a share of the images.

    Games draw figures that turn around as mirror images, and a recording may have them one way round only.
    """
    drawn = torch.rand(len(scene.images), generator=generator, device=scene.images.device)
    chosen = (drawn < share)[:, None, None, None]
    return Scene(*(torch.where(chosen, part.flip(3), part) for part in scene))


def merge(one: Detections, other: Detections, chosen: Tensor) -> tuple[Detections, Int[Tensor, " objects"]]:
    """The objects of ``one`` in the chosen images, those of ``other`` in the rest, ordered by image.

    Returns:
        The objects, and of each 1 + its index in ``other``, or 0.
    """
    taken = ~chosen[other.image_index]
    origin = torch.cat([torch.zeros_like(one.scale[chosen[one.image_index]]), taken.nonzero()[:, 0] + 1])
    one, other = one.select(chosen[one.image_index]), other.select(taken)
    order = torch.cat([one.image_index, other.image_index]).argsort(stable=True)
    both = [torch.cat(pair)[order] for pair in ((one.location, other.location), (one.scale, other.scale))]
    index = torch.cat([one.image_index, other.image_index])[order]
    return Detections(index, both[0], one.count + other.count, both[1]), origin[order]


def crop_randomly(
    images: Images, size: int, generator: torch.Generator
) -> Float[Tensor, "batch channels rows columns"]:
    """One random part of all images, at most ``size`` pixels a side."""
    height, width = (min(size, side) for side in images.shape[2:])
    room = torch.tensor([images.shape[2] - height, images.shape[3] - width], device=images.device) + 1
    corner = torch.rand(2, generator=generator, device=images.device) * room
    row, column = corner.long().tolist()
    return images[:, :, row : row + height, column : column + width]
