"""Pixel means of a scene without objects."""

from typing import Protocol

from lavae_rl.model.shapes import Images


class Background(Protocol):
    """Pixel means behind the objects of each image."""

    def __call__(self, images: Images) -> Images:
        """Means in [0, 1] of the shape of the images."""


def black(images: Images) -> Images:
    """The paper's background: all pixels are 0."""
    return images.new_zeros(images.shape)
