"""Largest: go to the largest object."""

import numpy as np

from lavae_rl.data.sprites import ANGLES, SCALES, SHAPES

from .agent import AgentTask
from .looks import AGENT, combinations, sprite
from .task import with_roles
from .world import Sprites


class Largest(AgentTask):
    """Go to the largest object.

    ## Description
    The agent, a small white square, moves among objects of one shape, of any colour and angle. One is larger than all
    others, by at least a tenth of the largest size there is (1.8 pixels): touching it is success, touching another
    object is failure, and both end the episode.

    ## Rewards
    1 for the largest, otherwise 0. With `reward="shaped"`, added to that, 4 times the decrease of the number of moves
    to it, past the others, divided by the height and width of the canvas in moves.

    ## Starting state
    4 objects (`num_objects`), anywhere without overlap, the largest within reach.

    ## Held out
    With `mode="test"`, all objects have combinations of shape and colour that training never shows:
    `lavae_rl.envs.looks.HELD_OUT`.

    ## Episode end
    Termination at the first touch, truncation after 100 steps.

    ## Random baseline
    1 / `num_objects`: going to a random object.
    """

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """One shape for all, so that sizes can be compared; one object is larger than the others."""
        shape = rng.integers(len(SHAPES))
        allowed = combinations(self.mode)
        colors = allowed[allowed[:, 0] == shape, 1]
        largest = rng.integers(1, len(SCALES))
        target = np.arange(num_objects) == rng.integers(num_objects)
        scale = np.where(target, largest, rng.integers(largest, size=num_objects))
        angle = rng.integers(len(ANGLES), size=num_objects)
        color = colors[rng.integers(len(colors), size=num_objects)]
        return with_roles(sprite(shape, scale, angle, color), target, AGENT)
