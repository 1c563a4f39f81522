"""The paper's family (appendix B): residual networks at full resolution, about 500k parameters in three equal parts.

The paper states depth, order of layers and number of parameters; the widths are ours. Its location logits are these
logits times a constant that grows with log L: see ``posterior.location_log_probs``.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.networks.layers import conv, residual
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import AppearanceVectors, Images, LogitMaps, Sprites

_BLOCKS, _DECODER_BLOCKS = 4, 3


class PaperLocationNetwork(nn.Module):
    """Four residual blocks, then three convolutions down to one channel."""

    def __init__(self, channels: int, width: int = 42) -> None:
        super().__init__()
        head = nn.Conv2d(width, 1, 3, padding=1)
        self.layers = nn.Sequential(_trunk(channels, width), conv(width, width), conv(width, width), head)
        nn.init.constant_(cast("Tensor", head.bias), -5.0)  # objects are rare: start near "nowhere"

    def forward(self, images: Images) -> LogitMaps:
        """One logit per pixel."""
        return self.layers(images)[:, 0].float()


class PaperAppearanceNetwork(nn.Module):
    """Four residual blocks, then a convolution to a map of means and log-variances, read at the locations."""

    def __init__(self, channels: int, size: int, latents: int, width: int = 48) -> None:
        super().__init__()
        self.layers = nn.Sequential(_trunk(channels, width), nn.Conv2d(width, 2 * latents, 1))

    def forward(self, images: Images, found: Detections) -> Gaussian:
        """The posterior q(a | l, x) of each object."""
        return Gaussian.of(self.layers(images)[found.image_index, :, found.location[:, 0], found.location[:, 1]])

    def read(self, images: Images, weights: Float[Tensor, "batch slots pixels"]) -> Gaussian:
        """The same at relaxed locations, where the map is averaged with their weights; image by image, slot by slot."""
        features = torch.einsum("bkp,bdp->bkd", weights, self.layers(images).flatten(2))
        return Gaussian.of(features.flatten(0, 1))


class PaperSpriteDecoder(nn.Module):
    """Linear, convolution, bilinear upsampling; the appearance again at every pixel; three residual blocks."""

    def __init__(self, channels: int, size: int, latents: int, full_width: int = 52) -> None:
        super().__init__()
        width = max(full_width - latents, 8)
        self.size = size
        small = -(-size // 4)
        self.expand = nn.Sequential(nn.Linear(latents, width * small**2), nn.Unflatten(1, (width, small, small)))
        self.coarse = conv(width, width)
        last = nn.Conv2d(width + latents, channels, 3, padding=1)
        blocks = [residual(width + latents, normalise=i < _DECODER_BLOCKS - 1) for i in range(_DECODER_BLOCKS)]
        self.fine = nn.Sequential(*blocks, last)
        nn.init.constant_(cast("Tensor", last.bias), -2.0)  # start dark, as canvases are

    def forward(self, appearance: AppearanceVectors) -> Sprites:
        """Pixel means of each sprite."""
        size = (self.size, self.size)
        if not len(appearance):  # neither interpolation nor batch normalisation takes an empty batch
            return appearance.new_zeros(0, cast("nn.Conv2d", self.fine[-1]).out_channels, *size)
        features = F.interpolate(self.coarse(self.expand(appearance)), size, mode="bilinear", align_corners=False)
        everywhere = appearance[:, :, None, None].expand(-1, -1, *size)
        return torch.sigmoid(self.fine(torch.cat([features, everywhere], dim=1)).float())


def _trunk(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(conv(channels, width), *(residual(width) for _ in range(_BLOCKS)))
