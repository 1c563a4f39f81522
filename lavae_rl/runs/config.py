"""config.json: typed settings with a format number, read strictly and refused if a newer version wrote them."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from dacite import Config, DaciteError, from_dict

from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.reading import read_json_object, shortened

CONFIG_FILE = "config.json"

FORMAT = 2
"""Format of the files that this version writes. Files of 0.1.0 hold no number and count as format 1."""

Kind = TypeVar("Kind")


def read_json(folder: Path) -> dict[str, Any]:
    """Read config.json, its "format" always among it.

    Raises:
        OSError: the file cannot be read.
        ValueError: not a JSON object, or of a newer format.
    """
    path = folder / CONFIG_FILE
    content: dict[str, Any] = {"format": 1, **read_json_object(path)}
    if type(content["format"]) is not int or not 1 <= content["format"] <= FORMAT:
        known = f"this version of lavae-rl reads formats 1 to {FORMAT}"
        raise ValueError(f"{path} has format {content['format']!r}, and {known}: update lavae-rl")
    return content


def write_json(folder: Path, content: Mapping[str, Any]) -> None:
    """Write config.json in the present format."""
    with replacing(folder / CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps({**content, "format": FORMAT}, indent=2) + "\n")


def parse(kind: type[Kind], values: Any, path: Path) -> Kind:
    """Make a dataclass, with dataclasses inside, of what the JSON file at ``path`` holds; lists stand for tuples.

    Raises:
        ValueError: unknown or missing fields, values of another type, or values that the dataclass refuses.
    """
    try:
        made = from_dict(kind, values, Config(strict=True, cast=[tuple]))
        _check_numbers(made)
        return made
    except (ArithmeticError, AttributeError, DaciteError, LookupError, TypeError, ValueError) as error:
        known = ", ".join(field.name for field in fields(cast("Any", kind)))
        raise ValueError(f"expected {path} to hold {kind.__name__} of {known}; got {shortened(error)}") from error


def _check_numbers(made: Any) -> None:
    """Refuse true and false in place of whole numbers, and numbers that are not finite, as JSON in Python has them."""
    for field in fields(made):
        value = getattr(made, field.name)
        if is_dataclass(value):
            _check_numbers(value)
        elif isinstance(value, bool) and field.type is int:
            raise ValueError(f"expected {field.name} to be a whole number, got {value}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"expected {field.name} to be finite, got {value}")


def check_agreement(folder: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse flags that contradict the settings of the run that they resume; None is a flag that was not given.

    Raises:
        ValueError: a flag has another value than the setting of its name.
    """
    for name, value in given.items():
        if value is not None and value != stored[name]:
            advice = "resume without that flag, or start another run in another --out"
            raise ValueError(f"the run in {folder} has {name} {stored[name]!r}, got {value!r}; {advice}")
