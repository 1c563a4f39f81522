"""OddOneOut: go to the object that differs."""

from collections.abc import Iterator, Sequence

import numpy as np

from lavae_rl.data.sprites import ANGLES

from .agent import AgentTask
from .looks import AGENT, COMBINATIONS, HELD_OUT, sprite
from .task import with_roles
from .world import Sprites

Pair = tuple[int, int]
"""Shape and colour."""

_HELD_OUT: set[Pair] = {(shape, color) for shape, color in COMBINATIONS[HELD_OUT].tolist()}
_NUMBER: list[int] = (COMBINATIONS.max(axis=0) + 1).tolist()
"""Number of shapes and of colours."""


class OddOneOut(AgentTask):
    """Go to the object that differs from the others.

    ## Description
    The agent, a small white square, moves among shapes. One of them is the odd one out: touching it is success,
    touching another object is failure, and both end the episode. All objects of a scene have one size, and any angle.

    * `variant="object"`: all have the same shape and colour, but one differs in one of the two.
    * `variant="property"` (`LAVAE/OddOneOutProperty-v0`), harder: objects differ in shape and in colour, but the shape
      or the colour of just one object is unique, and every other shape and colour occurs at least twice.

    ## Starting state
    4 objects, 5 in the harder variant (`num_objects`, at least 3), anywhere without overlap, the odd one within reach.

    ## Held out
    In training, no object has one of the combinations of shape and colour of `lavae_rl.envs.looks.HELD_OUT`; with
    `mode="test"` the odd one has.
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
        pairs = choose(uniform, num_objects)
        while not self._allowed(pairs):
            pairs = choose(uniform, num_objects)
        order = rng.permutation(num_objects)  # the odd one was first
        shape, color = np.array(pairs)[order].T
        angle = rng.integers(len(ANGLES), size=num_objects)
        return with_roles(sprite(shape, int(rng.integers(*self.scales)), angle, color), order == 0, AGENT)

    def _allowed(self, pairs: list[Pair]) -> bool:
        """Return whether no combination is held out in training, and that of the odd one is in testing."""
        return pairs[0] in _HELD_OUT if self.mode == "test" else _HELD_OUT.isdisjoint(pairs)


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Numbers in [0, 1), drawn many at a time: scenes are tried until they are allowed, and calls of NumPy add up."""
    while True:
        yield from rng.random(64).tolist()


def _odd_object(uniform: Iterator[float], num_objects: int) -> list[Pair]:
    """Equal pairs, but the first one's shape or colour."""
    common = [int(next(uniform) * number) for number in _NUMBER]
    odd = common.copy()
    changed = int(next(uniform) * 2)
    # Any other value: from 1 to (number - 1) further on.
    odd[changed] = (odd[changed] + 1 + int(next(uniform) * (_NUMBER[changed] - 1))) % _NUMBER[changed]
    return [(odd[0], odd[1])] + [(common[0], common[1])] * (num_objects - 1)


def _odd_property(uniform: Iterator[float], num_objects: int) -> list[Pair]:
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
