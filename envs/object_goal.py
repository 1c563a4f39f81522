"""ObjectGoal: go to the green square."""

import numpy as np

from lavae_rl.data.sprites import ANGLES

from .agent import AgentTask
from .looks import AGENT, combinations, sprite
from .task import with_roles
from .world import Sprites

GREEN_SQUARE = np.array([0, 1])
"""(shape, colour) of the target, in training and in testing."""


class ObjectGoal(AgentTask):
    """Go to the green square.

    ## Description
    The agent, a small white square, moves among shapes. One of them is a green square, of any size and angle: touching
    it is success, touching another object is failure, and both end the episode.

    ## Starting state
    4 objects (`num_objects`), anywhere without overlap, the green square within reach.

    ## Held out
    With `mode="test"`, all objects but the green square have combinations of shape and colour that training never
    shows: `lavae_rl.envs.looks.HELD_OUT`.
    """

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """One target, and others of any combination but the target's."""
        others = combinations(self.mode)
        others = others[(others != GREEN_SQUARE).any(axis=1)]
        shape_and_color = others[rng.integers(len(others), size=num_objects)]
        target = np.arange(num_objects) == rng.integers(num_objects)
        shape_and_color[target] = GREEN_SQUARE
        shape, color = shape_and_color.T
        scale = rng.integers(*self.scales, size=num_objects)
        return with_roles(sprite(shape, scale, rng.integers(len(ANGLES), size=num_objects), color), target, AGENT)
