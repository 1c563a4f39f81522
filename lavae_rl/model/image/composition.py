"""Sprites composed over a background."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images, Sprites

Composition = Callable[[Sprites, Detections, Images], Images]
"""Pixel means theta of each image: its sprites, centred on their locations, over its background."""


def add_sprites(sprites: Sprites, found: Detections, background: Images) -> Images:
    """Eq. (4): the sum of all sprites of an image, each centred on its location and cropped at the border.

    Pasting by index equals the paper's convolution with a Kronecker delta, and costs nothing for the empty pixels.
    The sum may pass 1 where sprites overlap; the likelihood clamps it.
    """
    _, channels, size, _ = sprites.shape
    height, width = background.shape[2:]
    half, padded_height, padded_width = size // 2, height + size - 1, width + size - 1
    offset = torch.arange(size, device=sprites.device)
    row = found.location[:, 0, None] + offset
    column = found.location[:, 1, None] + offset
    channel = torch.arange(channels, device=sprites.device)
    plane = (found.image_index[:, None] * channels + channel) * padded_height
    index = ((plane[:, :, None] + row[:, None, :]) * padded_width)[..., None] + column[:, None, None, :]
    padded = F.pad(background, (half, half, half, half)).contiguous()
    padded = padded.flatten().index_add(0, index.flatten(), sprites.flatten()).view(padded.shape)
    return padded[:, :, half : half + height, half : half + width]
