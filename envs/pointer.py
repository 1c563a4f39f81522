"""Tasks that act by pointing at digits."""

from typing import ClassVar

import numpy as np
from gymnasium import spaces

from lavae_rl.data.coordinates import to_location
from lavae_rl.shapes import Mask

from .task import Batch, Ended, Task
from .world import NEUTRAL, Sprites, World


class PointerTask(Task):
    """Task of pointing at digits of different classes.

    ## Action space
    `Box(-1, 1, (2,), float32)`: the place pointed at, (x, y), x to the right, y down. It is on an object when it is in
    the object's box, grown by a pixel.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 1), uint8)`, or the true state as tokens; see `lavae_rl.envs.simulation.Simulation`.

    ## Held out
    Every fifth image of each class is shown only with `mode="test"`.
    """

    data_set = "multi-mnist-10k"
    most_objects: ClassVar[int | None] = 10
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, mode: str = "train") -> None:
        super().__init__(mode)
        self.labels = self.bank.attributes["label"]
        of_class = [np.flatnonzero(self.labels == label) for label in range(10)]
        self._images = [images[(np.arange(len(images)) % 5 == 0) == (mode == "test")] for images in of_class]

    def images(self, rng: np.random.Generator, classes: Sprites) -> Sprites:
        """A random image of each class."""
        pools = [self._images[label] for label in classes]
        return np.array([pool[rng.integers(len(pool))] for pool in pools])

    def touch(self, world: World, actions: np.ndarray) -> Mask:
        """The object whose box, grown by a pixel, holds the point; pointing anywhere else does nothing.

        Raises:
            ValueError: an action is not finite.
        """
        if not np.isfinite(actions).all():
            raise ValueError(f"expected finite places (x, y), got {actions.tolist()}")
        world.pointer[:] = to_location(np.clip(actions, -1, 1), world.scenes.canvas_size)
        point = np.rint(world.pointer).astype(np.int64)
        boxes = world.boxes() + np.array([-1, -1, -1, -1])
        inside = (boxes[..., :2] <= point[:, None]) & (point[:, None] < boxes[..., 2:])
        return inside.all(axis=2) & (world.role > NEUTRAL)

    def shaped_step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended, Batch]:
        """Add nothing for pointing at a target, and minus the distance to it for pointing at nothing.

        Pointing at a distractor costs the distance, and 1 for each other target that will not be taken now. If every
        further step had a cost, an early end would otherwise be worth more than the target.

        This is no potential-based shaping: the place pointed at is no state that could be left. An agent rewarded for
        coming nearer would stay near without ever touching, so it pays for its distance each time.
        """
        reward, success, failed = self.step(world, actions)
        lost = np.where(failed, world.targets.sum(axis=1) - 1, 0)
        missed = np.where(reward > 0, 0, lost + world.distance(self.current_targets(world)))
        return reward, success, failed, -missed / world.total
