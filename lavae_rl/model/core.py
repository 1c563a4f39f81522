"""The parts of LAVAE that its objective needs: networks, image model, prior p(n), sharpness of q(l | x)."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.image.background import Background, Pictures, SizedBackground, black
from lavae_rl.model.image.changing import ChangingPicture
from lavae_rl.model.image.composition import Composition, add_sprites, over
from lavae_rl.model.image.likelihood import Bernoulli, Likelihood, Normal, as_images
from lavae_rl.model.networks import families
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import find_peaks, prominent, without_echoes
from lavae_rl.model.shapes import AnyFrames, Images, LogitMaps, PerImage
from lavae_rl.model.sites import Sites
from lavae_rl.model.surprise import PIXEL_NATS, near_surprise


class Scene(NamedTuple):
    """Images, and what is computed of them once however often they are explained."""

    images: Images
    background: Images
    """Pixel means behind the objects."""
    inputs: Images
    """Inputs of the location and the appearance network."""


def make_background(config: LAVAEConfig) -> SizedBackground:
    """The background of a configuration with a canvas size, before anything is known of it."""
    assert config.canvas_size is not None
    if config.background_directions:
        number, channels, scale = config.background_directions, config.channels, config.pixel_scale
        return ChangingPicture(number, channels, config.canvas_size, scale)
    return Pictures(config.background_states, config.channels, config.canvas_size)


class LAVAECore(nn.Module):
    """Networks and distributions of LAVAE, on images; ``LAVAE`` is its public face, on frames."""

    def __init__(self, config: LAVAEConfig) -> None:
        super().__init__()
        self.config = config
        family = families.FAMILIES[config.networks]
        shape = (config.channels, config.sprite_size, config.latents)
        self.location_network = family.location(config)
        self.appearance_network = family.appearance(*shape)
        self.sprite_decoder = family.decoder(*shape)
        self.reads_difference = family.reads_difference
        self.background: Background = black
        if config.canvas_size is not None:
            self.background = make_background(config)
        self.composition: Composition = over if config.composition == "over" else add_sprites
        self.likelihood: Likelihood = Bernoulli(config.channels)
        if config.likelihood == "normal":
            self.likelihood = Normal(config.channels, config.pixel_scale)
        self.count_logits = nn.Parameter(torch.zeros(config.max_objects + 1))
        # Starts at "log-odds are logits": sharpness * log(L) = 1 on the paper's canvas of 64 x 64.
        self.log_sharpness = nn.Parameter(torch.tensor(-math.log(math.log(64 * 64))))
        self.eval()  # encoding must never depend on the batch; training asks for train() itself

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.count_logits.device

    @property
    def sharpness(self) -> Tensor:
        """Inverse temperature of q(l | x), positive, learned; see ``posterior.location_log_probs``."""
        return self.log_sharpness.exp()

    @property
    def count_log_probs(self) -> Float[Tensor, " counts"]:
        """Log p(n) for n = 0..N_max, eq. (2)."""
        return F.log_softmax(self.count_logits, dim=0)

    def images(self, frames: AnyFrames) -> Images:
        """Turn frames into what the networks read: float32 (batch, channels, height, width), on the device.

        Raises:
            TypeError: not a uint8 array.
            ValueError: wrong rank, channels or size, or values that the likelihood refuses.
        """
        return self.images_of(self.check(frames))

    def images_of(self, checked: UInt8[Tensor, "batch height width channels"]) -> Images:
        """Turn frames that were checked into what the networks read."""
        images = as_images(checked)
        return self.background.cover(images) if isinstance(self.background, SizedBackground) else images

    def check(self, frames: AnyFrames) -> UInt8[Tensor, "batch height width channels"]:
        """Put frames on the device, as they are; raise the errors of ``images``."""
        checked = self.likelihood.check(frames, self.device)
        if min(checked.shape[1:3]) < self.config.sprite_size:
            raise ValueError(
                f"expected frames of at least {self.config.sprite_size} px a side, got {tuple(checked.shape[1:3])}"
            )
        if isinstance(self.background, SizedBackground):
            self.background.check(checked.shape[1:3])
        return checked

    def kl_background(self, images: Images) -> PerImage:
        """KL(q(b | x) || p(b)) of the states of the background, in nats."""
        if isinstance(self.background, SizedBackground):
            return self.background.kl(images)
        return images.new_zeros(len(images))

    def scene(self, images: Images) -> Scene:
        """Images with their background and what the networks read of them."""
        background = self.background(images)
        inputs = torch.cat([images, images - background], dim=1) if self.reads_difference else images
        return Scene(images, background, inputs)

    def logits(self, images: Images) -> LogitMaps:
        """Log-odds that an object is centred on each pixel."""
        return self.location_network(self.scene(images).inputs)

    def peaks(self, logits: LogitMaps, scene: Scene | None = None, presence_window: int | None = None) -> Detections:
        """Eq. (8): the objects that location logits stand for, with the scale of each.

        Of a scene on a background, those that differ from it: see ``near_surprise``. ``presence_window`` is the model's
        own by default.
        """
        pool = presence_window or self.config.presence_window
        found = find_peaks(logits, self.config.peak_window, self.config.scales, pool=pool)
        if self.config.min_prominence > 0:
            found = prominent(found, logits, self.config.min_prominence, self.config.sprite_size)
        if scene is not None:
            found = self._differing(found, scene)
        return without_echoes(found, self.config.peak_window)

    @torch.inference_mode()
    def detect(self, images: Images) -> Detections:
        """q(n | x) and the mode of q(l | x): every object of every image, the most confident first."""
        scene = self.scene(images)
        return self.peaks(self.location_network(scene.inputs), scene)

    def _differing(self, found: Detections, scene: Scene) -> Detections:
        if not isinstance(self.background, SizedBackground):
            return found
        nats = self.likelihood.surprise(scene.images, scene.background).sum(1)
        height, width = nats.shape[1:]
        surprising = Sites(F.pad(nats > PIXEL_NATS, (0, width % 2, 0, height % 2))).halve()
        near = near_surprise(surprising, self.config.sprite_size)
        row, column = found.location.T
        return found.select(near.mask[found.image_index, row // 2, column // 2])
