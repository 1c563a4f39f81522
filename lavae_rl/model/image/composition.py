"""Sprites composed over a background."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lavae_rl.model.image.windows import as_rows, window_pixels
from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images, Sprites

Composition = Callable[[Sprites, Detections, Images], Images]
"""Pixel means theta of each image: its sprites, centred on their locations, over its background."""


Layers = Float[Tensor, "objects layers size size"]
"""Sprites with a channel more than images: alpha is the last."""
OPAQUE = 1 - 1e-4
"""Alpha of a sprite that covers all: what is behind it always keeps a gradient. Alpha is multiplied by it, not
clamped to it, and so keeps a gradient itself."""


def add_sprites(sprites: Sprites, found: Detections, background: Images) -> Images:
    """Eq. (4): the sum of all sprites of an image, each centred on its location and cropped at the border.

    Pasting by index equals the paper's convolution with a Kronecker delta, and costs nothing for the empty pixels.
    The sum may pass 1 where sprites overlap; the likelihood clamps it.
    """
    _, channels, size, _ = sprites.shape
    height, width = background.shape[2:]
    half = size // 2
    padded_height, padded_width = height + 2 * half, width + 2 * half
    offset = torch.arange(size, device=sprites.device)
    row = found.location[:, 0, None] + offset
    column = found.location[:, 1, None] + offset
    channel = torch.arange(channels, device=sprites.device)
    plane = (found.image_index[:, None] * channels + channel) * padded_height
    index = ((plane[:, :, None] + row[:, None, :]) * padded_width)[..., None] + column[:, None, None, :]
    padded = F.pad(background, (half, half, half, half)).contiguous()
    padded = padded.flatten().index_add(0, index.flatten(), sprites.flatten()).view(padded.shape)
    return padded[:, :, half : half + height, half : half + width]


class Cover(NamedTuple):
    """The pixels of a batch that sprites cover, whatever their alpha, and their means."""

    pixels: Int[Tensor, " covered"]
    """Index into the pixels of all images, image by image and row by row; ascending."""
    theta: Float[Tensor, "covered channels"]


def over(sprites: Layers, found: Detections, background: Images) -> Images:
    """Sprites of colours and a last channel alpha over a background, whatever their order; see ``cover``."""
    covered = cover(sprites, found, background)
    theta = as_rows(background).index_put((covered.pixels,), covered.theta)
    number, channels, height, width = background.shape
    return theta.view(number, height, width, channels).permute(0, 3, 1, 2)


def cover(sprites: Layers, found: Detections, background: Images) -> Cover:
    """Compose sprites of colours and a last channel alpha over the pixels of a background that they reach.

    Where sprites overlap, they cover 1 - prod(1 - alpha_k) of the background, and their colour is the mean of their
    colours weighted by alpha. Sprites of scale k are enlarged k times, bilinearly.
    """
    alpha = OPAQUE * sprites[:, -1:]
    premultiplied = torch.cat([alpha * sprites[:, :-1], alpha], dim=1)
    values, index = [], []
    for scale in sorted(set(found.scale.tolist())):
        chosen = found.scale == scale
        layers = premultiplied[chosen]
        if scale > 1:
            layers = F.interpolate(layers, scale_factor=scale, mode="bilinear")
        pixel, inside = window_pixels(found.select(chosen), layers.shape[-1], background.shape[2:])
        index.append(pixel[inside])
        values.append(layers.permute(0, 2, 3, 1)[inside])
    if not index:
        return Cover(found.count.new_zeros(0), sprites.new_zeros(0, sprites.shape[1] - 1))
    rows = as_rows(background)
    pixels, place = _compact(torch.cat(index), len(rows))
    layers = torch.cat(values)
    # The logarithm of what stays visible is a sum over sprites, too.
    layers = torch.cat([layers, torch.log1p(-layers[:, -1:])], dim=1)
    total = layers.new_zeros(len(pixels), layers.shape[1]).index_add(0, place, layers)
    color, weight, clear = total[:, :-2], total[:, -2:-1], total[:, -1:].exp()
    return Cover(pixels, clear * rows[pixels] + (1 - clear) * color / weight.clamp(min=1e-6))


def _compact(index: Int[Tensor, " many"], size: int) -> tuple[Int[Tensor, " few"], Int[Tensor, " many"]]:
    """The different values of an index below ``size``, ascending, and the place of each index among them."""
    there = torch.zeros(size, dtype=torch.bool, device=index.device)
    there[index] = True
    return there.nonzero()[:, 0], (there.cumsum(0) - 1)[index]
