"""Backgrounds: pixel means of a scene without objects."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from lavae_rl.model.shapes import Images, PerImage


class Background(Protocol):
    """p(background) and what of it each image shows."""

    def __call__(self, images: Images) -> Images:
        """Pixel means behind the objects of each image, in [0, 1] and of the shape of the images."""


class Black:
    """The paper's background: all pixels are 0."""

    def __call__(self, images: Images) -> Images:
        """Zeros of the shape of the images."""
        return images.new_zeros(images.shape)


black = Black()


class SizedBackground(nn.Module, ABC):
    """A background that fits frames of one size. Pixels that are ``ignored`` (a score, say) always show it."""

    ignored: Bool[Tensor, "height width"]

    def __init__(self, canvas_size: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("ignored", torch.zeros(canvas_size, dtype=torch.bool))

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(height, width) of the only frames that this background fits."""
        height, width = self.ignored.shape
        return height, width

    @property
    @abstractmethod
    def typical(self) -> Float[Tensor, "channels height width"]:
        """The most frequent picture, in [0, 1], which ignored pixels show."""

    @abstractmethod
    def forward(self, images: Images) -> Images:
        """Pixel means behind the objects. Raises ValueError on images of another size than the background's."""

    @abstractmethod
    def kl(self, images: Images) -> PerImage:
        """Nats that the background costs in the ELBO: KL(q(b | x) || p(b)), and likelihood lost by the width of q."""

    @abstractmethod
    def draw(self, num_images: int, generator: torch.Generator | None) -> Images:
        """Pictures drawn from p(b), ignored pixels too."""

    @abstractmethod
    def examples(self) -> Float[Tensor, "pictures channels height width"]:
        """Some pictures that together show what the background can be."""

    def cover(self, images: Images) -> Images:
        """Images whose ignored pixels show the background."""
        self.check(images.shape[2:])
        return torch.where(self.ignored, self.typical, images)

    def most_usual(self, num_images: int, canvas_size: tuple[int, int]) -> Images:
        """The typical picture, for images of a size. Raises ValueError if it is not the background's."""
        self.check(canvas_size)
        return self.typical.expand(num_images, -1, -1, -1)

    def sample(self, num_images: int, generator: torch.Generator | None = None) -> Images:
        """Pictures drawn from p(b)."""
        return self.cover(self.draw(num_images, generator))

    def check(self, canvas_size: Sequence[int]) -> None:
        """Raise ValueError if frames of that size are not of the size of the background."""
        if tuple(canvas_size) != self.canvas_size:
            raise ValueError(
                f"the background of this model is a picture of {self.canvas_size[0]} x {self.canvas_size[1]} pixels, "
                f"got frames of {canvas_size[0]} x {canvas_size[1]}: use the frames of the environment that it was "
                "trained on, as they are, or train a model on yours"
            )


class Pictures(SizedBackground):
    """A background of one or more states per pixel: the colours that a pixel has when no object covers it.

    A pixel with one state is static. Where there are more, the state is a discrete latent of the pixel, with the
    ``frequency`` of each colour as its prior, 0 of unused ones. q(state | x) is a point mass on the nearest colour.
    Ignored pixels show their first state.
    """

    states: UInt8[Tensor, "states channels height width"]
    frequency: Float[Tensor, "states height width"]

    def __init__(self, num_states: int, channels: int, canvas_size: tuple[int, int]) -> None:
        super().__init__(canvas_size)
        self.register_buffer("states", torch.zeros(num_states, channels, *canvas_size, dtype=torch.uint8))
        frequency = torch.zeros(num_states, *canvas_size)
        frequency[0] = 1
        self.register_buffer("frequency", frequency)

    @property
    def typical(self) -> Float[Tensor, "channels height width"]:
        """The first states."""
        return self.states[0].float() / 255

    def forward(self, images: Images) -> Images:
        """Pixel means behind the objects: for each pixel its state nearest to the image.

        Raises:
            ValueError: images of another size than the background's.
        """
        self.check(images.shape[2:])
        picture = self.typical.expand(len(images), -1, -1, -1)
        pixels = self.several().nonzero()[:, 0]
        if not len(pixels):
            return picture
        nearest = self._nearest(images.flatten(2)[:, :, pixels], pixels)
        result = picture.flatten(2).clone()
        result[:, :, pixels] = (self.states.flatten(2)[nearest, :, pixels].float() / 255).transpose(1, 2)
        return result.view(images.shape)

    def behind(
        self, values: Float[Tensor, "places channels"], pixels: Int[Tensor, " places"]
    ) -> Float[Tensor, "places channels"]:
        """Pixel means as of ``forward`` at single pixels that are not ignored, by their index in reading order."""
        states = self._nearest(values.T[None], pixels)[0]
        return self.states.flatten(2)[states, :, pixels].float() / 255

    def several(self) -> Bool[Tensor, " pixels"]:
        """True for each pixel, in reading order, that has more than one state and is not ignored."""
        return ((self.frequency[1:] > 0).any(0) & ~self.ignored).flatten()

    def kl(self, images: Images) -> PerImage:
        """KL(q(states | x) || p(states)) = -log p of the nearest states, in nats."""
        pixels = self.several().nonzero()[:, 0]
        nearest = self._nearest(images.flatten(2)[:, :, pixels], pixels)
        return -self.frequency.flatten(1)[nearest, pixels].log().sum(1)

    def draw(self, num_images: int, generator: torch.Generator | None) -> Images:
        """Pictures drawn from p(states), pixel by pixel."""
        probability = self.frequency.flatten(1).T
        drawn = torch.multinomial(probability, num_images, replacement=True, generator=generator).T
        colors = self.states.flatten(2).permute(2, 0, 1).float() / 255  # pixels, states, channels
        chosen = colors[torch.arange(len(colors), device=drawn.device), drawn]
        return chosen.transpose(1, 2).reshape(num_images, -1, *self.canvas_size)

    def examples(self) -> Float[Tensor, "states channels height width"]:
        """The states."""
        return self.states.float() / 255

    def _nearest(
        self, values: Float[Tensor, "batch channels pixels"], pixels: Int[Tensor, " pixels"]
    ) -> Int[Tensor, "batch pixels"]:
        """The state of each pixel that is nearest to the values there."""
        colors = self.states.flatten(2)[:, :, pixels].float() / 255
        distance = (values[:, None] - colors).square().sum(2)
        unused = self.frequency.flatten(1)[:, pixels] == 0
        return distance.masked_fill(unused, math.inf).argmin(1)
