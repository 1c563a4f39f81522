"""Sprites composed over a background."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images, Sprites

Composition = Callable[[Sprites, Detections, Images], Images]
"""Pixel means theta of each image: its sprites, centred on their locations, over its background."""


OPAQUE = 1 - 1e-4
"""Largest alpha: what is behind a sprite always keeps a gradient."""


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


def over(sprites: Float[Tensor, "objects _ size size"], found: Detections, background: Images) -> Images:
    """Sprites of colours and a last channel alpha over a background, whatever their order.

    Where sprites overlap, they cover 1 - prod(1 - alpha_k) of the background, and their colour is the mean of their
    colours weighted by alpha. Sprites of scale k are enlarged k times, bilinearly.
    """
    alpha = sprites[:, -1:].clamp(max=OPAQUE)
    premultiplied = torch.cat([alpha * sprites[:, :-1], alpha], dim=1)
    pasted = background.new_zeros(len(background), premultiplied.shape[1] + 1, *background.shape[2:])
    for scale in sorted(set(found.scale.tolist())):
        chosen = found.scale == scale
        layers = premultiplied[chosen]
        if scale > 1:
            layers = F.interpolate(layers, scale_factor=scale, mode="bilinear")
        # The logarithm of what stays visible is a sum over sprites, too.
        layers = torch.cat([layers, torch.log1p(-layers[:, -1:])], dim=1)
        pasted = add_sprites(layers, found.select(chosen), pasted)
    colour, total, clear = pasted[:, :-2], pasted[:, -2:-1], pasted[:, -1:].exp()
    return clear * background + (1 - clear) * colour / total.clamp(min=1e-6)
