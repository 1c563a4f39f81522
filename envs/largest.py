"""Largest: go to the largest object."""

import numpy as np

from lavae_rl.data.sprites import ANGLES, SCALES, SHAPES

from .looks import AGENT, looks, sprite
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import AgentTask, roles_of
from .world import Sprites


class Largest(AgentTask):
    """Rules of ``LargestEnv``."""

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """One shape for all, so that size is plain to see; one object is larger than the others."""
        shape = rng.integers(len(SHAPES))
        allowed = looks(self.mode)
        colors = allowed[allowed[:, 0] == shape, 1]
        largest = rng.integers(1, len(SCALES))
        right = np.arange(num_objects) == rng.integers(num_objects)
        scale = np.where(right, largest, rng.integers(largest, size=num_objects))
        angle = rng.integers(len(ANGLES), size=num_objects)
        sprites = sprite(shape, scale, angle, colors[rng.integers(len(colors), size=num_objects)])
        return np.concatenate([[AGENT], sprites]), roles_of(right, neutral_first=True)

    def chance(self, num_objects: int) -> float:
        """One of the objects is right."""
        return 1 / num_objects


class LargestEnv(SpriteEnv):
    """Go to the largest object.

    ## Description
    The agent, a small white square, moves among objects of one shape, of any colour and angle. One is larger than all
    others, by at least a tenth of the largest size there is (1.8 pixels): to touch it is success, to touch another
    object is failure, and both end the episode.

    ## Action space
    `Discrete(5)`: stay, up, down, left, right, 4 pixels at a time.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 3), uint8)`, or the true state as tokens; see `SpriteEnv`.

    ## Rewards
    1 for the largest, otherwise 0. With `reward="shaped"`, added to that, 4 times the
    decrease of the number of moves to it, past the others, divided by the height and width of the canvas in moves.

    ## Starting state
    4 objects (`num_objects`), anywhere without overlap, the largest within reach.

    ## Held out
    With `mode="test"`, all objects have looks (shape and colour) that training never shows:
    `lavae_rl.envs.looks.HELD_OUT`.

    ## Episode end
    Termination at the first touch, truncation after 100 steps.

    ## Chance
    1 / `num_objects`: going to a random object.
    """

    task_class = Largest


class LargestVectorEnv(SpriteVectorEnv):
    """Many ``LargestEnv`` in one."""

    task_class = Largest
