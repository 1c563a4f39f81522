"""The ids of our environments. Entry points are strings: importing the package loads none of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
from gymnasium.envs.registration import WrapperSpec


class TaskSpec(NamedTuple):
    """How a task is registered.

    Attributes:
        entry: module and class of the environment.
        tested: numbers of objects that its agents are tested with.
        model: bundled LAVAE that reads its frames.
        steps: in an episode.
        options: of the environment.
    """

    entry: str
    tested: Sequence[int]
    model: str = "multi-dsprites"
    steps: int = 100
    options: Mapping[str, Any] = {}


TASKS = {
    "ObjectGoal": TaskSpec("object_goal:ObjectGoal", range(1, 8)),
    "OddOneOut": TaskSpec("odd_one_out:OddOneOut", range(3, 8)),
    "OddOneOutProperty": TaskSpec("odd_one_out:OddOneOut", range(4, 8), options={"variant": "property"}),
    "Push": TaskSpec("push:Push", range(1, 5)),
    "Collect": TaskSpec("collect:Collect", range(2, 8)),
    "Largest": TaskSpec("largest:Largest", range(2, 8)),
    "MatchDigit": TaskSpec("match_digit:MatchDigit", range(2, 8), "multi-mnist-10k", 50),
    "DigitOrder": TaskSpec("digit_order:DigitOrder", range(2, 7), "multi-mnist-10k", 50),
}
"""By name."""


def register_envs() -> None:
    """Registers ``LAVAE/<task>-v0`` and, with object tokens as observations, ``LAVAE/<task>Tokens-v0``."""
    for name, (entry, _, model, limit, options) in TASKS.items():
        if f"LAVAE/{name}-v0" in gym.registry:
            continue
        entry_point = f"lavae_rl.envs.{entry}"
        gym.register(
            f"LAVAE/{name}-v0",
            entry_point=f"{entry_point}Env",
            vector_entry_point=f"{entry_point}VectorEnv",
            max_episode_steps=limit,
            kwargs=dict(options),
        )
        tokens = WrapperSpec(
            "LAVAEObservation",
            "lavae_rl.perception.wrappers:LAVAEObservation",
            {"model": model, "max_objects": 8, "render_objects": False},
        )
        gym.register(
            f"LAVAE/{name}Tokens-v0",
            entry_point=f"{entry_point}Env",
            max_episode_steps=limit,
            kwargs=dict(options),
            additional_wrappers=(tokens,),
        )


def task_name(env_id: str) -> str:
    """The name of a task: of "OddOneOut" and of "LAVAE/OddOneOut-v0".

    Raises:
        ValueError: no such task.
    """
    name = env_id.removeprefix("lavae_rl:").removeprefix("LAVAE/").removesuffix("-v0")
    if name not in TASKS:
        raise ValueError(f"expected one of {', '.join(f'LAVAE/{known}-v0' for known in TASKS)}, got {env_id!r}")
    return name
