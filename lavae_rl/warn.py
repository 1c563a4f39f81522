"""Warnings that point at the user's line, however many wrappers lie between it and the fault."""

import sys
import warnings

LIBRARIES = frozenset({"lavae_rl", "gymnasium", "stable_baselines3", "torch", "contextlib", "jaxtyping", "beartype"})
"""Packages whose lines are not the user's."""


def warn_user(message: str) -> None:
    """Issue a UserWarning that points at the innermost line outside of ``LIBRARIES``."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
