"""The ids with object tokens: one set of options for a task and for the wrapper that encodes its frames."""

from inspect import signature
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from lavae_rl.options import check_names, option_names
from lavae_rl.perception.encoder import ELSEWHERE, EncoderConfig
from lavae_rl.perception.wrappers import LAVAEObservation

from .simulation import names_of_options
from .sprite_env import VECTOR_MODE, SpriteEnv
from .task import Task


class TokensEnv(SpriteEnv):
    """One environment of a task that also takes the options of ``LAVAEObservation``, and keeps them for it.

    Both have ``max_objects``, number of slots for tokens; here it is the wrapper's. Raises TypeError on other options,
    and on ``observation``, since tokens are what is observed.
    """

    def __init__(self, task: type[Task], **options: Any) -> None:
        named = [name for name in signature(LAVAEObservation).parameters if name not in ("env", "options")]
        reading = {*named, *option_names(EncoderConfig)}
        of_task = [name for name in names_of_options(task) if name != "observation"]
        elsewhere = {**ELSEWHERE, "{}=... of the id without Tokens": ["observation"], VECTOR_MODE: ["autoreset_mode"]}
        check_names(f"{task.__name__}TokensEnv", options, [*of_task, *sorted(reading)], elsewhere)
        self.token_options = {name: options.pop(name) for name in reading & options.keys()}
        super().__init__(task, **options)


class TaskTokens(LAVAEObservation):
    """The wrapper of a ``TokensEnv``: the options that it was given precede ``usual``, those of its id.

    The options stay with the environment, so that a specification states each once.
    """

    def __init__(self, env: gym.Env[Any, Any], **usual: Any) -> None:
        RecordConstructorArgs.__init__(self, **usual)
        given: Any = env.unwrapped
        super().__init__(env, **{**usual, **given.token_options})
