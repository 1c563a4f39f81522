"""The prototypes family: which shape a sprite has, how it is turned and scaled, and its colour are separate latents.

A sprite is one of a few prototypes, turned, scaled and coloured: transformation-invariant clustering (Frey & Jojic
1999, Monnier et al. 2020) inside LAVAE. All latents stay standard normal: the space of those of the shape is divided
into cones, one for each prototype, so that a shape is a nearly discrete code that a linear layer reads.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lavae_rl.model.shapes import AppearanceVectors, Sprites

GRID = 32
"""Side of a prototype, in cells."""
EXTENT = 1.9
"""Half the side of a prototype's grid, in radii. A sprite's radius is that of a disc of the same area."""
SHARPNESS = 3.0
"""Inverse temperature of the choice among prototypes: at a distance of 2 from the origin the choice is sure."""
CONTRAST = 8.0
"""Logits from the inside to the outside of a prototype at first, per pixel of radius over ``_USUAL_RADIUS``."""
CORRECTION = 5.0
"""Most that a correction adds to the logit of a pixel: it moves an edge, and turns no inside out."""
HARMONICS = 6
"""Sines and cosines of multiples of the turn that corrections read, up to this one."""
_USUAL_RADIUS = 5.0


class Layout(NamedTuple):
    """The latents of an appearance, in their order."""

    shape: int
    """One less than there are prototypes: their codes are the corners of a regular simplex."""
    color: int
    """One per channel."""

    @property
    def prototypes(self) -> int:
        """Number of prototypes."""
        return self.shape + 1

    @classmethod
    def of(cls, channels: int, latents: int) -> "Layout":
        """Divide latents: one per channel for the colour, two for the turn, one for the scale, the rest for the shape.

        Raises:
            ValueError: no latent is left for the shape.
        """
        if latents < channels + 4:
            raise ValueError(
                f"expected latents of at least {channels + 4} with networks prototypes: {channels} for the colour, 2 "
                f"for the turn, 1 for the scale, and one less than there are prototypes, got {latents}"
            )
        return cls(latents - channels - 3, channels)

    def split(self, appearance: AppearanceVectors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Shape (objects, shape), turn (objects, 2), scale (objects, 1) and colour (objects, channels)."""
        shape, turn, scale, color = torch.split(appearance.float(), [self.shape, 2, 1, self.color], dim=1)
        return shape, turn, scale, color


class Prototypes(NamedTuple):
    """Prototypes, and how sprites are made from them."""

    masks: Float[Tensor, "prototypes grid grid"]
    """Share of sprites of each shape that are lit there, in [0, 1], of the size ``GRID``."""
    order: Int[Tensor, " prototypes"]
    """Order of each prototype's symmetry: turned by a full circle over this, it looks the same."""
    log_radius: tuple[float, float]
    """Mean and standard deviation of the logarithm of the radius in pixels."""
    centre: Float[Tensor, "2"]
    """(x, y) of the centre of mass beside the centre of the window, in pixels."""


