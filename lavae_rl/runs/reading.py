"""Files that may be damaged or hostile: looked at before they are read, and refused by name."""

import json
from pathlib import Path
from typing import Any

_MOST_JSON = 2**26
"""Bytes of the largest JSON file that is read."""


def check_file(path: Path) -> None:
    """Refuse what is no plain file, also behind a symbolic link: folders, devices, pipes.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: there is something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"expected a file {path}, there is none")
    if not path.is_file():
        raise ValueError(f"expected a file {path}, got {'a folder' if path.is_dir() else 'a device or a pipe'}")


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, holds something else, or is no plain file.
    """
    check_file(path)
    if (size := path.stat().st_size) > _MOST_JSON:
        raise ValueError(f"{path} is damaged: expected at most {_MOST_JSON:,} bytes of JSON, got {size:,}")
    try:
        content = json.loads(path.read_text())
    except RecursionError as error:
        raise ValueError(f"{path} is damaged: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {shortened(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object, got {type(content).__name__}")
    return content


def shortened(reason: object) -> str:
    """A reason on one line of at most 200 characters, as libraries that list everything do not give it."""
    return " ".join(str(reason).split())[:200]
