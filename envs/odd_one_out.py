"""OddOneOut: go to the object that differs."""

import numpy as np
from jaxtyping import Bool, Int

from lavae_rl.sprites import ANGLES

from .looks import AGENT, HELD_OUT, LOOKS, sprite
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import AgentTask, roles_of
from .world import Sprites

_NUMBER = LOOKS.max(axis=0) + 1
"""How many shapes and colours there are."""

_IS_HELD_OUT = HELD_OUT.reshape(_NUMBER)

_TRIES = 16
"""Scenes are drawn so many at a time, until one is allowed."""


class OddOneOut(AgentTask):
    """Rules of ``OddOneOutEnv``.

    Args:
        mode: "train" or "test".
        variant: "object" or "property".
    """

    fewest_objects = 3

    def __init__(self, mode: str = "train", variant: str = "object") -> None:
        super().__init__(mode)
        if variant not in ("object", "property"):
            raise ValueError(f'expected variant "object" or "property", got {variant!r}')
        self._variant = variant

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """One odd object and the others, all of one size."""
        choose = _odd_object if self._variant == "object" else _odd_property
        while True:
            tried = choose(rng, num_objects)
            allowed = self._allowed(tried)
            if allowed.any():
                look = tried[allowed.argmax()]
                break
        order = rng.permutation(num_objects)  # the odd one was first
        angle = rng.integers(len(ANGLES), size=num_objects)
        sprites = sprite(look[order, 0], int(rng.integers(*self.scales)), angle, look[order, 1])
        return np.concatenate([[AGENT], sprites]), roles_of(order == 0, neutral_first=True)

    def _allowed(self, look: Int[np.ndarray, "tries objects 2"]) -> Bool[np.ndarray, " tries"]:
        """In training, no look is held out; in testing, that of the odd one is."""
        held_out = _IS_HELD_OUT[look[..., 0], look[..., 1]]
        return held_out[:, 0] if self.mode == "test" else ~held_out.any(axis=1)

    def chance(self, num_objects: int) -> float:
        """One of the objects is right."""
        return 1 / num_objects


def _odd_object(rng: np.random.Generator, num_objects: int) -> Int[np.ndarray, "tries objects 2"]:
    """Equal looks, but the first one's shape or colour."""
    look = np.repeat(LOOKS[rng.integers(len(LOOKS), size=(_TRIES, 1))], num_objects, axis=1)
    changed = rng.integers(2, size=_TRIES)
    # Any other value: between 1 and (number - 1) further on.
    number = _NUMBER[changed]
    further = 1 + (rng.random(_TRIES) * (number - 1)).astype(np.int64)
    tries = np.arange(_TRIES)
    look[tries, 0, changed] = (look[tries, 0, changed] + further) % number
    return look


def _odd_property(rng: np.random.Generator, num_objects: int) -> Int[np.ndarray, "tries objects 2"]:
    """The first one's shape or colour is unique; every other shape and colour occurs at least twice."""
    look = np.empty((_TRIES, num_objects, 2), np.int64)
    unique = rng.integers(2, size=_TRIES)
    for attribute, number in enumerate(_NUMBER):
        values = rng.random((_TRIES, number)).argsort(axis=1)
        alone = np.concatenate([np.zeros((_TRIES, 1), int), 1 + _groups(rng, num_objects - 1, number - 1)], axis=1)
        group = np.where((unique == attribute)[:, None], alone, _groups(rng, num_objects, number))
        look[:, :, attribute] = np.take_along_axis(values, group, axis=1)
    return look


def _groups(rng: np.random.Generator, size: int, most: int) -> Int[np.ndarray, "tries size"]:
    """Members of groups of two or more: of two groups or more where there is room, and of at most ``most``."""
    most = min(size // 2, most)
    number = rng.integers(min(2, most), most + 1, size=(_TRIES, 1))
    member = np.arange(size)
    group = np.where(member < 2 * number, member % number, (rng.random((_TRIES, size)) * number).astype(np.int64))
    return rng.permuted(group, axis=1)


class OddOneOutEnv(SpriteEnv):
    """Go to the object that differs from the others.

    ## Description
    The agent, a small white square, moves among shapes. One of them is the odd one out: to touch it is success, to
    touch another object is failure, and both end the episode. All objects of a scene have one size, and any angle.

    * `variant="object"`: all have the same shape and colour, but one differs in one of the two.
    * `variant="property"` (`LAVAE/OddOneOutProperty-v0`), harder: objects differ in shape and in colour, but the shape
      or the colour of just one object is unique, and every other shape and colour occurs at least twice.

    ## Action space
    `Discrete(5)`: stay, up, down, left, right, 4 pixels at a time.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 3), uint8)`, or the true state as tokens; see `SpriteEnv`.

    ## Rewards
    1 for the odd one out, otherwise 0. With `reward="shaped"`, added to that, the
    decrease of the number of moves to it, past the others, divided by the height and width of the canvas in moves.

    ## Starting state
    4 objects, 5 in the harder variant (`num_objects`, at least 3), anywhere without overlap, the odd one within reach.

    ## Held out
    In training, no object has one of the looks (shape and colour) of `lavae_rl.envs.looks.HELD_OUT`; with `mode="test"`
    the odd one has.

    ## Episode end
    Termination at the first touch, truncation after 100 steps.

    ## Chance
    1 / `num_objects`: going to a random object.
    """

    task_class = OddOneOut


class OddOneOutVectorEnv(SpriteVectorEnv):
    """Many ``OddOneOutEnv`` in one."""

    task_class = OddOneOut
