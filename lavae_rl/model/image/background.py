"""Backgrounds: pixel means of a scene without objects."""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from lavae_rl.model.shapes import Images, PerImage


class Background(Protocol):
    """p(background) and which of its states each image shows."""

    def __call__(self, images: Images) -> Images:
        """Pixel means behind the objects of each image, in [0, 1] and of the shape of the images."""


class Black:
    """The paper's background: all pixels are 0."""

    def __call__(self, images: Images) -> Images:
        """Zeros of the shape of the images."""
        return images.new_zeros(images.shape)


black = Black()


class Pictures(nn.Module):
    """A background of one or more states per pixel: the colours that a pixel has when no object covers it.

    A pixel with one state is static. Where there are more, the state is a discrete latent of the pixel, with the
    ``frequency`` of each colour as its prior, 0 of unused ones. q(state | x) is a point mass on the nearest colour.
    Pixels that are ``ignored`` (a score, say) always show their first state.
    """

    states: UInt8[Tensor, "states channels height width"]
    frequency: Float[Tensor, "states height width"]
    ignored: Bool[Tensor, "height width"]

    def __init__(self, num_states: int, channels: int, canvas_size: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("states", torch.zeros(num_states, channels, *canvas_size, dtype=torch.uint8))
        frequency = torch.zeros(num_states, *canvas_size)
        frequency[0] = 1
        self.register_buffer("frequency", frequency)
        self.register_buffer("ignored", torch.zeros(canvas_size, dtype=torch.bool))

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(height, width) of the only frames that this background fits."""
        height, width = self.ignored.shape
        return height, width

    def forward(self, images: Images) -> Images:
        """Pixel means behind the objects: for each pixel its state nearest to the image.

        Raises:
            ValueError: images of another size than the background's.
        """
        self._check(images.shape[2:])
        picture = (self.states[0].float() / 255).expand(len(images), -1, -1, -1)
        pixels, nearest = self._nearest(images)
        if not len(pixels):
            return picture
        colors = self.states.flatten(2)[:, :, pixels].float() / 255
        result = picture.flatten(2).clone()
        result[:, :, pixels] = colors.permute(2, 0, 1)[
            torch.arange(len(pixels), device=pixels.device), nearest
        ].transpose(1, 2)
        return result.view(images.shape)

    def kl(self, images: Images) -> PerImage:
        """KL(q(states | x) || p(states)) = -log p of the nearest states, in nats."""
        pixels, nearest = self._nearest(images)
        return -self.frequency.flatten(1)[nearest, pixels].log().sum(1)

    def cover(self, images: Images) -> Images:
        """Images whose ignored pixels show the background."""
        self._check(images.shape[2:])
        return torch.where(self.ignored, self.states[0].float() / 255, images)

    def most_frequent(self, num_images: int, canvas_size: tuple[int, int]) -> Images:
        """The first states, for images of a size. Raises ValueError if it is not the background's."""
        self._check(canvas_size)
        return (self.states[0].float() / 255).expand(num_images, -1, -1, -1)

    def sample(self, num_images: int, generator: torch.Generator | None = None) -> Images:
        """Backgrounds drawn from p(states), pixel by pixel; ignored pixels show their first state."""
        probability = self.frequency.flatten(1).T
        drawn = torch.multinomial(probability, num_images, replacement=True, generator=generator).T
        colors = self.states.flatten(2).permute(2, 0, 1).float() / 255  # pixels, states, channels
        chosen = colors[torch.arange(len(colors), device=drawn.device), drawn]
        return self.cover(chosen.transpose(1, 2).reshape(num_images, -1, *self.canvas_size))

    def _nearest(self, images: Images) -> tuple[Int[Tensor, " pixels"], Int[Tensor, "batch pixels"]]:
        """The pixels with more than one state, and the state of each that is nearest to the image."""
        pixels = ((self.frequency[1:] > 0).any(0) & ~self.ignored).flatten().nonzero()[:, 0]
        colors = self.states.flatten(2)[:, :, pixels].float() / 255
        distance = (images.flatten(2)[:, None, :, pixels] - colors).square().sum(2)
        unused = self.frequency.flatten(1)[:, pixels] == 0
        return pixels, distance.masked_fill(unused, math.inf).argmin(1)

    def _check(self, canvas_size: Sequence[int]) -> None:
        if tuple(canvas_size) != self.canvas_size:
            raise ValueError(
                f"the background of this model is a picture of {self.canvas_size[0]} x {self.canvas_size[1]} pixels, "
                f"got frames of {canvas_size[0]} x {canvas_size[1]}: use the frames of the environment that it was "
                "trained on, as they are, or train a model on yours"
            )
