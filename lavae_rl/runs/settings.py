"""Settings of a run that is resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def check_agreement(folder: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse flags that contradict the run that they resume.

    Args:
        folder: of the run.
        stored: settings of the run by name.
        given: values of the flags by the same names; None for a flag that was not given.

    Raises:
        ValueError: a flag has another value than the run.
    """
    for name, value in given.items():
        if value is not None and value != stored[name]:
            raise ValueError(
                f"the run in {folder} has {name} {stored[name]!r}, got {value!r}; resume without that flag, or start "
                "another run in another --out"
            )
