"""What it takes to build the model inside a saved policy again where the folder that it came from is missing.

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


class Built(NamedTuple):
    """A model, by a blueprint, that has its weights or waits for those of the policy around it."""

    model: LAVAE
    blueprint: Blueprint
    has_weights: bool


class _Notes:
    """Blueprints by the names of models, as an attribute of a space."""

    def __init__(self) -> None:
        self.blueprints: dict[str, Blueprint] = {}
        self.saved = False
        """Whether they were saved with a policy, by pickling its space."""

    def __getstate__(self) -> dict[str, Any]:
        return {"blueprints": self.blueprints, "saved": True}


def build(name: str, space: "spaces.Space[Any]") -> Built:
    """Load a model by its name, and note its blueprint at a space; or build it by the blueprint saved there.

    The second is for policies that are loaded where there is no such model, or another one of that name.

    Raises:
        FileNotFoundError: no such model, and no blueprint of it.
    """
    notes: _Notes = space.__dict__.setdefault("lavae_notes", _Notes())
    here = name in checkpoint.bundled_names() or checkpoint.expanded(name).is_dir()
    saved = notes.blueprints.get(name) if notes.saved else None
    if saved is not None and not (here and _read(name) == saved):
        return Built(LAVAE(saved.config), saved, has_weights=False)
    notes.blueprints[name] = blueprint = _read(name)
    return Built(LAVAE.from_pretrained(name), blueprint, has_weights=True)


def _read(name: str) -> Blueprint:
    folder = checkpoint.find(name)
    return Blueprint(checkpoint.read_config(folder, LAVAE), stored_preprocessing(folder))
