"""ObjectGoal: go to the green square."""

import numpy as np

from lavae_rl.data.sprites import ANGLES

from .looks import AGENT, looks, sprite
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import AgentTask, roles_of
from .world import Sprites

TARGET = np.array([0, 1])
"""The look of the target: a green square, in training and in testing."""


class ObjectGoal(AgentTask):
    """Rules of ``ObjectGoalEnv``."""

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """One target, and others of any look but the target's."""
        others = looks(self.mode)
        others = others[(others != TARGET).any(axis=1)]
        look = others[rng.integers(len(others), size=num_objects)]
        right = np.arange(num_objects) == rng.integers(num_objects)
        look[right] = TARGET
        scale = rng.integers(*self.scales, size=num_objects)
        sprites = sprite(look[:, 0], scale, rng.integers(len(ANGLES), size=num_objects), look[:, 1])
        return np.concatenate([[AGENT], sprites]), roles_of(right, neutral_first=True)

    def chance(self, num_objects: int) -> float:
        """One of the objects is right."""
        return 1 / num_objects


class ObjectGoalEnv(SpriteEnv):
    """Go to the green square.

    ## Description
    The agent, a small white square, moves among shapes. One of them is a green square, of any size and angle: to touch
    it is success, to touch another object is failure, and both end the episode.

    ## Action space
    `Discrete(5)`: stay, up, down, left, right, 4 pixels at a time.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 3), uint8)`, or the true state as tokens; see `SpriteEnv`.

    ## Rewards
    1 for the green square, otherwise 0. With `reward="shaped"`, added to that, 4 times the
    decrease of the number of moves to it, past the others, divided by the height and width of the canvas in moves.

    ## Starting state
    4 objects (`num_objects`), anywhere without overlap, the green square within reach.

    ## Held out
    With `mode="test"`, all objects but the green square have looks (shape and colour) that training never shows:
    `lavae_rl.envs.looks.HELD_OUT`.

    ## Episode end
    Termination at the first touch, truncation after 100 steps.

    ## Chance
    1 / `num_objects`: going to a random object.
    """

    task_class = ObjectGoal


class ObjectGoalVectorEnv(SpriteVectorEnv):
    """Many ``ObjectGoalEnv`` in one."""

    task_class = ObjectGoal
