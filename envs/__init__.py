"""Environments made of the same sprites as the data sets; importing ``lavae_rl`` registers them (``LAVAE/...-v0``).

Every task of ``lavae_rl.registration.TASKS`` has three names here, made when they are first used: ``OddOneOutEnv``, a
``SpriteEnv`` of the task with the task's documentation, ``OddOneOutVectorEnv``, which makes a ``SpriteVectorEnv``, and
``OddOneOutTokensEnv``, which makes a ``TokensEnv``.
"""

from collections.abc import Callable
from functools import cache, partial, partialmethod
from importlib import import_module
from inspect import getdoc
from typing import Any

from lavae_rl.registration import TASKS

from .sprite_env import SpriteEnv, SpriteVectorEnv
from .task import Task


def task_class(name: str) -> type[Task]:
    """The class of a task, a key of ``TASKS``."""
    module, attribute = TASKS[name].entry.split(":")
    return getattr(import_module(f".{module}", __name__), attribute)


def _documentation(task: type[Task]) -> str:
    """The docstring of a task, and those sections of its base classes' docstrings that it does not have itself."""
    text = getdoc(task) or ""
    for base in task.__mro__[1:]:
        for section in (getdoc(base) or "").split("\n\n## ")[1:]:
            heading = section.split("\n")[0]
            if f"## {heading}\n" not in text:
                text += f"\n\n## {section}"
    return text


@cache
def _single(task: type[Task]) -> type[SpriteEnv]:
    members = {"__init__": partialmethod(SpriteEnv.__init__, task), "__doc__": _documentation(task)}
    return type(f"{task.__name__}Env", (SpriteEnv,), {"__module__": __name__, **members})


def __getattr__(name: str) -> Callable[..., Any]:
    for task, spec in TASKS.items():
        class_name = spec.entry.partition(":")[2]
        if name == f"{class_name}Env":
            return _single(task_class(task))
        if name == f"{class_name}VectorEnv":
            return partial(SpriteVectorEnv, task_class(task))
        if name == f"{class_name}TokensEnv":
            # It alone needs PyTorch.
            return partial(import_module(".tokens", __name__).TokensEnv, task_class(task))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
