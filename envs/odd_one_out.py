"""OddOneOut: go to the object that differs."""

import numpy as np
from jaxtyping import Int

from lavae_rl.sprites import ANGLES

from .looks import AGENT, HELD_OUT, LOOKS, sprite
from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import AgentTask, roles_of
from .world import Sprites

_LOOK_IS_HELD_OUT = {(int(shape), int(color)): bool(held) for (shape, color), held in zip(LOOKS, HELD_OUT, strict=True)}


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
        look = choose(rng, num_objects)
        while not self._allowed(look):
            look = choose(rng, num_objects)
        order = rng.permutation(num_objects)  # the odd one was first
        angle = rng.integers(len(ANGLES), size=num_objects)
        sprites = sprite(look[order, 0], int(rng.integers(*self.scales)), angle, look[order, 1])
        return np.concatenate([[AGENT], sprites]), roles_of(order == 0, neutral_first=True)

    def _allowed(self, look: Int[np.ndarray, "objects 2"]) -> bool:
        """In training, no look is held out; in testing, that of the odd one is."""
        held_out = [_LOOK_IS_HELD_OUT[shape, color] for shape, color in look.tolist()]
        return held_out[0] if self.mode == "test" else not any(held_out)

    def chance(self, num_objects: int) -> float:
        """One of the objects is right."""
        return 1 / num_objects


def _odd_object(rng: np.random.Generator, num_objects: int) -> Int[np.ndarray, "objects 2"]:
    """Equal looks, but the first one's shape or colour."""
    common, odd = LOOKS[rng.integers(len(LOOKS), size=2)]
    kept = rng.integers(2)
    odd = np.where(np.arange(2) == kept, common, odd)
    if (odd == common).all():
        return _odd_object(rng, num_objects)
    return np.concatenate([odd[None], np.repeat(common[None], num_objects - 1, axis=0)])


def _odd_property(rng: np.random.Generator, num_objects: int) -> Int[np.ndarray, "objects 2"]:
    """The first one's shape or colour is unique; every other shape and colour occurs at least twice."""
    number = LOOKS.max(axis=0) + 1
    unique = rng.integers(2)
    values = rng.permutation(number[unique])
    look = np.empty((num_objects, 2), np.int64)
    look[0, unique] = values[0]
    look[1:, unique] = _in_groups(rng, num_objects - 1, values[1:])
    look[:, 1 - unique] = _in_groups(rng, num_objects, rng.permutation(number[1 - unique]))
    return look


def _in_groups(rng: np.random.Generator, size: int, values: Int[np.ndarray, " values"]) -> Int[np.ndarray, " objects"]:
    """As many values as wished, each of them at least twice."""
    groups = rng.integers(1, min(size // 2, len(values)) + 1)
    group = np.concatenate([np.repeat(np.arange(groups), 2), rng.integers(groups, size=size - 2 * groups)])
    return values[rng.permutation(group)]


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
    1 for the odd one out, otherwise 0. With `reward="shaped"`, added to that, the decrease of the distance to it, in
    canvas diagonals.

    ## Starting state
    4 objects (`num_objects`, at least 3), anywhere without overlap, the odd one within reach.

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
