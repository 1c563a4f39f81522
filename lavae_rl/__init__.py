"""LAVAE: unsupervised counting, location and appearance of sprites, for reinforcement learning.

Importing the package registers the environments (``LAVAE/...-v0``). Public names are loaded when they are first used,
so that it does not import PyTorch.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lavae_rl.forks import compute_in_one_thread_after_forks
from lavae_rl.moved import MovedFinder
from lavae_rl.registration import register_envs

if TYPE_CHECKING:
    from lavae_rl.data.preprocessing import Preprocessing
    from lavae_rl.model.config import LAVAEConfig
    from lavae_rl.model.lavae import LAVAE
    from lavae_rl.model.objects import Objects
    from lavae_rl.perception.wrappers import LAVAEObservation, VectorLAVAEObservation

    __version__: str

__all__ = ["LAVAE", "LAVAEConfig", "LAVAEObservation", "Objects", "Preprocessing", "VectorLAVAEObservation"]

_HOMES = {
    "LAVAE": "lavae_rl.model.lavae",
    "LAVAEConfig": "lavae_rl.model.config",
    "LAVAEObservation": "lavae_rl.perception.wrappers",
    "Objects": "lavae_rl.model.objects",
    "Preprocessing": "lavae_rl.data.preprocessing",
    "VectorLAVAEObservation": "lavae_rl.perception.wrappers",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from lavae_rl.runs.versions import own_version

        return own_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__


_CHECKOUT = Path(__file__).parents[1]
if (_CHECKOUT / "envs").is_dir() and (_CHECKOUT / "pyproject.toml").is_file():
    # A checkout keeps the sub-packages envs, agents and pretrain beside this one. Python imports this folder from the
    # checkout's root, even when a plain installation exists elsewhere; then the leaves must come from the checkout too.
    __path__.append(str(_CHECKOUT))

sys.meta_path.append(MovedFinder())
compute_in_one_thread_after_forks()
register_envs()
