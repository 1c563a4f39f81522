"""MatchDigit: point at the digit of the same class as the cue."""

import numpy as np

from .pointer import PointerTask
from .task import with_roles
from .world import Sprites


class MatchDigit(PointerTask):
    """Point at the digit of the same class as the cue.

    ## Description
    Digits of different classes stand anywhere, and in the top left corner a cue: another image of the class of one of
    them. Pointing at that one is success, pointing at another digit is failure, and both end the episode. Pointing at
    the cue or at nothing does nothing.

    ## Rewards
    1 for the target, otherwise 0. With `reward="shaped"`, less, for pointing at anything else, 4 times the distance of
    the place to the target, in canvas diagonals.

    ## Starting state
    4 digits (`num_objects`, at most 10) beside the cue, anywhere without overlap.

    ## Episode end
    Termination when a digit is pointed at, truncation after 50 steps.

    ## Random baseline
    1 / `num_objects`: pointing at a random digit.
    """

    first_location = (9, 9)

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Digits of different classes, after a cue of the class of one of them, which is another image."""
        classes = rng.permutation(10)[:num_objects]
        sprites = self.images(rng, classes)
        target = np.arange(num_objects) == rng.integers(num_objects)
        cue = sprites[target]
        while cue == sprites[target]:
            cue = self.images(rng, classes[target])
        return with_roles(sprites, target, int(cue[0]))
