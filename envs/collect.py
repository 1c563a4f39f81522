"""Collect: touch all squares and nothing else."""

from math import comb

import numpy as np

from lavae_rl.data.sprites import ANGLES

from .looks import AGENT, looks, sprite
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import AgentTask, roles_of
from .world import Sprites

SQUARE = 0


def _num_squares(num_objects: int) -> int:
    return max(1, num_objects // 2)


class Collect(AgentTask):
    """Rules of ``CollectEnv``."""

    default_objects = 6

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Half of the objects are squares."""
        right = rng.permutation(num_objects) < _num_squares(num_objects)
        allowed = looks(self.mode)
        square = allowed[:, 0] == SQUARE
        look = np.where(
            right[:, None],
            allowed[square][rng.integers(square.sum(), size=num_objects)],
            allowed[~square][rng.integers((~square).sum(), size=num_objects)],
        )
        scale = rng.integers(*self.scales, size=num_objects)
        sprites = sprite(look[:, 0], scale, rng.integers(len(ANGLES), size=num_objects), look[:, 1])
        return np.concatenate([[AGENT], sprites]), roles_of(right, neutral_first=True)

    def chance(self, num_objects: int) -> float:
        """All squares come first in a random order of the objects."""
        return 1 / comb(num_objects, _num_squares(num_objects))


class CollectEnv(SpriteEnv):
    """Collect all squares and touch nothing else.

    ## Description
    The agent, a small white square, moves among squares, ellipses and triangles. A square that is touched vanishes;
    when none is left, that is success. To touch an ellipse or a triangle is failure. Both end the episode.

    ## Action space
    `Discrete(5)`: stay, up, down, left, right, 4 pixels at a time.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 3), uint8)`, or the true state as tokens; see `SpriteEnv`.

    ## Rewards
    1 / (number of squares at the start) for each square. With `reward="shaped"`, added to that, 4 times the increase of
    -(squares left - 1 + moves to the nearest, past other objects, divided by the height and width of the canvas in
    moves) / (number of squares at the start).

    ## Starting state
    6 objects (`num_objects`), half of them squares, anywhere without overlap, all squares within reach.

    ## Held out
    With `mode="test"`, all objects have looks (shape and colour) that training never shows:
    `lavae_rl.envs.looks.HELD_OUT`.

    ## Episode end
    Termination when no square is left or at the first wrong touch, truncation after 100 steps.

    ## Chance
    1 / (number of ways to choose the squares): touching the objects in a random order, 1 / 20 for 6 objects.
    """

    task_class = Collect


class CollectVectorEnv(SpriteVectorEnv):
    """Many ``CollectEnv`` in one."""

    task_class = Collect
