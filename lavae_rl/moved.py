"""Import paths of version 0.1.0: each old module hands out the names of its successors, with a DeprecationWarning."""

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_RENAMED = {
    "training": ("dreams", "loop", "paper", "proposals", "recipes", "sharpness", "vae", "wake_sleep"),
    "learning": ("agents", "presets", "report", "vec_envs", "zoo"),
}

MOVED: Mapping[str, Sequence[str]] = {
    "datasets": ("data.sources", "data.files"),
    "scenes": ("data.scenes",),
    "sprites": ("data.sprites", "data.digits"),
    "devices": ("runs.devices",),
    "exits": ("runs.exits",),
    "sweep": ("runs.sweep",),
    "tables": ("runs.tables",),
    "evaluation.animation": ("pictures",),
    "evaluation.floor": ("evaluation.entropy",),
    "evaluation.metrics": ("evaluation.agreement", "evaluation.bounds", "evaluation.evaluate"),
    "model.canvas": ("model.image.windows", "model.image.likelihood"),
    "model.frames": ("model.image.likelihood",),
    "model.fast_networks": ("model.networks.fast",),
    "model.paper_networks": ("model.networks.paper",),
    "model.residual": ("model.networks.layers",),
    "model.pretrained": ("model.checkpoint",),
    "perception.preprocessing": ("data.preprocessing",),
    "perception.set_extractor": ("policies.set_extractor",),
    "perception.set_networks": ("policies.set_networks",),
    "training": ("pretraining",),
    "training.base": ("pretraining.state",),
    "training.provenance": ("runs.provenance",),
    "training.run_folder": ("runs.folder",),
    **{f"training.{name}": (f"pretraining.{name}",) for name in _RENAMED["training"]},
    "learning": ("rl",),
    "learning.evaluation": ("rl.success",),
    "learning.run_settings": ("rl.settings",),
    **{f"learning.{name}": (f"rl.{name}",) for name in _RENAMED["learning"]},
}
"""Successors of each module, all inside ``lavae_rl``."""


class MovedFinder(MetaPathFinder, Loader):
    """Finds the modules of ``MOVED``; the last on ``sys.meta_path``, so that it costs existing modules nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for an old name, None for any other."""
        name = fullname.removeprefix("lavae_rl.")
        if fullname == name or name not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=name in _RENAMED)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leaves the making of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Warns, and has the module look names up in its successors."""
        homes = [f"lavae_rl.{home}" for home in MOVED[module.__name__.removeprefix("lavae_rl.")]]
        note = f"{module.__name__} is deprecated: import from {' or '.join(homes)} instead"
        warnings.warn(note, DeprecationWarning, stacklevel=2)

        def __getattr__(name: str) -> Any:  # noqa: N807
            for home in map(import_module, homes):
                if hasattr(home, name):
                    return getattr(home, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = __getattr__  # type: ignore[method-assign]
