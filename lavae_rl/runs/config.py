"""config.json: typed settings with a format number, read strictly and refused if a newer version wrote them."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

from dacite import Config, DaciteError, from_dict

from lavae_rl.runs.atomic import replacing

CONFIG_FILE = "config.json"

FORMAT = 2
"""Of the files that this version writes. Those of 0.1.0 hold no number and count as format 1."""

Kind = TypeVar("Kind")


def read_json(folder: Path) -> dict[str, Any]:
    """The content of config.json, its "format" always among it.

    Raises:
        OSError: the file cannot be read.
        ValueError: not a JSON object, or of a newer format.
    """
    path = folder / CONFIG_FILE
    try:
        content: dict[str, Any] = {"format": 1, **json.loads(path.read_text())}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if content["format"] not in range(1, FORMAT + 1):
        raise ValueError(
            f"{path} has format {content['format']!r}, and this version of lavae-rl reads formats 1 to {FORMAT}: "
            "update lavae-rl"
        )
    return content


def write_json(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes config.json in the present format."""
    with replacing(folder / CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps({**content, "format": FORMAT}, indent=2) + "\n")


def parse(kind: type[Kind], values: Any, path: Path) -> Kind:
    """A dataclass, with dataclasses inside, from what JSON holds of it.

    Args:
        kind: the dataclass.
        values: a value for each field without a default; lists stand for tuples.
        path: of the file, for messages.

    Raises:
        ValueError: unknown or missing fields, values of another type, or values that the dataclass refuses.
    """
    try:
        return from_dict(kind, values, Config(strict=True, cast=[tuple]))  # type: ignore[type-var]
    except (AttributeError, DaciteError, TypeError, ValueError) as error:
        known = ", ".join(field.name for field in fields(cast("Any", kind)))
        raise ValueError(f"expected {path} to hold {kind.__name__} of {known}; got {error}") from error
