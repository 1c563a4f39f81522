"""LAVAE: the model (Dittadi & Winther 2019, arXiv 1909.11813)."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from lavae_rl.model.checkpoint import PretrainedModel
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.core import LAVAECore
from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.background import Pictures, SizedBackground
from lavae_rl.model.image.pixels import FramePixels
from lavae_rl.model.image.windows import sprite_boxes
from lavae_rl.model.networks import families
from lavae_rl.model.networks.world import WorldAppearanceNetwork, WorldLocationNetwork
from lavae_rl.model.objective import elbo_terms, importance_weighted_bound
from lavae_rl.model.objects import Detections, Objects
from lavae_rl.model.posterior import presence_logits
from lavae_rl.model.search import Search
from lavae_rl.model.shapes import AnyFrames, AppearanceVectors, Images, LogitMaps, PerImage
from lavae_rl.shapes import Frames
from lavae_rl.warn import warn_user

CANVAS_SIZE = (64, 64)
"""(height, width) in pixels of samples whose background is black."""


class LAVAE(LAVAECore, PretrainedModel):
    """Variational autoencoder that counts, locates and describes the sprites of a scene, and draws scenes.

    The public methods work on frames, uint8 (batch, height, width, channels): of values 0 and 255 on any canvas that
    holds a sprite, or, of a model with a background, on frames of its size. ``from_pretrained`` gives a trained model;
    ``LAVAE(config)`` an untrained one.
    """

    model_type = "lavae"
    finds_objects = True
    config_type = LAVAEConfig
    _folded: tuple[object, nn.Module | Search] | None = None
    _warned = _warned_of_counts = False

    @torch.inference_mode()
    def encode(self, frames: AnyFrames, max_objects: int | None = None, boxes: bool = True) -> Objects:
        """Find the objects: their number, locations and appearances. Deterministic.

        Args:
            frames: uint8 (batch, height, width, channels), NumPy or torch; of values 0 and 255 for models of the
                paper's data sets, raw frames of their environment for others.
            max_objects: number of slots, at least 1; if a frame has more objects, the most confident ones are kept,
                and a warning is issued once. None gives as many slots as the fullest frame has objects.
            boxes: whether to decode the objects for their boxes, about a tenth of the time; without, no box has an
                extent.

        Returns:
            Objects of the same kind (NumPy or torch).

        Raises:
            TypeError: frames that are not uint8.
            ValueError: frames of another shape or with other values, or a ``max_objects`` below 1.
        """
        if max_objects is not None and max_objects < 1:
            raise ValueError(f"expected max_objects of at least 1, got {max_objects}")
        checked = self.check(frames)
        canvas_size = (checked.shape[1], checked.shape[2])
        found, logits, posterior = self._find(checked)
        described = {"appearance": posterior.mean, "appearance_variance": posterior.log_variance.exp()}
        described |= {"scale": found.scale}
        if boxes:
            described["box"] = self._boxes(found, posterior.mean, canvas_size)
        objects = Objects.from_detections(found, canvas_size, max_objects, presence=logits.sigmoid(), **described)
        if not self._warned and len(objects.count) and (most := int(objects.dropped.max())):
            self._warned = True
            slots = objects.mask.shape[1]
            warn_user(
                f"a frame has {slots + most} objects, and max_objects={slots} keeps the most confident: pass "
                f"max_objects={slots + most} or more; Objects.dropped counts what is left out from now on"
            )
        return objects.numpy() if isinstance(frames, np.ndarray) else objects

    def _find(self, frames: Tensor) -> tuple[Detections, Float[Tensor, " objects"], Gaussian]:
        """The objects of checked frames, the logit and the appearance of each."""
        network = self._evaluated()
        if isinstance(network, Search):
            return network(FramePixels(frames, network.background), self.likelihood)
        scene = self.scene(self.images_of(frames))
        maps = network(scene.inputs)
        found = self.peaks(maps, scene)
        if maps.dim() == 4:
            maps = maps.amax(1)
        logits = presence_logits(maps, found, self.config.presence_window)
        return found, logits, self.appearance_network(scene.inputs, found)

    def _evaluated(self) -> nn.Module | Search:
        """The location network as evaluation wants it: batch norms folded, rebuilt whenever a weight has changed.

        On CPUs it searches a background only where frames differ; on a GPU, whole frames cost less than many steps.
        """
        parts = (self.location_network, self.appearance_network, self.background)
        modules = [part for part in parts if isinstance(part, nn.Module)]
        state = [value for module in modules for value in module.state_dict().values()]
        version = tuple((value.data_ptr(), value._version) for value in state)
        if self._folded is None or self._folded[0] != version:
            self._folded = (version, self._fold())
        return self._folded[1]

    def _fold(self) -> nn.Module | Search:
        network, background = families.fold_batch_norms(self.location_network), self.background
        on_cpu = self.device.type == "cpu"
        if on_cpu and isinstance(network, WorldLocationNetwork) and isinstance(background, Pictures):
            describe = cast("WorldAppearanceNetwork", self.appearance_network)
            return Search(network, describe, background, self.config)
        return network

    @torch.inference_mode()
    def decode(self, objects: Objects) -> Float[np.ndarray | Tensor, "..."]:
        """Draw objects on their canvas: pixel means in [0, 1], NumPy if the objects are, torch otherwise.

        Raises:
            ValueError: a location off the canvas.
        """
        given = objects.torch(self.device)
        mean = self.likelihood.mean(self._theta(given, self._empty(given))).permute(0, 2, 3, 1)
        return mean.cpu().numpy() if isinstance(objects.count, np.ndarray) else mean

    def reconstruct(
        self, frames: Frames
    ) -> tuple[Float[np.ndarray, "batch height width channels"], Sequence[Int[np.ndarray, "objects 2"]]]:
        """Pixel means of frames, encoded and decoded, and the locations of the objects of each."""
        objects = self.encode(frames)
        centres = [location[:count] for location, count in zip(objects.location, objects.count, strict=True)]
        with torch.inference_mode():
            theta = self._theta(objects.torch(self.device), self.background(self.images(frames)))
            return self.likelihood.mean(theta).permute(0, 2, 3, 1).cpu().numpy(), centres

    @torch.inference_mode()
    def decode_sprites(self, objects: Objects) -> Float[np.ndarray, "batch slots size size channels"]:
        """The sprite of each object by itself, on black: pixel means in [0, 1], black in unused slots."""
        given = objects.torch(self.device)
        shape = (*given.mask.shape, self.config.channels, self.config.sprite_size, self.config.sprite_size)
        sprites = torch.zeros(shape, device=self.device)
        decoded = self.sprite_decoder(given.appearance[given.mask])
        sprites[given.mask] = decoded[:, :-1] * decoded[:, -1:] if self.config.composition == "over" else decoded
        return sprites.permute(0, 1, 3, 4, 2).cpu().numpy()

    def _boxes(self, found: Detections, appearance: AppearanceVectors, canvas_size: Sequence[int]) -> Tensor:
        """(row, column, height, width) of what each decoded sprite shows on the canvas."""
        distinct, which = torch.unique(appearance, dim=0, return_inverse=True)  # a paddle looks the same in many frames
        sprites = self.sprite_decoder(distinct)
        shown = sprites[:, -1] if self.config.composition == "over" else sprites.amax(1)
        lit = shown >= 0.5 * shown.amax((1, 2), keepdim=True).clamp(max=1)
        return sprite_boxes(lit[which], found, canvas_size)

    def _empty(self, given: Objects) -> Images:
        """Scenes without objects; on the most usual picture of the background."""
        if isinstance(self.background, SizedBackground):
            return self.background.most_usual(len(given.count), given.canvas_size)
        shape = (len(given.count), self.config.channels, *given.canvas_size)
        return self.background(torch.empty(shape, device=self.device))

    def _theta(self, given: Objects, background: Images) -> Images:
        found = Detections(given.mask.nonzero()[:, 0], given.location[given.mask], given.count, given.scale[given.mask])
        limit = torch.tensor(given.canvas_size, device=self.device)
        if ((found.location < 0) | (found.location >= limit)).any():
            raise ValueError(f"expected locations on the {given.canvas_size} canvas, got {found.location.tolist()}")
        return self.composition(self.sprite_decoder(given.appearance[given.mask]), found, background)

    @torch.inference_mode()
    def sample_objects(
        self,
        num_images: int,
        num_objects: int | None = None,
        canvas_size: tuple[int, int] | None = None,
        generator: torch.Generator | None = None,
    ) -> Objects:
        """Draw from the prior p(n) p(l | n) p(a | n) of eq. (1), as tensors on the model's device.

        All scenes have ``num_objects``; None samples the learned prior of eq. (2). The canvas size is (height, width)
        in pixels, by default that of the background, or 64 x 64; the generator is on the model's device.

        Raises:
            ValueError: more objects than pixels, or a negative number.
        """
        height, width = canvas_size = canvas_size or self.config.canvas_size or CANVAS_SIZE
        if num_objects is None:
            prior = self.count_log_probs.exp()
            draws = torch.rand(num_images, 1, generator=generator, device=self.device)
            count = (draws > prior.cumsum(0)[:-1]).sum(1).clamp(max=height * width)
        elif 0 <= num_objects <= height * width:
            count = torch.full((num_images,), num_objects, device=self.device)
        else:
            raise ValueError(f"expected num_objects of 0 to {height * width} (one per pixel), got {num_objects}")
        slots = int(count.max()) if num_images else 0
        sites = len(self.config.scales) * height * width
        draws = torch.rand(num_images, sites, generator=generator, device=self.device)
        flat = draws.topk(slots, dim=1).indices  # uniform without replacement, eq. (3)
        scale = torch.tensor(self.config.scales, device=self.device)[flat // (height * width)]
        flat = flat % (height * width)
        mask = torch.arange(slots, device=self.device) < count[:, None]
        location = torch.stack([flat // width, flat % width], dim=2) * mask[..., None]
        shape = (num_images, slots, self.config.latents)
        appearance = torch.randn(shape, generator=generator, device=self.device) * mask[..., None]
        found = Detections(mask.nonzero()[:, 0], location[mask], count, scale[mask])
        described = {"appearance": appearance[mask], "appearance_variance": torch.zeros_like(appearance[mask])}
        described |= {"presence": mask[mask].float(), "box": self._boxes(found, appearance[mask], canvas_size)}
        return Objects.from_detections(found, canvas_size, slots, **described)

    @torch.inference_mode()
    def sample(
        self,
        num_images: int,
        num_objects: int | None = None,
        canvas_size: tuple[int, int] | None = None,
        generator: torch.Generator | None = None,
    ) -> UInt8[Tensor, "batch height width channels"]:
        """Ancestral samples of whole frames, with the arguments of ``sample_objects``."""
        objects = self.sample_objects(num_images, num_objects, canvas_size, generator)
        empty = self._empty(objects)
        if isinstance(self.background, SizedBackground):
            empty = self.background.sample(num_images, generator)
        values = self.likelihood.sample(self._theta(objects, empty).permute(0, 2, 3, 1), generator)
        return (values * 255).round().to(torch.uint8)

    def sample_means(
        self, num_images: int, canvas_size: tuple[int, int] | None = None, generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch height width channels"]:
        """Pixel means in [0, 1] of objects drawn from the prior."""
        return torch.as_tensor(self.decode(self.sample_objects(num_images, None, canvas_size, generator)))

    @torch.inference_mode()
    def elbo(self, frames: AnyFrames, generator: torch.Generator | None = None) -> PerImage:
        """Single-sample evidence lower bound on log p(x), nats per frame; its terms are ``objective.elbo_terms``.

        Of frames with more objects than N_max it is as low as ``log_likelihood``, and warned about in the same way.
        """
        images = self.images(frames)
        return elbo_terms(self, images, generator, self._logits(images)).elbo

    @torch.inference_mode()
    def log_likelihood(
        self, frames: AnyFrames, num_samples: int = 100, generator: torch.Generator | None = None
    ) -> PerImage:
        """Importance-weighted lower bound on log p(x), nats per frame, with 100 samples per frame as in the paper.

        The prior p(n) ends at N_max, ``config.max_objects``: frames with more objects are explained by N_max objects
        drawn from q(l | x). Their bound is thousands of nats lower than of a model that could explain all objects; the
        first time, a warning is issued.
        """
        images = self.images(frames)
        return importance_weighted_bound(self, images, num_samples, generator, self._logits(images))

    def _logits(self, images: Images) -> LogitMaps:
        """Location logits; warns, once, of frames with more objects than the prior p(n) has a probability for."""
        logits, most = self.logits(images), self.config.max_objects
        if self._warned_of_counts or not len(images):
            return logits
        if not (beyond := self.peaks(logits, self.scene(images)).count > most).any():
            return logits
        self._warned_of_counts = True
        warn_user(
            f"{int(beyond.sum())} of {len(images)} frames have more objects than N_max = {most}, at which the prior "
            "p(n) of this model ends: only so many of their objects are explained, and each of the others costs "
            "hundreds to thousands of nats. Such values tell nothing of the model: leave those frames out, "
            "frames[model.encode(frames).count <= model.config.max_objects]"
        )
        return logits
