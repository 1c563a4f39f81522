"""The table of tasks and the ids of their environments.

Entry points are strings, so that importing the package loads no environment.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.envs.registration import WrapperSpec


class TaskSpec(NamedTuple):
    """Registration of a task."""

    entry: str
    """Module in ``lavae_rl.envs`` and class, "module:Class"."""
    tested: range
    """Numbers of objects that agents are tested with."""
    model: str = "multi-dsprites"
    """Bundled LAVAE that encodes its frames."""
    steps: int = 100
    """Steps after which an episode is truncated."""
    options: Mapping[str, Any] = {}
    names_colors: bool = False
    """True if the task is another one in other colours."""


TASKS = {
    "ObjectGoal": TaskSpec("object_goal:ObjectGoal", range(1, 8), names_colors=True),
    "OddOneOut": TaskSpec("odd_one_out:OddOneOut", range(3, 8)),
    "OddOneOutProperty": TaskSpec("odd_one_out:OddOneOut", range(4, 8), options={"variant": "property"}),
    "Push": TaskSpec("push:Push", range(1, 5), names_colors=True),
    "Collect": TaskSpec("collect:Collect", range(2, 8)),
    "Largest": TaskSpec("largest:Largest", range(2, 8)),
    "MatchDigit": TaskSpec("match_digit:MatchDigit", range(2, 8), "multi-mnist-10k", 50),
    "DigitOrder": TaskSpec("digit_order:DigitOrder", range(2, 7), "multi-mnist-10k", 50),
}
"""Tasks by name; a further one is a line here and a file in ``lavae_rl.envs``."""


def register_envs() -> None:
    """Register ``LAVAE/<task>-v0`` and, with object tokens as observations, ``LAVAE/<task>Tokens-v0``."""
    for name, spec in TASKS.items():
        if f"LAVAE/{name}-v0" in gym.registry:
            continue
        entry_point = f"lavae_rl.envs:{spec.entry.partition(':')[2]}"
        common: Any = {"max_episode_steps": spec.steps, "kwargs": dict(spec.options)}
        gym.register(f"LAVAE/{name}-v0", f"{entry_point}Env", vector_entry_point=f"{entry_point}VectorEnv", **common)
        options = {"model": spec.model, "max_objects": 8, "render_objects": False}
        tokens = WrapperSpec("TaskTokens", "lavae_rl.envs.tokens:TaskTokens", options)
        gym.register(f"LAVAE/{name}Tokens-v0", f"{entry_point}TokensEnv", additional_wrappers=(tokens,), **common)


def task_name(env_id: str) -> str:
    """Name of a task, a key of ``TASKS``, given its name or its id: "OddOneOut", "LAVAE/OddOneOut-v0".

    Raises:
        ValueError: there is no such task.
    """
    name = env_id.removeprefix("lavae_rl:").removeprefix("LAVAE/").removesuffix("-v0")
    if name not in TASKS:
        raise ValueError(f"expected one of {', '.join(f'LAVAE/{known}-v0' for known in TASKS)}, got {env_id!r}")
    return name
