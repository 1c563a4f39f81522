"""Import paths of version 0.1.0: a name that is taken from its old module comes with a DeprecationWarning."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Modules that kept their names in another package.
_KEPT = {
    ("", "runs."): "devices exits sweep tables",
    ("learning.", "rl."): "agents presets report zoo",
    ("perception.", "policies."): "set_extractor set_networks",
    ("training.", "pretraining."): "dreams loop paper proposals recipes sharpness vae wake_sleep",
}

MOVED: Mapping[str, Sequence[str]] = {
    **{old + name: (new + name,) for (old, new), names in _KEPT.items() for name in names.split()},
    "datasets": ("data.sources", "data.files"),
    "scenes": ("data.scenes",),
    "sprites": ("data.sprites", "data.digits"),
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
    "training": ("pretraining",),
    "training.base": ("pretraining.state",),
    "training.provenance": ("runs.provenance",),
    "training.run_folder": ("runs.folder", "runs.claims"),
    "learning": ("rl",),
    "learning.evaluation": ("rl.success",),
    "learning.run_settings": ("rl.run",),
    "learning.vec_envs": ("rl.vec_envs", "rl.observations"),
}
"""Successors of each module, by their names inside ``lavae_rl``."""


def moved_names(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module in ``MOVED``: it finds names in successors and warns of the new place."""

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

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a spec for the old name of a module and None for any other name."""
        name = fullname.removeprefix("lavae_rl.")
        if fullname == name or name not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=name in ("learning", "training"))

    def exec_module(self, module: ModuleType) -> None:
        """Let the module find its names in its successors."""
        module.__getattr__ = moved_names(module.__name__)  # type: ignore[method-assign]
