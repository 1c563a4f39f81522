"""LAVAE: unsupervised counting, location and appearance of sprites, for reinforcement learning.

Public names are loaded when they are first used, so that importing the package does not import PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lavae_rl.model.lavae import LAVAE, LAVAEConfig
    from lavae_rl.model.objects import Objects

__all__ = ["LAVAE", "LAVAEConfig", "Objects"]

_HOMES = {
    "LAVAE": "lavae_rl.model.lavae",
    "LAVAEConfig": "lavae_rl.model.lavae",
    "Objects": "lavae_rl.model.objects",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
