"""The fast family: the same functions at a hundredth of the cost of full-resolution networks.

Locations are found at half and quarter resolution, and the appearance map is evaluated only where somebody reads it.
"""

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.windows import crop_windows
from lavae_rl.model.networks.layers import Residual
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import AppearanceVectors, Images, LogitMaps, Sprites


def convolve(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution with batch norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def refine(channels: int) -> Residual:
    """A residual block of two such convolutions."""
    return Residual(OrderedDict(convolutions=nn.Sequential(convolve(channels, channels), convolve(channels, channels))))


class FastLocationNetwork(nn.Module):
    """A small U-net: half resolution for where exactly, quarter resolution for what belongs together."""

    def __init__(self, channels: int, stem: int = 8, trunk: int = 32, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), convolve(4 * channels, stem))
        self.trunk = nn.Sequential(convolve(stem, trunk, stride=2), *(refine(trunk) for _ in range(blocks)))
        self.lift = nn.Sequential(convolve(trunk, stem, kernel=1), nn.Upsample(scale_factor=2))
        self.merge = convolve(stem, stem)
        self.head = nn.Conv2d(stem, 4, 1)
        nn.init.constant_(cast("Tensor", self.head.bias), -5.0)  # objects are rare: start near "nowhere"

    def forward(self, images: Images) -> LogitMaps:
        """One logit per pixel."""
        height, width = images.shape[-2:]
        if not len(images):  # PixelUnshuffle hands an empty batch through unchanged
            return images.new_zeros(0, height, width)
        padded = F.pad(images, (0, -width % 4, 0, -height % 4))
        fine = self.stem(padded)
        features = self.merge(fine + self.lift(self.trunk(fine)))
        return F.pixel_shuffle(self.head(features), 2)[:, 0, :height, :width].float()


class FastAppearanceNetwork(nn.Module):
    """Encoder of the window around each location: an appearance map with that receptive field, evaluated lazily."""

    def __init__(self, channels: int, size: int, latents: int, width: int = 256) -> None:
        super().__init__()
        self.size = size
        hidden = (nn.Linear(channels * size * size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, 2 * latents))

    def forward(self, images: Images, found: Detections) -> Gaussian:
        """The posterior q(a | l, x) of each object."""
        return self.describe(crop_windows(images, found, self.size))

    def describe(self, windows: Sprites) -> Gaussian:
        """The posterior of the object in each window."""
        return Gaussian.of(self.layers(windows))


class FastSpriteDecoder(nn.Module):
    """Fully connected; a sprite is a mask times a colour, the colour free to vary from pixel to pixel.

    The product halves what has to be learned about sprites of one colour, and loses nothing for others: the texture
    starts at zero and grows where it pays.
    """

    def __init__(self, channels: int, size: int, latents: int, width: int = 256) -> None:
        super().__init__()
        self.shape = (channels, size, size)
        self.trunk = nn.Sequential(nn.Linear(latents, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.mask = nn.Linear(width, size * size)
        self.color = nn.Sequential(nn.Linear(latents, 64), nn.ReLU(), nn.Linear(64, channels))
        self.texture = nn.Linear(width, channels * size * size)
        nn.init.constant_(self.mask.bias, -2.0)  # start dark, as canvases are
        nn.init.zeros_(self.texture.weight)
        nn.init.zeros_(self.texture.bias)

    def forward(self, appearance: AppearanceVectors) -> Sprites:
        """Pixel means of each sprite."""
        channels, size, _ = self.shape
        features = self.trunk(appearance)
        mask = torch.sigmoid(self.mask(features).float()).view(-1, 1, size, size)
        texture = self.texture(features).float().view(-1, *self.shape)
        return mask * torch.sigmoid(self.color(appearance).float().view(-1, channels, 1, 1) + texture)
