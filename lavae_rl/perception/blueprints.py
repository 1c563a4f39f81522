"""Blueprints: all that it takes to rebuild the model inside a saved policy where its folder is missing.

Stable-Baselines3 stores the arguments of a policy, among them the name of that folder, the space of its observations
and its weights. The blueprint travels with the space.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from gymnasium import spaces

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.model import checkpoint
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.encoder import stored_preprocessing


@dataclass(frozen=True)
class Blueprint:
    """A model without its weights, and the preprocessing of its frames."""

    config: LAVAEConfig
    preprocessing: Preprocessing


class Source(NamedTuple):
    """Source of a model; with no name, it waits for the weights of the policy around it."""

    blueprint: Blueprint
    name: str | None

    def build(self) -> LAVAE:
        """Load the model, or build it without weights."""
        return LAVAE(self.blueprint.config) if self.name is None else LAVAE.from_pretrained(self.name)


class _Notes:
    """Blueprints by the names of models, as an attribute of a space."""

    def __init__(self) -> None:
        self.blueprints: dict[str, Blueprint] = {}
        self.saved = False
        """True if they were saved with a policy, by pickling its space."""

    def __getstate__(self) -> dict[str, Any]:
        return {"blueprints": self.blueprints, "saved": True}


def source(name: str, space: "spaces.Space[Any]") -> Source:
    """Find a model by its name, and note its blueprint at a space; or else take the blueprint saved there.

    The second is for policies that are loaded where there is no such model, or another one of that name.

    Raises:
        FileNotFoundError: no such model, and no blueprint of it.
    """
    notes: _Notes = space.__dict__.setdefault("lavae_notes", _Notes())
    here = name in checkpoint.bundled_names() or checkpoint.expanded(name).is_dir()
    saved = notes.blueprints.get(name) if notes.saved else None
    if saved is not None and not (here and _read(name) == saved):
        return Source(saved, None)
    notes.blueprints[name] = blueprint = _read(name)
    return Source(blueprint, name)


def _read(name: str) -> Blueprint:
    folder = checkpoint.find(name)
    return Blueprint(checkpoint.read_config(folder, LAVAE), stored_preprocessing(folder))
