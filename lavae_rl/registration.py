"""The ids of our environments. Entry points are strings: importing the package loads none of them."""

import gymnasium as gym
from gymnasium.envs.registration import WrapperSpec

_SHAPES, _DIGITS = ("multi-dsprites", 100), ("multi-mnist-10k", 50)

TASKS = {
    "ObjectGoal": ("object_goal:ObjectGoal", {}, *_SHAPES),
    "OddOneOut": ("odd_one_out:OddOneOut", {}, *_SHAPES),
    "OddOneOutProperty": ("odd_one_out:OddOneOut", {"variant": "property"}, *_SHAPES),
    "Push": ("push:Push", {}, *_SHAPES),
    "Collect": ("collect:Collect", {}, *_SHAPES),
    "Largest": ("largest:Largest", {}, *_SHAPES),
    "MatchDigit": ("match_digit:MatchDigit", {}, *_DIGITS),
    "DigitOrder": ("digit_order:DigitOrder", {}, *_DIGITS),
}
"""Name: module and class of the environment, its options, the model that reads its frames, steps in an episode."""


def register_envs() -> None:
    """Registers ``LAVAE/<task>-v0`` and, with object tokens as observations, ``LAVAE/<task>Tokens-v0``."""
    for name, (entry, options, model, limit) in TASKS.items():
        if f"LAVAE/{name}-v0" in gym.registry:
            continue
        entry_point = f"lavae_rl.envs.{entry}"
        gym.register(
            f"LAVAE/{name}-v0",
            entry_point=f"{entry_point}Env",
            vector_entry_point=f"{entry_point}VectorEnv",
            max_episode_steps=limit,
            kwargs=options,
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
            kwargs=options,
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
