"""MatchDigit: point at the digit of the same class as the cue."""

import numpy as np

from .digits import DigitTask
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import roles_of
from .world import Sprites


class MatchDigit(DigitTask):
    """Rules of ``MatchDigitEnv``."""

    first_location = (9, 9)

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Digits of different classes, after a cue of the class of one of them, which is another image."""
        classes = rng.permutation(10)[:num_objects]
        sprites = self.images(rng, classes)
        right = np.arange(num_objects) == rng.integers(num_objects)
        cue = sprites[right]
        while cue == sprites[right]:
            cue = self.images(rng, classes[right])
        return np.concatenate([cue, sprites]), roles_of(right, neutral_first=True)

    def chance(self, num_objects: int) -> float:
        """One of the digits is right."""
        return 1 / num_objects


class MatchDigitEnv(SpriteEnv):
    """Point at the digit of the same class as the cue.

    ## Description
    Digits of different classes stand anywhere, and in the top left corner a cue: another image of the class of one of
    them. To point at that one is success, to point at another digit is failure, and both end the episode. Pointing at
    the cue or at nothing does nothing.

    ## Action space
    `Box(-1, 1, (2,), float32)`: the place pointed at, (x, y), x to the right, y down. It is on a digit when it is in
    the digit's box, grown by a pixel.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 1), uint8)`, or the true state as tokens; see `SpriteEnv`.

    ## Rewards
    1 for the right digit, otherwise 0. With `reward="shaped"`, less, for pointing at anything else, 4
    times the distance of the place to the right digit, in canvas diagonals.

    ## Starting state
    4 digits (`num_objects`, at most 10) beside the cue, anywhere without overlap.

    ## Held out
    A fifth of the images of digits is shown only with `mode="test"`.

    ## Episode end
    Termination when a digit is pointed at, truncation after 50 steps.

    ## Chance
    1 / `num_objects`: pointing at a random digit.
    """

    task_class = MatchDigit


class MatchDigitVectorEnv(SpriteVectorEnv):
    """Many ``MatchDigitEnv`` in one."""

    task_class = MatchDigit
