"""Pixel means of a scene without objects."""

from collections.abc import Callable

from lavae_rl.model.shapes import Images

Background = Callable[[Images], Images]
"""Pixel means behind the objects of each image, in [0, 1] and of the shape of the images."""


def black(images: Images) -> Images:
    """The paper's background: all pixels are 0."""
    return images.new_zeros(images.shape)
