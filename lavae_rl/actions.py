"""Actions as a space has them: NumPy would broadcast others without a word."""

from typing import Any

import numpy as np
from gymnasium import spaces


def as_actions(given: Any, space: "spaces.Space[Any]", *batch: int) -> np.ndarray:
    """Actions as an array of numbers, checked by their shape, ``batch`` and that of one action of ``space``.

    Raises:
        ValueError: another shape, or no numbers.
    """
    check_shape(given, space, *batch)
    actions = np.asarray(given)
    if actions.dtype.kind not in "iuf":
        raise ValueError(f"expected actions of {space} as numbers, got {actions.tolist()}")
    whole = actions.dtype.kind in "iu" and space.dtype is not None and space.dtype.kind == "f"
    return actions.astype(space.dtype) if whole else actions


def check_shape(given: Any, space: "spaces.Space[Any]", *batch: int) -> None:
    """Raise ValueError if actions have another shape than ``batch`` and that of one action of ``space``."""
    if space.shape is None:  # dictionaries and the like
        return
    expected = (*batch, *space.shape)
    try:
        shape = tuple(np.shape(given))
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"expected actions of shape {expected}, got {given!r}") from error
    if shape != expected:
        raise ValueError(f"expected actions of shape {expected}, got {shape}: {given!r}")
