"""Import paths of version 0.1.0: a name that is taken from its old module comes with a DeprecationWarning."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_RENAMED = {
    "training": ("dreams", "loop", "paper", "proposals", "recipes", "sharpness", "vae", "wake_sleep"),
    "learning": ("agents", "presets", "report", "zoo"),
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
    "evaluation.figures": ("pictures",),
    "evaluation.floor": ("evaluation.entropy", "evaluation.bounds"),
    "evaluation.metrics": ("evaluation.agreement", "evaluation.evaluate"),
    "model.canvas": ("model.image.windows", "model.image.likelihood"),
    "model.frames": ("model.image.likelihood",),
    "model.fast_networks": ("model.networks.fast",),
    "model.networks": ("model.networks.families",),
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
    "learning.run_settings": ("rl.run",),
    "learning.vec_envs": ("rl.vec_envs", "rl.observations"),
    **{f"learning.{name}": (f"rl.{name}",) for name in _RENAMED["learning"]},
}
"""Successors of each module, by their names inside ``lavae_rl``."""


def moved_names(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module in ``MOVED``.

    Args:
        module: its full name.

    Returns:
        A function that finds a name in the module's successors and warns of the new place.
        It raises AttributeError for a name that none of them has.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        # Python itself asks for names like __path__, which would make a package of a module.
        for home in MOVED[module.removeprefix("lavae_rl.")] if not name.startswith("__") else ():
            successor = import_module(f"lavae_rl.{home}")
            if hasattr(successor, name):
                note = f"{module}.{name} is deprecated: use {successor.__name__}.{name}"
                warnings.warn(note, DeprecationWarning, stacklevel=2)
                return getattr(successor, name)
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return __getattr__


class MovedFinder(MetaPathFinder, Loader):
    """Finder of the modules in ``MOVED``; the last on ``sys.meta_path``, so that it costs existing modules nothing."""

    def find_spec(
        self, fullname: str, path: Iterable[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the old name of a module and None for any other name."""
        name = fullname.removeprefix("lavae_rl.")
        if fullname == name or name not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=name in _RENAMED)

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Let the module find its names in its successors."""
        module.__getattr__ = moved_names(module.__name__)  # type: ignore[method-assign]
