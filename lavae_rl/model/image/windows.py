"""Windows of images around locations."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lavae_rl.model.objects import Detections
from lavae_rl.model.shapes import Images, Sprites


def crop_windows(images: Images, found: Detections, size: int) -> Sprites:
    """Cut out the ``size`` x ``size`` window centred on each object; beyond the border the image is 0."""
    half = size // 2
    padded = F.pad(images, (half, half, half, half))
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)
    return windows[found.image_index, :, found.location[:, 0], found.location[:, 1]]


def crop_scaled_windows(images: Images, found: Detections, size: int) -> Sprites:
    """Cut out the window of ``scale * size`` pixels around each object, and average it down to ``size``."""
    windows = images.new_zeros(len(found.location), images.shape[1], size, size)
    for scale in sorted(set(found.scale.tolist())):
        chosen = found.scale == scale
        native = gather_windows(images, found.select(chosen), scale * size)
        windows[chosen] = F.avg_pool2d(native, scale) if scale > 1 else native
    return windows


def gather_windows(images: Images, found: Detections, size: int) -> Sprites:
    """Crop windows as ``crop_windows``, and faster where windows are a small part of large images."""
    pixel, inside = window_pixels(found, size, images.shape[2:])
    windows = as_rows(images)[pixel * inside] * inside[..., None]
    return windows.permute(0, 3, 1, 2)


def as_rows(images: Images) -> Float[Tensor, "pixels channels"]:
    """All pixels of all images, image by image and row by row."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def window_pixels(
    found: Detections, size: int, canvas_size: Sequence[int]
) -> tuple[Int[Tensor, "objects size size"], Bool[Tensor, "objects size size"]]:
    """Index of each pixel of each sprite among the pixels of all images, and whether it is on the canvas."""
    height, width = canvas_size
    offset = torch.arange(size, device=found.location.device) - size // 2
    row, column = (found.location[:, axis, None] + offset for axis in (0, 1))
    inside = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None, :]
    first = (found.image_index * height * width)[:, None, None]
    return first + row[:, :, None] * width + column[:, None, :], inside


def sprite_boxes(
    lit: Bool[Tensor, "objects size size"], found: Detections, canvas_size: Sequence[int]
) -> Int[Tensor, "objects 4"]:
    """(row, column, height, width) on the canvas of the lit pixels of each sprite, cropped at the border."""
    size = lit.shape[-1]
    sides = torch.stack([lit.any(2), lit.any(1)], dim=1).int()  # rows, columns
    first, end = sides.argmax(2), size - sides.flip(2).argmax(2)
    scale = found.scale[:, None]
    corner = found.location - scale * size // 2
    limit = torch.tensor(canvas_size, device=lit.device)
    first, end = ((corner + scale * edge).clamp(min=0).minimum(limit) for edge in (first, end))
    return torch.cat([first, end - first], dim=1)


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
