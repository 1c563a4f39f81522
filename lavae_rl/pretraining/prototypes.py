"""Prototypes from sprites: clustering that does not see how a sprite is turned and scaled.

Masks are scaled to the same area and turned to many angles; then k-means chooses, for each, prototype and angle. All
angles are tried, so that no start is a bad one: what a gradient does not find in thousands of steps takes seconds.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lavae_rl.model.networks.prototypes import EXTENT, GRID, Prototypes, cells, turned

ANGLES = 36
"""Angles that are tried, evenly spaced."""
MOST_SPRITES = 512
"""Sprites that are clustered."""
ROUNDS, STARTS = 12, 4
"""Rounds of k-means, and starts for each number of prototypes, of which the best counts."""
LEAST_GAIN = 0.2
"""Another prototype has to explain this share of what the others leave unexplained."""
SYMMETRIC = 0.06
"""Share of a prototype that may differ from itself after a turn that is one of its symmetries."""
MOST_ORDER = 6
"""Largest order of a symmetry that is looked for."""

Masks = Float[Tensor, "sprites size size"]


class Turns(NamedTuple):
    """Sprites, scaled to the same area and turned to all angles."""

    images: Float[Tensor, "sprites*angles cells"]
    squares: Float[Tensor, "sprites*angles 1"]
    """Squared norm of each."""

    def distances(self, prototypes: Float[Tensor, "prototypes cells"]) -> Float[Tensor, "sprites angles prototypes"]:
        """Squared distances to prototypes."""
        products = self.images @ prototypes.T
        squared = self.squares + prototypes.square().sum(1) - 2 * products
        return squared.clamp(min=0).view(-1, ANGLES, len(prototypes))


def fit_prototypes(masks: Bool[Tensor, "sprites size size"], most: int, generator: torch.Generator) -> Prototypes:
    """Cluster sprites by shape.

    Args:
        masks: where each sprite is lit, in windows of an odd side.
        most: largest number of prototypes; fewer are taken where more do not pay, see ``LEAST_GAIN``.
        generator: draws the starts; on the CPU.

    Raises:
        ValueError: no lit sprite.
    """
    lit = masks[masks.flatten(1).any(1)][:MOST_SPRITES].float().cpu()
    if not len(lit):
        raise ValueError("expected sprites with lit pixels, got none")
    turns, radius, centre = _turns(lit)
    tried = [
        min((_cluster(turns, number, generator) for _ in range(STARTS)), key=lambda found: found[0])
        for number in range(1, min(most, len(lit)) + 1)
    ]
    costs = [cost for cost, _ in tried]
    paying = [i for i in range(1, len(costs)) if costs[i] <= (1 - LEAST_GAIN) * costs[i - 1]]
    prototypes = tried[max(paying, default=0)][1].view(-1, GRID, GRID)
    logs = radius.log()
    deviation = float(logs.std(correction=0).clamp(min=0.05))
    return Prototypes(prototypes, symmetry_orders(prototypes), (float(logs.mean()), deviation), centre.mean(0))


def symmetry_orders(prototypes: Float[Tensor, "prototypes grid grid"]) -> Int[Tensor, " prototypes"]:
    """The order of each prototype's symmetry: the largest number of turns to a full circle that change nothing."""
    orders = torch.ones(len(prototypes), dtype=torch.int64)
    own = (prototypes - prototypes.mean((1, 2), keepdim=True)).square().sum((1, 2))
    for order in range(2, MOST_ORDER + 1):
        difference = (_turn(prototypes, 2 * math.pi / order) - prototypes).square().sum((1, 2))
        orders[difference < SYMMETRIC * own] = order
    return orders


def _turn(images: Float[Tensor, "images side side"], angle: float) -> Float[Tensor, "images side side"]:
    places = turned(cells(images.shape[1])[None], torch.tensor([angle])) / EXTENT
    sampled = F.grid_sample(images[:, None], places.expand(len(images), -1, -1, -1), align_corners=True)
    return sampled[:, 0]


def _turns(masks: Masks) -> tuple[Turns, Float[Tensor, " sprites"], Float[Tensor, "sprites 2"]]:
    """The sprites at all angles, the radius of a disc of the area of each, and its centre of mass (x, y)."""
    half = masks.shape[1] // 2
    line = torch.arange(-half, half + 1).float()
    area = masks.sum((1, 2))
    centre = torch.stack([(masks.sum(1) * line).sum(1), (masks.sum(2) * line).sum(1)], dim=1) / area[:, None]
    radius = (area / math.pi).sqrt()
    grid = cells(GRID)[None]
    turns = []
    for i in range(ANGLES):
        angle = torch.tensor([-2 * math.pi * i / ANGLES])
        places = turned(grid, angle) * radius[:, None, None, None] + centre[:, None, None]
        turns.append(F.grid_sample(masks[:, None], places / half, align_corners=True)[:, 0].flatten(1))
    images = torch.stack(turns, dim=1).flatten(0, 1)
    return Turns(images, images.square().sum(1, keepdim=True)), radius, centre


def _cluster(turns: Turns, number: int, generator: torch.Generator) -> tuple[float, Float[Tensor, "prototypes cells"]]:
    """The mean squared distance of sprites to their prototypes, and the prototypes: one start of k-means."""
    prototypes = _starts(turns, number, generator)
    cost = math.inf
    for _ in range(ROUNDS):
        nearest, angle = turns.distances(prototypes).min(1)
        least, chosen = nearest.min(1)
        cost = float(least.mean())
        sprite = torch.arange(len(chosen))
        best = turns.images[sprite * ANGLES + angle[sprite, chosen]]
        for i in set(chosen.tolist()):
            prototypes[i] = best[chosen == i].mean(0)
    return cost, prototypes


def _starts(turns: Turns, number: int, generator: torch.Generator) -> Float[Tensor, "prototypes cells"]:
    """Sprites that are far from each other, drawn as k-means++ does (Arthur & Vassilvitskii 2007)."""
    upright = turns.images[::ANGLES]
    prototypes = upright[torch.randint(len(upright), (1,), generator=generator)]
    while len(prototypes) < number:
        far = turns.distances(prototypes).amin((1, 2)) + 1e-6
        prototypes = torch.cat([prototypes, upright[torch.multinomial(far, 1, generator=generator)]])
    return prototypes
