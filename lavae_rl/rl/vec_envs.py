"""Environments of our tasks as agents see them: many in one, as Stable-Baselines3 wants them, or a single one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from lavae_rl.model.checkpoint import find
from lavae_rl.perception.adapter import GymVectorToSB3
from lavae_rl.perception.sb3 import VecLAVAEObservation
from lavae_rl.perception.vae_vector import VecVAEObservation
from lavae_rl.perception.wrappers import LAVAEObservation
from lavae_rl.registration import TASKS, task_name

_VISIBLE = ("lavae", "oracle", "pixels")
OBSERVATIONS = (*_VISIBLE, "vae")
"""Object tokens of LAVAE, tokens of the true state, frames, the latent vector of a VAE without objects."""

SLOTS = 8
"""Of the tokens of all agents."""


def make_task_vec_env(
    task: str,
    observation: str,
    num_envs: int,
    seed: int | None = None,
    model: str | None = None,
    device: str = "cpu",
    **options: Any,
) -> VecEnv:
    """Many environments of a task in one, with episode statistics and success in their infos.

    Args:
        task: name or id of a task.
        observation: "lavae", "oracle", "pixels" or "vae".
        num_envs: number of environments.
        seed: of the first; the others follow.
        model: LAVAE that makes the tokens; None is the bundled one for the task's sprites. For "vae" the folder of a
            trained baseline, since none is bundled.
        device: where the model runs.
        options: of the environment, such as ``num_objects``, ``mode`` and ``reward``.

    Raises:
        ValueError: unknown task or observation, more objects than tokens have slots, or "vae" without a model.
    """
    if observation not in OBSERVATIONS:
        raise ValueError(f"expected observation of {', '.join(OBSERVATIONS)}, got {observation!r}")
    if observation == "vae" and model is None:
        raise ValueError(
            "observation 'vae' needs the folder of a baseline (--model): train one with "
            "python pretrain/train_lavae.py --model baseline"
        )
    env_id, view, tokens_of = _env_and_model(task, observation, model)
    options = {"observation": view, "max_objects": SLOTS, **options}
    vector = gym.make_vec(env_id, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    venv: VecEnv = VecMonitor(GymVectorToSB3(vector), info_keywords=("is_success",))
    if observation == "lavae":
        _check_slots(vector)
        venv = VecLAVAEObservation(venv, model=tokens_of, max_objects=SLOTS, device=device)
    elif observation == "vae":
        venv = VecVAEObservation(venv, tokens_of, device)
    if seed is not None:
        venv.seed(seed)
    return venv


def make_run_vec_env(facts: Mapping[str, Any], num_envs: int, **options: Any) -> VecEnv:
    """Environments of the task of a run, as its agent sees them.

    Args:
        facts: of the run's ``config.json``.
        num_envs: number of environments.
        options: further arguments of ``make_task_vec_env``.
    """
    return make_task_vec_env(facts["task"], facts["observation"], num_envs, model=facts["model"], **options)


def make_task_env(task: str, observation: str, model: str | None = None, **options: Any) -> "gym.Env[Any, Any]":
    """A single environment that can be watched: tokens of LAVAE are drawn over its pictures.

    Args:
        task: name or id of a task.
        observation: "lavae", "oracle" or "pixels".
        model: as for ``make_task_vec_env``.
        options: of the environment.

    Raises:
        ValueError: unknown task, another observation, or more objects than tokens have slots.
    """
    if observation not in _VISIBLE:
        raise ValueError(f"expected observation of {', '.join(_VISIBLE)}, got {observation!r}")
    env_id, view, tokens_of = _env_and_model(task, observation, model)
    options = {"observation": view, "max_objects": SLOTS, "render_mode": "rgb_array", **options}
    env: gym.Env[Any, Any] = gym.make(env_id, **options)
    if observation == "lavae":
        _check_slots(env)
        env = LAVAEObservation(env, tokens_of, max_objects=SLOTS, render_objects=True)
    return env


def find_model(task: str, observation: str, model: str | None) -> Path | None:
    """The folder of the model that makes an observation; None where none does, or none was given for "vae".

    Raises:
        FileNotFoundError: no model there.
    """
    if observation not in ("lavae", "vae") or (observation == "vae" and model is None):
        return None
    _, _, reader = _env_and_model(task, observation, model)
    return find(reader)


def _env_and_model(task: str, observation: str, model: str | None) -> tuple[str, str, str]:
    """Id of a task, what its environment has to show for an observation, and the model that reads that."""
    name = task_name(task)
    return f"LAVAE/{name}-v0", "oracle" if observation == "oracle" else "pixels", model or TASKS[name].model


def _check_slots(env: Any) -> None:
    """The true state checks this by itself; LAVAE does not know how many there can be."""
    simulation = env.unwrapped.simulation
    needed = simulation.world.role.shape[1]
    if needed > SLOTS:
        raise ValueError(
            f"tokens have {SLOTS} slots, agent or cue among them, {simulation.range[1]} objects need {needed}; ask for "
            "fewer objects"
        )