class PrototypeDecoder(nn.Module):
    """Decoder that draws sprites as rotated, scaled and coloured prototypes.

    The turn is the angle of two latents, divided by the order of the prototype's symmetry: each look has one angle, and
    a full turn of the latents is one of its looks. Until ``set_prototypes`` is called there is one, a disc. Once
    ``corrects`` is set, edges are moved by what a network says that reads shape, turn and scale. No gradient of it
    reaches the shape, so that shapes do not learn to mean something else for its sake.

    Args:
        channels: number of channels of the sprites.
        size: side of the sprites in pixels.
        latents: length of an appearance, see ``Layout``.
        width: hidden units of the correction.

    Raises:
        ValueError: too few latents.
    """

    corners: Tensor
    order: Tensor
    used: Tensor
    corrects: Tensor

    def __init__(self, channels: int, size: int, latents: int, width: int = 256) -> None:
        super().__init__()
        self.layout = Layout.of(channels, latents)
        self._size, number = size, self.layout.prototypes
        disc = cells(GRID).norm(dim=-1) < 1
        self.templates = nn.Parameter(_logits(disc.float().repeat(number, 1, 1)))
        self.log_radius = nn.Parameter(torch.tensor([math.log(_USUAL_RADIUS), math.log(0.3)]))  # mean, log deviation
        self.centre = nn.Parameter(torch.zeros(2))
        self.color = nn.Linear(channels, channels)
        nn.init.eye_(self.color.weight)
        self.color.weight.data.mul_(3)
        nn.init.zeros_(self.color.bias)
        pose = 2 + 2 * HARMONICS
        hidden = (nn.Linear(number * pose, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.correction = nn.Sequential(*hidden, nn.Linear(width, size * size))
        for values in self.correction[-1].parameters():
            nn.init.zeros_(values)
        self.register_buffer("corners", _simplex(number))
        self.register_buffer("order", torch.ones(number, dtype=torch.int64))
        self.register_buffer("used", torch.arange(number) == 0)
        self.register_buffer("corrects", torch.tensor(False))

    @torch.no_grad()
    def set_prototypes(self, found: Prototypes) -> None:
        """Take prototypes, at most as many as there is room for."""
        number = len(found.masks)
        self.templates[:number] = _logits(found.masks)
        self.order[:number] = found.order
        self.used.copy_(torch.arange(len(self.used), device=self.used.device) < number)
        mean, deviation = found.log_radius
        self.log_radius.copy_(torch.tensor([mean, math.log(deviation)]))
        self.centre.copy_(found.centre)

    def codes(self, appearance: AppearanceVectors) -> Float[Tensor, "objects prototypes"]:
        """The share of each prototype in each sprite."""
        scores = SHARPNESS * self.layout.split(appearance)[0] @ self.corners.T
        return scores.masked_fill(~self.used, -torch.inf).softmax(dim=1)

    def forward(self, appearance: AppearanceVectors) -> Sprites:
        """Pixel means of each sprite."""
        mask = torch.sigmoid(self._mask(appearance))
        color = torch.sigmoid(self.color(self.layout.split(appearance)[3]).float())
        return mask[:, None] * color[:, :, None, None]

    def _mask(self, appearance: AppearanceVectors) -> Float[Tensor, "objects size size"]:
        """Logits that a pixel is lit."""
        _, turn, scale, _ = self.layout.split(appearance)
        angle = torch.atan2(turn[:, 1], turn[:, 0])
        radius = (self.log_radius[0] + self.log_radius[1].exp() * scale[:, 0]).clamp(-3.0, 5.0).exp()
        places = (_pixels(self._size, appearance.device) - self.centre) / radius[:, None, None, None]
        shares, logits = self.codes(appearance), torch.zeros_like(places[..., 0])
        for number in self.used.nonzero()[:, 0].tolist():
            there = turned(places, angle / self.order[number]) / EXTENT
            template = self.templates[number].expand(len(there), 1, GRID, GRID)
            drawn = F.grid_sample(template, there, align_corners=True, padding_mode="border")[:, 0]
            logits = logits + shares[:, number, None, None] * drawn
        logits = logits * (radius / _USUAL_RADIUS)[:, None, None]  # an edge is as sharp in pixels, whatever the scale
        if self.corrects:
            pose = torch.cat([torch.ones_like(scale), scale, _harmonics(angle)], dim=1)
            read = (shares.detach()[:, :, None] * pose[:, None]).flatten(1)
            logits = logits + CORRECTION * torch.tanh(self.correction(read).float().view_as(logits))
        return logits


def _harmonics(angle: Float[Tensor, " objects"]) -> Float[Tensor, "objects values"]:
    multiples = angle[:, None] * torch.arange(1, HARMONICS + 1, device=angle.device)
    return torch.cat([multiples.cos(), multiples.sin()], dim=1)


def _logits(masks: Float[Tensor, "prototypes grid grid"]) -> Float[Tensor, "prototypes grid grid"]:
    return CONTRAST * (masks - 0.5)


def cells(number: int) -> Float[Tensor, "number number 2"]:
    """(x, y) of the cells of a prototype, in radii."""
    line = torch.linspace(-EXTENT, EXTENT, number)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)


def _pixels(size: int, device: torch.device) -> Float[Tensor, "size size 2"]:
    """(x, y) of the pixels of a window beside its centre."""
    line = torch.arange(size, device=device) - size // 2
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).float()


def turned(
    places: Float[Tensor, "objects height width 2"], angle: Float[Tensor, " objects"]
) -> Float[Tensor, "objects height width 2"]:
    """Places turned about the origin."""
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y = places.unbind(-1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)


def _simplex(number: int) -> Float[Tensor, "number dimensions"]:
    """The corners of a regular simplex around the origin, at a distance of 1 from it."""
    centred = torch.eye(number, dtype=torch.float64) - 1 / number
    basis = torch.linalg.qr(centred[:, :-1]).Q
    corners = centred @ basis
    return (corners / corners.norm(dim=1, keepdim=True)).float()
