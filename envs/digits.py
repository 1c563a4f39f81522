"""What the tasks on digits have in common."""

from typing import ClassVar

import numpy as np

from .pointer import PointerTask
from .world import Sprites


class DigitTask(PointerTask):
    """Digits of different classes.

    ## Held out
    Every fifth image of each class is shown only with `mode="test"`.
    """

    data_set = "multi-mnist-10k"
    most_objects: ClassVar[int | None] = 10

    def __init__(self, mode: str = "train") -> None:
        super().__init__(mode)
        self.labels = self.bank.attributes["label"]
        of_class = [np.flatnonzero(self.labels == label) for label in range(10)]
        self._images = [images[(np.arange(len(images)) % 5 == 0) == (mode == "test")] for images in of_class]

    def images(self, rng: np.random.Generator, classes: Sprites) -> Sprites:
        """A random image of each class."""
        pools = [self._images[label] for label in classes]
        return np.array([pool[rng.integers(len(pool))] for pool in pools])
