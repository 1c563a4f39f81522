"""Between images and the windows in them: cropping, composition of sprites, the likelihood, the empty scene.

Each is one function, so that another likelihood, composition or background has one place to go.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.shapes import Images, ObjectIndex, ObjectLocations, Sprites

EPSILON = 1e-6
"""Keeps pixel probabilities inside (0, 1): a lit pixel that no sprite explains costs -log(EPSILON) = 13.8 nats."""


def crop_windows(images: Images, image_index: ObjectIndex, location: ObjectLocations, size: int) -> Sprites:
    """Cuts out the ``size`` x ``size`` window centred on each location; beyond the border the image is dark."""
    half = size // 2
    padded = F.pad(images, (half, half, half, half))
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)
    return windows[image_index, :, location[:, 0], location[:, 1]]


def compose(
    sprites: Sprites, image_index: ObjectIndex, location: ObjectLocations, num_images: int, canvas_size: tuple[int, int]
) -> Images:
    """Eq. (4): the sum of all sprites of an image, each centred on its location and cropped at the border.

    Pasting by index equals the paper's convolution with a Kronecker delta, and costs nothing for the empty pixels.
    The sum may pass 1 where sprites overlap; ``bernoulli_log_likelihood`` clamps it.
    """
    _, channels, size, _ = sprites.shape
    height, width = canvas_size
    half, padded_height, padded_width = size // 2, height + size - 1, width + size - 1
    offset = torch.arange(size, device=sprites.device)
    row = location[:, 0, None] + offset
    column = location[:, 1, None] + offset
    channel = torch.arange(channels, device=sprites.device)
    plane = (image_index[:, None] * channels + channel) * padded_height
    index = ((plane[:, :, None] + row[:, None, :]) * padded_width)[..., None] + column[:, None, None, :]
    padded = sprites.new_zeros(num_images * channels * padded_height * padded_width)
    padded = padded.index_add(0, index.flatten(), sprites.flatten())
    padded = padded.view(num_images, channels, padded_height, padded_width)
    return padded[:, :, half : half + height, half : half + width]


def empty_scene(images: Images) -> Images:
    """Pixel means of the scene without objects: black."""
    return torch.zeros_like(images)


def bernoulli_log_likelihood(images: Images, mean: Images) -> Float[Tensor, "batch channels height width"]:
    """Log p(x_i | theta_i) of each pixel and channel, in nats (eq. 12), the mean clamped above and kept off 0 and 1.

    ``EPSILON`` is added rather than clamped to: a lit pixel whose sprite is still dark must pull it up.
    """
    safe = EPSILON + (1 - 2 * EPSILON) * mean.float().clamp(max=1)  # in bfloat16, 1 - EPSILON is 1
    # Pixels are exactly 0 or 1, so one logarithm per pixel is enough.
    return torch.log(torch.where(images > 0.5, safe, 1 - safe))


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
