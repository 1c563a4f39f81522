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

    ## Starting state
    4 objects (`num_objects`), anywhere without overlap, the largest within reach.
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
