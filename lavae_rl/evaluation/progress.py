"""Callbacks that show the progress of an evaluation."""

from collections.abc import Callable

OnFrames = Callable[[int], None]
"""Called after each batch with its number of frames."""


def ignore(frames: int) -> None:
    """Show nothing."""
