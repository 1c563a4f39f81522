"""Environments of agents: one of our tasks by its name or id, or any other environment by its id."""

from lavae_rl.data.environments import find_spec_of
from lavae_rl.model.checkpoint import bundled_names
from lavae_rl.registration import TASKS, task_name

ATARI = "ALE/"
"""Beginning of the ids of Atari games."""


def environment_name(text: str) -> str:
    """The name of a task, given its name or its id; or the id of another environment as it is.

    Raises:
        ValueError: neither a task nor a registered environment.
    """
    try:
        return task_name(text)
    except ValueError as error:
        if text.startswith(("LAVAE/", "lavae_rl:")):
            raise
        try:
            find_spec_of(text)
        except ValueError as unknown:
            raise ValueError(f"{error}, and it is not the id of another environment: {unknown}") from unknown
        return text


def is_task(name: str) -> bool:
    """Return whether a name is one of our tasks, with numbers of objects, held-out combinations, and success."""
    return name in TASKS


def is_atari(name: str) -> bool:
    """Return whether a name is the id of an Atari game."""
    return name.startswith(ATARI)


def default_model(name: str) -> str | None:
    """The bundled LAVAE that reads an environment's frames; None if there is none."""
    if is_task(name):
        return TASKS[name].model
    game = name.removeprefix(ATARI).rpartition("-")[0]
    return game if is_atari(name) and game in bundled_names() else None
