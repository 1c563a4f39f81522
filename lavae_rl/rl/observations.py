"""The kinds of observations that agents read, as a table: another kind is one more entry of ``OBSERVATIONS``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.perception.sb3 import VecLAVAEObservation
from lavae_rl.perception.vae_vector import VecVAEObservation
from lavae_rl.perception.wrappers import LAVAEObservation
from lavae_rl.registration import TASKS

SLOTS = 8
"""Slots of the tokens of all agents."""

Env = gym.Env[Any, Any]


@dataclass(frozen=True)
class Observation:
    """One kind of observation, from what the environment shows to the networks that read it."""

    view: str
    """Value of the environment's option ``observation``."""
    policy: str
    """Policy of Stable-Baselines3."""
    reads_tokens: bool = False
    """Whether a ``SetFeaturesExtractor`` reads the observations; otherwise the policy's own networks do."""
    wrap: Callable[[VecEnv, str, str], VecEnv] | None = None
    """Wrapper that makes the observations: (environments, model, device); None where no model is needed."""
    bundled: bool = False
    """Whether the model is by default the bundled one for the sprites of the task."""
    watch: Callable[[Env, Any], Env] | None = lambda env, _: env
    """Wrapper of a single environment that can be filmed: (environment, model); None where there is none."""

    @property
    def needs_model(self) -> bool:
        """Whether a model has to be given."""
        return self.wrap is not None and not self.bundled

    def model(self, task: str, given: str | None) -> str | None:
        """The name or folder of the model that makes the observations of a task; None where no model does."""
        if self.wrap is None:
            return None
        if given is None and self.needs_model:
            program = "python pretrain/train_lavae.py --model baseline"
            raise ValueError(f"this observation needs the folder of a baseline (--model): train one with {program}")
        return given or TASKS[task].model


OBSERVATIONS: Mapping[str, Observation] = {
    "lavae": Observation(
        view="pixels",
        policy="MultiInputPolicy",
        reads_tokens=True,
        wrap=lambda venv, model, device: VecLAVAEObservation(venv, model, SLOTS, device=device),
        bundled=True,
        watch=lambda env, model: LAVAEObservation(env, model, max_objects=SLOTS, render_objects=True),
    ),
    "oracle": Observation(view="oracle", policy="MultiInputPolicy", reads_tokens=True),
    "pixels": Observation(view="pixels", policy="CnnPolicy"),
    "vae": Observation(view="pixels", policy="MlpPolicy", wrap=VecVAEObservation, watch=None),
}
"""Object tokens of LAVAE, tokens of the true state, frames, the latent vector of a VAE without objects."""


def observation_kind(name: str) -> Observation:
    """The entry of ``OBSERVATIONS``; a ValueError names those that there are."""
    if name not in OBSERVATIONS:
        raise ValueError(f"expected observation of {', '.join(OBSERVATIONS)}, got {name!r}")
    return OBSERVATIONS[name]


def require(what: str, observation: str, has: Callable[[Observation], Any]) -> None:
    """Refuse ``what`` for a kind of observation without a property, with a ValueError that names those that have it."""
    if not has(observation_kind(observation)):
        names = " or ".join(name for name, kind in OBSERVATIONS.items() if has(kind))
        raise ValueError(f"expected {what} with observation {names}, got it with {observation}")
