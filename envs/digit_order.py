"""DigitOrder: point at the digits from small to large."""

from math import factorial

import numpy as np

from lavae_rl.shapes import Mask

from .pointer import PointerTask
from .world import TARGET, Sprites, World


class DigitOrder(PointerTask):
    """Point at the digits from small to large.

    ## Description
    Digits of different classes stand anywhere. The smallest vanishes when it is pointed at, and then the next one is
    to be pointed at; when none is left, that is success. Pointing at another digit is failure. Both end the episode.
    Pointing at nothing does nothing.

    ## Rewards
    1 / (number of digits at the start) for each digit. With `reward="shaped"`, less, for pointing at anything else, the
    distance of the place to the digit that is due, in canvas diagonals, and for a digit out of order 1 for each other
    digit that is left, both * 4 / (number of digits at the start).

    ## Starting state
    3 digits (`num_objects`, at most 10), anywhere without overlap.

    ## Episode end
    Termination when no digit is left or one is pointed at out of order, truncation after 50 steps.

    ## Random baseline
    1 / `num_objects`!: pointing at the digits in a random order.
    """

    default_objects = 3

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Digits of different classes, all of them targets in their turn."""
        return self.images(rng, rng.permutation(10)[:num_objects]), np.full(num_objects, TARGET)

    def current_targets(self, world: World) -> Mask:
        """The smallest digit that is left."""
        label = np.where(world.targets, self.labels[world.scenes.sprite_index], 10)
        return world.targets & (label == label.min(axis=1, keepdims=True))

    def chance(self, num_objects: int) -> float:
        """Probability that a random order is the ascending one."""
        return 1 / factorial(num_objects)
