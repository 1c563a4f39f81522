"""The kinds of observations that agents read, as a table: another kind is one more entry of ``OBSERVATIONS``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.perception.sb3 import VecLAVAEObservation
from lavae_rl.perception.vae_vector import VecVAEObservation
from lavae_rl.perception.wrappers import LAVAEObservation
from lavae_rl.rl.environments import default_model
from lavae_rl.runs.programs import as_typed

SLOTS = 8
"""Slots of the tokens of agents on our tasks."""

Env = gym.Env[Any, Any]
Options = Mapping[str, Any]
"""Arguments of ``VecLAVAEObservation``: ``max_objects`` and features of tokens."""


@dataclass(frozen=True)
class Observation:
    """One kind of observation, from what the environment shows to the networks that read it."""

    view: str
    """View of our tasks: the value of their option ``observation``."""
    policy: str
    """Policy of Stable-Baselines3."""
    reads_tokens: bool = False
    """True if a ``SetFeaturesExtractor`` reads the observations; otherwise the policy's own networks do."""
    appearance_scale: float = 1.0
    """Factor of the appearance in tracked tokens."""
    wrap: Callable[[VecEnv, str, str, Options], VecEnv] | None = None
    """Wrapper that makes the observations: (environments, model, device, options of tokens); None without a model."""
    screen: str | None = None
    """View of other environments, see ``screens.make_screens``; None where nothing they show is this."""
    bundled: bool = False
    """True if the model is by default the bundled one for the environment."""
    watch: Callable[[Env, Any, Options], Env] | None = lambda env, *_: env
    """Wrapper of a single environment that can be filmed: (environment, model, options); None where there is none."""

    @property
    def needs_model(self) -> bool:
        """True if a model has to be given."""
        return self.wrap is not None and not self.bundled

    def model(self, name: str, given: str | None) -> str | None:
        """The name or folder of the model that makes the observations of an environment; None where no model does.

        Raises:
            ValueError: none is given, and none is bundled.
        """
        if self.wrap is None:
            return None
        if given is None and self.needs_model:
            program = as_typed("python pretrain/train_lavae.py --model baseline")
            raise ValueError(f"this observation needs the folder of a baseline (--model): train one with {program}")
        if (found := given or default_model(name)) is None:
            program = as_typed(f"python pretrain/train_lavae.py --env {name} --out runs/mine")
            raise ValueError(f"no model of {name} is bundled: train one with {program}, then add --model runs/mine")
        return found


OBSERVATIONS: Mapping[str, Observation] = {
    "lavae": Observation(
        view="pixels",
        screen="frames",
        policy="MultiInputPolicy",
        reads_tokens=True,
        appearance_scale=0.3,  # a vector of some ten numbers with a variance of 1 becomes as long as a one-hot class
        wrap=lambda venv, model, device, options: VecLAVAEObservation(venv, model, device=device, **options),
        bundled=True,
        watch=lambda env, model, options: LAVAEObservation(env, model, render_objects=True, **options),
    ),
    "oracle": Observation(view="oracle", screen="oracle", policy="MultiInputPolicy", reads_tokens=True),
    "pixels": Observation(view="pixels", screen="pixels", policy="CnnPolicy"),
    "vae": Observation(
        view="pixels",
        policy="MlpPolicy",
        wrap=lambda venv, model, device, _: VecVAEObservation(venv, model, device),
        watch=None,
    ),
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


def screen_view(name: str, observation: str) -> str:
    """View of an environment that is none of our tasks, for an observation.

    Raises:
        ValueError: nothing.
    """
    view = observation_kind(observation).screen
    if view is None:
        names = " or ".join(known for known, kind in OBSERVATIONS.items() if kind.screen is not None)
        raise ValueError(f"expected observation {names} for {name}, got {observation}: it is for our tasks")
    return view
