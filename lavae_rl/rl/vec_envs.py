"""Environments of our tasks as agents observe them: many in one for Stable-Baselines3, or a single one."""

from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from lavae_rl.perception.adapter import GymVectorToSB3
from lavae_rl.registration import task_name
from lavae_rl.rl.observations import SLOTS, Env, observation_kind, require
from lavae_rl.rl.run import AgentRun


def make_task_vec_env(
    task: str,
    observation: str,
    num_envs: int,
    seed: int | None = None,
    model: str | None = None,
    device: str = "cpu",
    **options: Any,
) -> VecEnv:
    """Make many environments of a task in one, with episode statistics and success in their infos.

    ``task`` is a name or an id, ``observation`` a name of ``OBSERVATIONS``, and ``seed`` that of the first environment.
    ``model`` is the bundled name or the folder of the model that makes the observations; None is the bundled one of the
    task. "vae" needs the folder of a trained baseline. ``options`` are those of the environment, such as
    ``num_objects``, ``mode`` and ``reward``.

    Raises:
        ValueError: unknown task or observation, more objects than tokens have slots, or "vae" without a model.
    """
    kind, name = observation_kind(observation), task_name(task)
    reader = kind.model(name, model)
    options = {"observation": kind.view, "max_objects": SLOTS, **options}
    vector = gym.make_vec(f"LAVAE/{name}-v0", num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    if kind.reads_tokens:
        _check_slots(vector)
    venv: VecEnv = VecMonitor(GymVectorToSB3(vector), info_keywords=("is_success",))
    if kind.wrap is not None and reader is not None:
        venv = kind.wrap(venv, reader, device)
    if seed is not None:
        venv.seed(seed)
    return venv


def make_run_vec_env(run: AgentRun, num_envs: int, **options: Any) -> VecEnv:
    """Make environments of the task of a run, as its agent observes them; options as for ``make_task_vec_env``."""
    return make_task_vec_env(run.task, run.observation, num_envs, model=run.model, **options)


def make_task_env(task: str, observation: str, model: str | None = None, **options: Any) -> Env:
    """Make a single environment to film, with tokens of LAVAE over its pictures; see ``make_task_vec_env``.

    Raises:
        ValueError: unknown task, an observation without a film, or more objects than tokens have slots.
    """
    require("a film", observation, lambda kind: kind.watch)
    kind, name = observation_kind(observation), task_name(task)
    options = {"observation": kind.view, "max_objects": SLOTS, "render_mode": "rgb_array", **options}
    env: Env = gym.make(f"LAVAE/{name}-v0", **options)
    if kind.reads_tokens:
        _check_slots(env)
    return kind.watch(env, kind.model(name, model)) if kind.watch else env


def _check_slots(env: Any) -> None:
    # The true state checks this by itself; LAVAE cannot know how many objects there will be.
    simulation = env.unwrapped.simulation
    if (needed := simulation.world.role.shape[1]) > SLOTS:
        slots = f"tokens have {SLOTS} slots, agent or cue among them"
        raise ValueError(f"{slots}, {simulation.range[1]} objects need {needed}; ask for fewer objects")
