"""Vector environments of our tasks, as Stable-Baselines3 wants them."""

from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from lavae_rl.perception.adapter import GymVectorToSB3
from lavae_rl.perception.sb3 import VecLAVAEObservation
from lavae_rl.perception.vae_vector import VecVAEObservation
from lavae_rl.registration import TASKS, task_name

OBSERVATIONS = ("lavae", "oracle", "pixels", "vae")
"""Object tokens of LAVAE, tokens of the true state, frames, the latent vector of a VAE without objects."""


def make_task_vec_env(
    task: str, observation: str, num_envs: int, seed: int | None = None, model: str | None = None, **options: Any
) -> VecEnv:
    """Many environments of a task in one, with episode statistics and success in their infos.

    Args:
        task: name or id of a task.
        observation: "lavae", "oracle", "pixels" or "vae".
        num_envs: number of environments.
        seed: of the first; the others follow.
        model: LAVAE that makes the tokens; None is the bundled one for the task's sprites. For "vae" the folder of a
            trained baseline, since none is bundled.
        options: of the environment, such as ``num_objects``, ``mode`` and ``reward``.

    Raises:
        ValueError: unknown task or observation, or "vae" without a model.
    """
    if observation not in OBSERVATIONS:
        raise ValueError(f"expected observation of {', '.join(OBSERVATIONS)}, got {observation!r}")
    if observation == "vae" and model is None:
        raise ValueError(
            "observation 'vae' needs the folder of a baseline (--model): train one with "
            "python pretrain/train_lavae.py --model baseline"
        )
    name = task_name(task)
    view = "oracle" if observation == "oracle" else "pixels"
    vector = gym.make_vec(
        f"LAVAE/{name}-v0", num_envs, observation=view, autoreset_mode=AutoresetMode.SAME_STEP, **options
    )
    venv: VecEnv = VecMonitor(GymVectorToSB3(vector), info_keywords=("is_success",))
    if observation == "lavae":
        venv = VecLAVAEObservation(venv, model=model or TASKS[name][2])
    elif observation == "vae":
        venv = VecVAEObservation(venv, str(model))
    if seed is not None:
        venv.seed(seed)
    return venv
