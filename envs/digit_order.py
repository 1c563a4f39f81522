"""DigitOrder: point at the digits from small to large."""

from math import factorial

import numpy as np

from lavae_rl.shapes import Mask

from .digits import DigitTask
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import roles_of
from .world import Sprites, World


class DigitOrder(DigitTask):
    """Rules of ``DigitOrderEnv``."""

    default_objects = 3

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Digits of different classes, all of them right in their turn."""
        sprites = self.images(rng, rng.permutation(10)[:num_objects])
        return sprites, roles_of(np.ones(num_objects, bool), neutral_first=False)

    def wanted(self, world: World) -> Mask:
        """The smallest digit that is left."""
        label = np.where(world.right, self.labels[world.scenes.sprite_index], 10)
        return world.right & (label == label.min(axis=1, keepdims=True))

    def chance(self, num_objects: int) -> float:
        """A random order is the right one."""
        return 1 / factorial(num_objects)


class DigitOrderEnv(SpriteEnv):
    """Point at the digits from small to large.

    ## Description
    Digits of different classes stand anywhere. The smallest vanishes when it is pointed at, and then the next one is
    to be pointed at; when none is left, that is success. To point at another digit is failure. Both end the episode.
    Pointing at nothing does nothing.

    ## Action space
    `Box(-1, 1, (2,), float32)`: the place pointed at, (x, y), x to the right, y down. It is on a digit when it is in
    the digit's box, grown by a pixel.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 1), uint8)`, or the true state as tokens; see `SpriteEnv`.

    ## Rewards
    1 / (number of digits at the start) for each digit. With `reward="shaped"`, less, for pointing at anything else, the
    distance of the place to the right digit, in canvas diagonals, and for a wrong one 1 for each other digit that is
    left, both * 4 / (number of digits at the start).

    ## Starting state
    3 digits (`num_objects`, at most 10), anywhere without overlap.

    ## Held out
    A fifth of the images of digits is shown only with `mode="test"`.

    ## Episode end
    Termination when no digit is left or a wrong one is pointed at, truncation after 50 steps.

    ## Chance
    1 / `num_objects`!: pointing at the digits in a random order.
    """

    task_class = DigitOrder


class DigitOrderVectorEnv(SpriteVectorEnv):
    """Many ``DigitOrderEnv`` in one."""

    task_class = DigitOrder
