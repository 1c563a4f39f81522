"""Final observations of episodes, which environments that reset themselves hand over in many forms, or not at all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import iterate

from lavae_rl.warn import warn_user

Infos = dict[str, Any]


def final_observations(infos: Infos, env: VectorEnv, ended: np.ndarray) -> list[Any]:
    """The final observation of each environment in ``ended``, indices; None where ``infos`` hold none.

    ``infos["final_obs"]`` is an array, an array of objects, a list or a dictionary of arrays, with a row for each
    environment of ``env``; a mask ``infos["_final_obs"]`` may say which rows count.

    Raises:
        ValueError: another number of rows.
    """
    given, mask = infos.get("final_obs"), infos.get("_final_obs")
    if given is None:
        return [None] * len(ended)
    of_dictionaries = isinstance(given, Mapping) and isinstance(env.single_observation_space, spaces.Dict)
    rows: Sequence[Any] = list(iterate(env.observation_space, given)) if of_dictionaries else given
    if not has_rows(rows, env.num_envs):
        raise ValueError(f"expected infos['final_obs'] with a row for each of {env.num_envs} environments, got {given}")
    return [rows[i] if mask is None or mask[i] else None for i in ended]


def has_rows(values: Any, number: int) -> bool:
    """Return whether values are a sequence or an array of so many rows."""
    return len(values) == number if isinstance(values, list | tuple) else np.shape(values)[:1] == (number,)


def as_gymnasium(finals: Sequence[Any], ended: np.ndarray, num_envs: int) -> Infos:
    """Infos with final observations as Gymnasium itself hands them over: an array of objects, and a mask."""
    rows, mask = np.full(num_envs, None, dtype=object), np.zeros(num_envs, bool)
    for i, final in zip(ended, finals, strict=True):
        rows[i], mask[i] = final, final is not None
    return {"final_obs": rows, "_final_obs": mask}


class MissingFinals:
    """Watch that warns once if episodes end without a final observation under its ``key`` in the infos."""

    def __init__(self, key: str) -> None:
        self._key, self._warned = key, False

    def look(self, finals: Sequence[Any]) -> None:
        """Watch the final observations of a step, None where one is missing."""
        if self._warned or all(final is not None for final in finals):
            return
        self._warned = True
        warn_user(
            f"an episode ended without infos[{self._key!r}]: the last frames of such episodes are not encoded, and "
            "learners cannot estimate what comes after an episode that a time limit cuts short"
        )
