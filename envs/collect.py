"""Collect: touch all squares and nothing else."""

from math import comb

import numpy as np

from lavae_rl.data.sprites import ANGLES

from .agent import AgentTask
from .looks import AGENT, combinations, sprite
from .task import with_roles
from .world import Sprites

SQUARE = 0


class Collect(AgentTask):
    """Collect all squares and touch nothing else.

    ## Description
    The agent, a small white square, moves among squares, ellipses and triangles. A square that is touched vanishes;
    when none is left, that is success. Touching an ellipse or a triangle is failure. Both end the episode.

    ## Rewards
    1 / (number of squares at the start) for each square. With `reward="shaped"`, added to that, 4 times the increase of
    -(squares left - 1 + moves to the nearest, past other objects, divided by the height and width of the canvas in
    moves) / (number of squares at the start).

    ## Starting state
    6 objects (`num_objects`), half of them squares, anywhere without overlap, all squares within reach.

    ## Episode end
    Termination when no square is left or at the first touch of a distractor, truncation after 100 steps.

    ## Random baseline
    1 / (number of ways to choose the squares): touching the objects in a random order, 1 / 20 for 6 objects.
    """

    default_objects = 6

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Half of the objects are squares."""
        target = rng.permutation(num_objects) < _num_squares(num_objects)
        allowed = combinations(self.mode)
        square = allowed[:, 0] == SQUARE
        kinds = allowed[square], allowed[~square]
        squares, others = (kind[rng.integers(len(kind), size=num_objects)] for kind in kinds)
        shape, color = np.where(target[:, None], squares, others).T
        scale = rng.integers(*self.scales, size=num_objects)
        return with_roles(sprite(shape, scale, rng.integers(len(ANGLES), size=num_objects), color), target, AGENT)

    def chance(self, num_objects: int) -> float:
        """Probability that all squares come first in a random order of the objects."""
        return 1 / comb(num_objects, _num_squares(num_objects))


def _num_squares(num_objects: int) -> int:
    return max(1, num_objects // 2)
