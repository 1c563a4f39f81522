"""A test of the screen before OpenCV opens a window: without one, Qt ends the whole process."""

import os
import subprocess
import sys
from functools import lru_cache

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_NO_WINDOWS = 3
_TRY = f"""
import cv2
try:
    cv2.namedWindow("lavae-rl")
except cv2.error:
    raise SystemExit({_NO_WINDOWS})
"""
_PATIENCE = 20.0
"""Seconds in which a screen has to answer."""

WITHOUT_WINDOWS = (
    "this OpenCV cannot open windows, as opencv-python-headless cannot: pip uninstall opencv-python-headless, then "
    "pip install --force-reinstall opencv-python"
)


def has_screen() -> bool:
    """Return True if a window can be opened."""
    return screen_problem() is None


def screen_problem() -> str | None:
    """Reason why no window can be opened, and the remedy; None where nothing speaks against it."""
    if not sys.platform.startswith("linux"):
        return None
    displays = tuple(os.environ.get(name, "") for name in _DISPLAYS)
    return _problem(displays) if any(displays) else "there is no screen (DISPLAY is not set)"


@lru_cache(maxsize=4)
def _problem(displays: tuple[str, ...]) -> str | None:
    """Open a window in another process, since a screen that does not answer would end this one."""
    named = ", ".join(f"{name}={value}" for name, value in zip(_DISPLAYS, displays, strict=True) if value)
    try:
        done = subprocess.run([sys.executable, "-c", _TRY], capture_output=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return f"the screen does not answer ({named})"
    if done.returncode == _NO_WINDOWS:
        return WITHOUT_WINDOWS
    return None if done.returncode == 0 else f"the screen cannot be opened ({named})"
