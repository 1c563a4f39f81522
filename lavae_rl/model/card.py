"""Model cards: a README.md beside the weights, as the Hugging Face Hub shows it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lavae_rl.runs.atomic import replacing

CARD_FILE = "README.md"
MARK = "<!-- Written by lavae-rl, which replaces this file. Remove this line, and the file is yours. -->"
"""Line of every card that this module wrote; a README.md without it is never replaced."""

_HEAD = """---
license: mit
library_name: lavae-rl
tags:
- object-centric-learning
- unsupervised-learning
- variational-autoencoder
- reinforcement-learning
---

"""
_LOADING = {
    "lavae": """# {title}

This LAVAE counts, locates and describes the objects of frames.
It was trained without labels, by [lavae-rl](https://pypi.org/project/lavae-rl/).

```python
from lavae_rl import LAVAE

model = LAVAE.from_pretrained("FOLDER")  # or "user/repository"
objects = model.encode(frames)  # uint8 (batch, height, width, channels)
print(objects.count, objects.location, objects.appearance)
```
""",
    "conv-vae": """# {title}

This convolutional VAE is the baseline without objects of [lavae-rl](https://pypi.org/project/lavae-rl/).

```python
from lavae_rl.model.checkpoint import load_model

model = load_model("FOLDER")  # or "user/repository"
```
""",
}
_PAPER = """
The method is that of Andrea Dittadi and Ole Winther,
[LAVAE: Disentangling Location and Appearance](https://arxiv.org/abs/1909.11813), 2019.
"""


def write_card(folder: Path, model_type: str, facts: Mapping[str, Any]) -> None:
    """Write the card of a model to its folder, unless its README.md is somebody else's.

    A card that cannot be written is left out, for the model is whole without it.
    """
    path = folder / CARD_FILE
    with suppress(OSError):
        if path.exists() and not _is_ours(path):
            return
        with replacing(path) as temporary:
            temporary.write_text(card(model_type, facts), "utf-8", errors="backslashreplace")


def card(model_type: str, facts: Mapping[str, Any]) -> str:
    """The text of a card: how to load the model, and of its training whatever the run metadata hold."""
    data = _training_data(facts)
    title = ("LAVAE" if model_type == "lavae" else "Convolutional VAE") + (f" of {data}" if data else "")
    parts = [_HEAD, MARK, "\n\n", _LOADING[model_type].format(title=title)]
    for heading, rows in (("Training", list(_training(data, facts))), ("Metrics", list(_metrics(facts)))):
        if rows:
            parts += [f"\n## {heading}\n\n| | |\n|---|---|\n", *(f"| {name} | {value} |\n" for name, value in rows)]
    return "".join([*parts, _PAPER])


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(4096)


def _training_data(facts: Mapping[str, Any]) -> str:
    """The name of the training data, or the folder of their frames; empty if it is not stated."""
    data = _part(facts, "data")
    return _cell(next((data[key] for key in ("dataset", "path") if data.get(key)), ""))


def _training(data: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    provenance, steps = _part(facts, "provenance"), _part(facts, "recipe").get("steps")
    found = {
        "training data": data,
        "recipe": facts.get("recipe_name"),
        "steps": steps,
        "seed": facts.get("seed"),
        "commit of lavae-rl": provenance.get("commit"),
        "version of lavae-rl": _part(provenance, "versions").get("lavae-rl"),
        "command": provenance.get("command"),
    }
    yield from ((name, _cell(value)) for name, value in found.items() if value not in (None, ""))


def _metrics(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in _part(facts, "metrics").items():
        if isinstance(value, int | float):
            yield _cell(name), f"{value:.5g}"


def _part(facts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = facts.get(key)
    return part if isinstance(part, Mapping) else {}


def _cell(value: object) -> str:
    """A value on one line of a table."""
    return " ".join(str(value).replace("|", "\\|").split())
