"""The probability of an image given its pixel means."""

import math
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from lavae_rl.byte_frames import to_bytes
from lavae_rl.model.shapes import AnyFrames, Images
from lavae_rl.runs.programs import as_typed

EPSILON = 1e-6
"""Margin of pixel probabilities inside (0, 1): a lit pixel that no sprite explains costs -log(EPSILON) = 13.8 nats."""


@runtime_checkable
class Likelihood(Protocol):
    """p(x | theta), pixel by pixel, and which frames it has a probability for."""

    def check(self, frames: AnyFrames, device: torch.device) -> Tensor:
        """Put frames on a device, as they are; raise TypeError or ValueError on frames it cannot take."""

    def log_prob(self, images: Images, theta: Images) -> Images:
        """Log p(x_i | theta_i) of each pixel and channel, in nats."""

    def surprise(self, images: Images, theta: Images) -> Images:
        """Log p(x_i | x_i) - log p(x_i | theta_i) of each pixel and channel, in nats, at least 0."""

    def mean(self, theta: Images) -> Images:
        """Expected pixels, in [0, 1]."""

    def sample(self, theta: Images, generator: torch.Generator | None) -> Images:
        """Random images, of the values that ``as_images`` gives of frames."""


def as_images(frames: UInt8[Tensor, "batch height width channels"]) -> Images:
    """Turn checked frames into values in [0, 1], channels first."""
    return frames.permute(0, 3, 1, 2).float().div_(255)


def check_frames(frames: AnyFrames, channels: int) -> Tensor:
    """Check a batch of frames, uint8 (batch, height, width, channels), and return it as a tensor.

    Raises:
        TypeError: not a uint8 array.
        ValueError: wrong rank or channels.
    """
    dtype = getattr(frames, "dtype", type(frames).__name__)
    if str(dtype).removeprefix("torch.") != "uint8":
        raise TypeError(f"expected frames as a uint8 array, got {dtype}: {to_bytes(dtype)}")
    shape = tuple(frames.shape)
    if len(shape) != 4 or shape[3] != channels:
        remedy = _reshaped(frames, channels)
        raise ValueError(f"expected frames of shape (batch, height, width, {channels}), got {shape}: {remedy}")
    if isinstance(frames, np.ndarray):
        # PyTorch takes neither read-only nor reversed arrays (frames[..., ::-1]); only these are copied.
        frames = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
    return frames


def _reshaped(frames: AnyFrames, channels: int) -> str:
    """Code that makes a batch of frames with these channels of an array, as an error proposes it."""
    shape, arrays = tuple(frames.shape), isinstance(frames, np.ndarray)
    what, code = "give it", "frames"
    if len(shape) == 2:
        what, code, shape = "a single frame needs", "frame[None, ..., None]", (1, *shape, 1)
    elif len(shape) == 3 and (shape[2] in (1, 3) or shape[0] in (1, 3)):
        what, code, shape = "a single frame needs", "frame[None]", (1, *shape)
    elif len(shape) == 3:
        code, shape = "frames[..., None]", (*shape, 1)
    if len(shape) == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        what = "channel-first frames need"
        code += ".transpose(0, 2, 3, 1)" if arrays else ".permute(0, 2, 3, 1)"
        shape = (shape[0], *shape[2:], shape[1])
    if len(shape) != 4 or shape[3] not in (1, 3):
        return f"give it {'grey' if channels == 1 else 'RGB'} frames"
    if (shape[3], channels) == (1, 3):
        code += "[..., [0, 0, 0]]"
    elif (shape[3], channels) == (3, 1):
        code = f"lavae_rl.Preprocessing(channels=1)({code if arrays else f'{code}.numpy()'})"
    return f"{what} {code}"


class Bernoulli:
    """Binary pixels, as the paper's: theta is the probability that a pixel and channel is 1."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def check(self, frames: AnyFrames, device: torch.device) -> Tensor:
        """Put frames on the device, as they are: uint8 (batch, height, width, channels).

        Raises:
            TypeError: not a uint8 array.
            ValueError: wrong rank or channels, or values other than 0 and 255.
        """
        tensor = check_frames(frames, self.channels).to(device)
        # In uint8, 255 + 1 is 0.
        if tensor.numel() and (tensor + 1).max() > 1:
            train = as_typed("python pretrain/train_lavae.py --env ID (or --frames PATH)")
            raise ValueError(
                f"expected pixel values 0 and 255 only, got {int(tensor[(tensor > 0) & (tensor < 255)][0])}; "
                "this model was trained on binary frames. For frames of your own environment train a model on them: "
                f"{train}; for sprites on black, "
                "(frames > 127) * np.uint8(255) makes them binary"
            )
        return tensor

    def log_prob(self, images: Images, theta: Images) -> Images:
        """Log p(x_i | theta_i) of each pixel and channel, in nats (eq. 12), theta clamped above and kept off 0 and 1.

        ``EPSILON`` is added rather than clamped to: a lit pixel whose sprite is still dark must pull it up.
        """
        safe = EPSILON + (1 - 2 * EPSILON) * theta.float().clamp(max=1)  # in bfloat16, 1 - EPSILON is 1
        # Pixels are exactly 0 or 1, so one logarithm per pixel is enough.
        return torch.log(torch.where(images > 0.5, safe, 1 - safe))

    def surprise(self, images: Images, theta: Images) -> Images:
        """Log p(x_i | x_i) - log p(x_i | theta_i) of each pixel and channel, in nats."""
        return self.log_prob(images, images) - self.log_prob(images, theta)

    def mean(self, theta: Images) -> Images:
        """Probabilities, clamped to [0, 1]."""
        return theta.clamp(0, 1)

    def sample(self, theta: Images, generator: torch.Generator | None) -> Images:
        """Pixels of 0 and 1."""
        return torch.bernoulli(self.mean(theta), generator=generator)


class Normal:
    """Values of any frames, each channel of a pixel normal around its mean theta with one standard deviation."""

    def __init__(self, channels: int, scale: float) -> None:
        self.channels, self.scale = channels, scale

    def check(self, frames: AnyFrames, device: torch.device) -> Tensor:
        """Put frames on the device, as they are: uint8 (batch, height, width, channels).

        Raises:
            TypeError: not a uint8 array.
            ValueError: wrong rank or channels.
        """
        return check_frames(frames, self.channels).to(device)

    def log_prob(self, images: Images, theta: Images) -> Images:
        """Log N(x_i; theta_i, scale^2) of each pixel and channel, in nats: a density, which may pass 0."""
        return -self.surprise(images, theta) - math.log(self.scale * math.sqrt(2 * math.pi))

    def surprise(self, images: Images, theta: Images) -> Images:
        """(x_i - theta_i)^2 / (2 scale^2) of each pixel and channel, in nats."""
        return (images - theta.float()).square() * (0.5 / self.scale**2)

    def mean(self, theta: Images) -> Images:
        """The means, clamped to [0, 1]."""
        return theta.clamp(0, 1)

    def sample(self, theta: Images, generator: torch.Generator | None) -> Images:
        """Values around the means, clamped to [0, 1]."""
        noise = torch.randn(theta.shape, generator=generator, device=theta.device)
        return (theta + self.scale * noise).clamp(0, 1)
