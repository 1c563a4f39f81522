"""OddOneOut: go to the object that differs."""

from collections.abc import Iterator, Sequence

import numpy as np

from lavae_rl.data.sprites import ANGLES

from .looks import AGENT, HELD_OUT, LOOKS, sprite
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import AgentTask, roles_of
from .world import Sprites

Look = tuple[int, int]
"""Shape and colour."""

_HELD_OUT: set[Look] = {(shape, color) for shape, color in LOOKS[HELD_OUT].tolist()}
_NUMBER: list[int] = (LOOKS.max(axis=0) + 1).tolist()
"""How many shapes and colours there are."""


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
        self.default_objects = 5 if variant == "property" else 4  # of 4, the others would be much alike

    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """One odd object and the others, all of one size."""
        choose = _odd_object if self._variant == "object" else _odd_property
        uniform = _uniforms(rng)
        looks = choose(uniform, num_objects)
        while not self._allowed(looks):
            looks = choose(uniform, num_objects)
        look = np.array(looks)
        order = rng.permutation(num_objects)  # the odd one was first
        angle = rng.integers(len(ANGLES), size=num_objects)
        sprites = sprite(look[order, 0], int(rng.integers(*self.scales)), angle, look[order, 1])
        return np.concatenate([[AGENT], sprites]), roles_of(order == 0, neutral_first=True)

    def _allowed(self, looks: list[Look]) -> bool:
        """In training, no look is held out; in testing, that of the odd one is."""
        return looks[0] in _HELD_OUT if self.mode == "test" else _HELD_OUT.isdisjoint(looks)

    def chance(self, num_objects: int) -> float:
        """One of the objects is right."""
        return 1 / num_objects


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Numbers in [0, 1), drawn many at a time: looks are tried until they are allowed, and calls of NumPy add up."""
    while True:
        yield from rng.random(64).tolist()


def _odd_object(uniform: Iterator[float], num_objects: int) -> list[Look]:
    """Equal looks, but the first one's shape or colour."""
    common = [int(next(uniform) * number) for number in _NUMBER]
    odd = common.copy()
    changed = int(next(uniform) * 2)
    # Any other value: from 1 to (number - 1) further on.
    odd[changed] = (odd[changed] + 1 + int(next(uniform) * (_NUMBER[changed] - 1))) % _NUMBER[changed]
    return [(odd[0], odd[1])] + [(common[0], common[1])] * (num_objects - 1)


def _odd_property(uniform: Iterator[float], num_objects: int) -> list[Look]:
    """The first one's shape or colour is unique; every other shape and colour occurs at least twice."""
    unique = int(next(uniform) * 2)
    shape, color = (_values(uniform, num_objects, number, unique == i) for i, number in enumerate(_NUMBER))
    return list(zip(shape, color, strict=True))


def _values(uniform: Iterator[float], size: int, number: int, first_alone: bool) -> list[int]:
    """Values of one attribute: each twice or more, two of them or more where there is room; or the first one's once."""
    values = _shuffled(uniform, range(number))
    alone = [values.pop()] if first_alone else []
    size -= len(alone)
    most = min(size // 2, len(values))
    least = min(2, most)
    groups = least + int(next(uniform) * (most + 1 - least))
    rest = [int(next(uniform) * groups) for _ in range(size - 2 * groups)]
    return alone + [values[group] for group in _shuffled(uniform, [*range(groups), *range(groups), *rest])]


def _shuffled(uniform: Iterator[float], items: Sequence[int]) -> list[int]:
    return [item for _, item in sorted((next(uniform), item) for item in items)]


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
    1 for the odd one out, otherwise 0. With `reward="shaped"`, added to that, 4 times the
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
