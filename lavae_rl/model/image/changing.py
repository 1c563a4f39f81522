"""A background that changes from frame to frame: its colour, its light, which of some pictures it is."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lavae_rl.model.image.background import SizedBackground
from lavae_rl.model.shapes import Images, PerImage

MOST_PIXELS = 1024
"""A frame's coordinates are fitted to about so many pixels, spread evenly."""
_CHANGES = (0.5, 0.3, 0.2, 0.15, 0.1)
"""Differences, of values in [0, 1], from which on a pixel counts for little, in the order of the steps of a fit."""
_OUTLIER = 0.1
"""A pixel that differs by more than this from the fit is an object's and counts for nothing in the last step."""

Coordinates = Float[Tensor, "batch directions"]


class ChangingPicture(SizedBackground):
    """A background that is a mean picture plus a few directions, each times a coordinate of the frame.

    This is probabilistic principal component analysis (Tipping & Bishop 1999), with standard normal coordinates: the
    directions are as long as pictures usually move along them. q(coordinates | x) is their exact posterior if no object
    hides anything, but around coordinates that objects do not pull away: those of a robust fit.
    """

    mean: Float[Tensor, "channels height width"]
    directions: Float[Tensor, "directions channels height width"]

    def __init__(
        self, num_directions: int, channels: int, canvas_size: tuple[int, int], pixel_scale: float = 0.1
    ) -> None:
        super().__init__(canvas_size)
        self.pixel_scale = pixel_scale
        self.register_buffer("mean", torch.zeros(channels, *canvas_size))
        self.register_buffer("directions", torch.zeros(num_directions, channels, *canvas_size))

    @property
    def typical(self) -> Float[Tensor, "channels height width"]:
        """The mean."""
        return self.mean

    def forward(self, images: Images) -> Images:
        """Pixel means behind the objects: the picture that fits most of the image's pixels.

        Raises:
            ValueError: images of another size than the background's.
        """
        self.check(images.shape[2:])
        return self.cover(self.at(self.fit(images)))

    def at(self, coordinates: Coordinates) -> Images:
        """The pictures at some coordinates, clamped to [0, 1]."""
        moved = (coordinates @ self.directions.flatten(1)).view(len(coordinates), *self.mean.shape)
        return (self.mean + moved).clamp(0, 1)

    def fit(self, images: Images) -> Coordinates:
        """Coordinates of images, by least squares in which pixels count less the less they fit.

        At first all count; what is an outlier shows as the fit gets better (graduated non-convexity, Blake &
        Zisserman 1987).
        """
        step = max(1, math.isqrt(self.ignored.numel() // MOST_PIXELS))
        looked_at = ~self.ignored[::step, ::step].flatten()
        basis = self.directions[:, :, ::step, ::step].flatten(2)[:, :, looked_at]
        shown = (images - self.mean)[:, :, ::step, ::step].flatten(2)[:, :, looked_at]
        weights = shown.new_ones(len(shown), shown.shape[2])
        coordinates = self._solve(basis, shown, weights)
        for change in _CHANGES:
            squares = self._residual(basis, shown, coordinates)
            coordinates = self._solve(basis, shown, (1 + squares / change**2) ** -2)
        inliers = (self._residual(basis, shown, coordinates) < _OUTLIER**2).float()
        return self._solve(basis, shown, inliers)

    def _residual(self, basis: Tensor, shown: Tensor, coordinates: Coordinates) -> Float[Tensor, "batch pixels"]:
        """Squared differences of the pixels from the pictures at some coordinates."""
        return (shown - torch.einsum("bk,kcp->bcp", coordinates, basis)).square().sum(1)

    def _solve(self, basis: Tensor, shown: Tensor, weights: Float[Tensor, "batch pixels"]) -> Coordinates:
        """The most probable coordinates, given the weights of the pixels."""
        weighted = (weights[:, None, None] * basis).flatten(2)  # batch, directions, values
        precision = weighted @ basis.flatten(1).T
        prior = self.pixel_scale**2 * torch.eye(len(basis), device=basis.device)
        return torch.linalg.solve(precision + prior, torch.einsum("bkv,bv->bk", weighted, shown.flatten(1)))

    def kl(self, images: Images) -> PerImage:
        """KL(q(coordinates | x) || N(0, I)), and the nats that pixels lose on average because q has a width."""
        looked_at = self.directions[:, :, ~self.ignored].flatten(1)
        information = looked_at @ looked_at.T / self.pixel_scale**2
        number = len(information)
        covariance = torch.linalg.inv(information + torch.eye(number, device=information.device))
        spread = covariance.trace() - number - torch.logdet(covariance) + (information * covariance).sum()
        return (self.fit(images).square().sum(1) + spread) / 2

    def draw(self, num_images: int, generator: torch.Generator | None) -> Images:
        """Pictures at standard normal coordinates."""
        shape = (num_images, len(self.directions))
        return self.at(torch.randn(shape, generator=generator, device=self.mean.device))

    def examples(self) -> Float[Tensor, "pictures channels height width"]:
        """The mean, and two standard deviations to each side along the first directions."""
        moved = 2 * torch.eye(len(self.directions), device=self.mean.device)[:2]
        return self.at(torch.cat([torch.zeros_like(moved[:1]), moved, -moved]))
