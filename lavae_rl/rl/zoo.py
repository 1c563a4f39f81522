"""Our presets as hyperparameters of rl-baselines3-zoo, for agents on LAVAE's tokens.

python -m rl_zoo3.train --algo ppo --env LAVAE/OddOneOut-v0 --gym-packages lavae_rl --conf-file lavae_rl.rl.zoo

Those of MatchDigit and DigitOrder are for --algo sac.
"""

from typing import Any

from lavae_rl.registration import TASKS
from lavae_rl.rl.agents import algorithm_settings, policy_kwargs
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.presets import Preset, preset_for


def _settings(preset: Preset, model: str) -> dict[str, Any]:
    return {
        "n_timesteps": float(preset.steps),
        "n_envs": preset.num_envs,
        "env_kwargs": preset.env_options(),
        "vec_env_wrapper": [{"lavae_rl.perception.sb3.VecLAVAEObservation": {"model": model}}],
        "policy": OBSERVATIONS["lavae"].policy,
        "policy_kwargs": policy_kwargs(OBSERVATIONS["lavae"], preset),
        "learning_rate": f"lin_{preset.learning_rate}",
        **algorithm_settings(preset, preset.num_envs),
    }


hyperparams = {f"LAVAE/{task}-v0": _settings(preset_for(task), spec.model) for task, spec in TASKS.items()}
"""By environment id, as rl-baselines3-zoo reads them."""
