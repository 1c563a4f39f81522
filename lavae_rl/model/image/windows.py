"""Windows of images around locations."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images, Sprites


def crop_windows(images: Images, found: Detections, size: int) -> Sprites:
    """Cuts out the ``size`` x ``size`` window centred on each object; beyond the border the image is 0."""
    half = size // 2
    padded = F.pad(images, (half, half, half, half))
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)
    return windows[found.image_index, :, found.location[:, 0], found.location[:, 1]]


def gaussian_blur(
    maps: Float[Tensor, "batch height width"], half: int, sigma: float
) -> Float[Tensor, "batch height width"]:
    """Convolution with a Gaussian window of ``2 * half + 1`` pixels and peak 1; beyond the border maps are 0.

    In float32 always: where the maximum is can depend on the last digits.
    """
    offset = torch.arange(-half, half + 1, device=maps.device)
    kernel = torch.exp(-0.5 * (offset / sigma).square())
    with torch.autocast(maps.device.type, enabled=False):
        rows = F.conv2d(maps.float()[:, None], kernel.view(1, 1, -1, 1), padding=(half, 0))
        return F.conv2d(rows, kernel.view(1, 1, 1, -1), padding=(0, half))[:, 0]
