"""The world family: networks for frames with a background, on which sprites of several scales have an alpha channel.

Location and appearance network read a frame and its difference to the background.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.windows import crop_scaled_windows
from lavae_rl.model.networks.fast import convolve, refine
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import AppearanceVectors, Images, LogitMaps, Sprites

_STEM, _TRUNK, _HIDDEN = 16, 32, 96


class WorldLocationNetwork(nn.Module):
    """A U-net with one map of logits per scale, as deep as its largest window needs."""

    def __init__(self, channels: int, num_scales: int, largest_window: int) -> None:
        super().__init__()
        self.levels = levels_for(largest_window)
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), convolve(4 * 2 * channels, _STEM))
        self.trunk = _Level(_STEM, self.levels)
        self.merge = convolve(_STEM, _STEM)
        self.head = nn.Conv2d(_STEM, 4 * num_scales, 1)
        nn.init.constant_(self.head.bias, -5.0)  # type: ignore[arg-type]  # objects are rare: start near "nowhere"

    @property
    def reach(self) -> int:
        """Pixels in each direction beyond which a logit does not depend on the frame, a multiple of ``stride``."""
        return reach_of(self.levels)

    @property
    def stride(self) -> int:
        """Pixels by which frames are moved without another change of logits."""
        return 2 ** (1 + self.levels)

    def forward(self, inputs: Images) -> LogitMaps:
        """One logit per scale and pixel."""
        height, width = inputs.shape[-2:]
        if not len(inputs):  # PixelUnshuffle hands an empty batch through unchanged
            return inputs.new_zeros(0, self.head.out_channels // 4, height, width)
        padded = F.pad(inputs, (0, -width % self.stride, 0, -height % self.stride))
        fine = self.stem(padded)
        logits = F.pixel_shuffle(self.head(self.merge(self.trunk(fine))), 2)
        return logits[..., :height, :width].float()


class _Level(nn.Module):
    """Sum of features and of what a network at half their resolution makes of them."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.down = nn.Sequential(convolve(channels, _TRUNK, stride=2), refine(_TRUNK))
        self.below = _Level(_TRUNK, levels - 1) if levels > 1 else nn.Identity()
        self.up = nn.Sequential(convolve(_TRUNK, channels, kernel=1), nn.Upsample(scale_factor=2))

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        return features + self.up(self.below(self.down(features)))


def levels_for(largest_window: int) -> int:
    """Number of levels below half resolution at which the reach, but for its rounding, holds the largest window."""
    levels = 1
    while reach_of(levels) - 2 ** (1 + levels) < largest_window // 2:
        levels += 1
    return levels


def reach_of(levels: int) -> int:
    """The receptive field of a network with that many levels, in pixels to each side, rounded up to its stride."""
    stride, reach = 2, 2 + 1 + 2  # stem, its own pixel, and merge
    for _ in range(levels):
        reach += stride  # the convolution with stride 2
        stride *= 2
        reach += 2 * stride + stride // 2  # two convolutions, and the pixels of a cell that is enlarged again
    return -(-reach // stride) * stride


class WorldAppearanceNetwork(nn.Module):
    """Encoder of the window around each location, averaged down to the size of a sprite."""

    def __init__(self, channels: int, size: int, latents: int) -> None:
        super().__init__()
        self.size = size
        half = (size + 1) // 2
        stem = (nn.Conv2d(2 * channels, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        hidden = (nn.Linear(8 * half * half, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU())
        self.layers = nn.Sequential(*stem, *hidden, nn.Linear(_HIDDEN, 2 * latents))

    def forward(self, inputs: Images, found: Detections) -> Gaussian:
        """The posterior q(a | l, x) of each object."""
        return self.describe(crop_scaled_windows(inputs, found, self.size))

    def describe(self, windows: Sprites) -> Gaussian:
        """The posterior of the object in each window."""
        return Gaussian.of(self.layers(windows))


class WorldSpriteDecoder(nn.Module):
    """Fully connected; a sprite is alpha, and one colour plus a texture that starts at zero."""

    def __init__(self, channels: int, size: int, latents: int) -> None:
        super().__init__()
        self.shape = (channels, size, size)
        hidden = (nn.Linear(latents, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU())
        self.trunk = nn.Sequential(*hidden)
        self.alpha = nn.Linear(_HIDDEN, size * size)
        self.color = nn.Sequential(nn.Linear(latents, 64), nn.ReLU(), nn.Linear(64, channels))
        self.texture = nn.Linear(_HIDDEN, channels * size * size)
        nn.init.constant_(self.alpha.bias, -2.0)  # start faint
        nn.init.zeros_(self.texture.weight)
        nn.init.zeros_(self.texture.bias)

    def forward(self, appearance: AppearanceVectors) -> Sprites:
        """Colours of each sprite, and alpha as a last channel; all in (0, 1)."""
        channels, size, _ = self.shape
        features = self.trunk(appearance)
        alpha = torch.sigmoid(self.alpha(features).float()).view(-1, 1, size, size)
        texture = self.texture(features).float().view(-1, *self.shape)
        color = torch.sigmoid(self.color(appearance).float().view(-1, channels, 1, 1) + texture)
        return torch.cat([color, alpha], dim=1)
