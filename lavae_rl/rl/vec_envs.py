"""Environments as agents observe them: many in one for Stable-Baselines3, or a single one."""

import math
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecMonitor

from lavae_rl.model.checkpoint import read_config
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.adapter import GymVectorToSB3
from lavae_rl.registration import task_name
from lavae_rl.rl.atari import VecClippedReward, VecLives
from lavae_rl.rl.augmentation import VecPermutedColors
from lavae_rl.rl.environments import is_task
from lavae_rl.rl.observations import SLOTS, Env, Observation, Options, observation_kind, require, screen_view
from lavae_rl.rl.run import AgentRun
from lavae_rl.rl.screens import make_screen, make_screens

MOST_TEST_ENVS = 50
"""Most environments in one batch of a test."""


def make_task_vec_env(
    task: str,
    observation: str,
    num_envs: int,
    seed: int | None = None,
    model: str | None = None,
    device: str = "cpu",
    permute_colors: bool = False,
    **options: Any,
) -> VecEnv:
    """Make many environments of a task in one, with episode statistics and success in their infos.

    ``task`` is a name or an id, ``observation`` a name of ``OBSERVATIONS``, and ``seed`` that of the first environment.
    ``model`` is the bundled name or the folder of the model that makes the observations; None is the bundled one of the
    task. "vae" needs the folder of a trained baseline. ``permute_colors`` is for training, see ``VecPermutedColors``;
    it needs frames with colours. ``options`` are those of the environment, such as
    ``num_objects``, ``mode`` and ``reward``.

    Raises:
        ValueError: unknown task or observation, more objects than tokens have slots, or "vae" without a model.
    """
    kind, name = observation_kind(observation), task_name(task)
    reader = kind.model(name, model)
    vector = make_task_vector(name, observation, num_envs, AutoresetMode.SAME_STEP, **options)
    venv: VecEnv = VecMonitor(GymVectorToSB3(vector), info_keywords=("is_success",))
    if permute_colors:
        venv = VecPermutedColors(venv)
    return _observed(venv, kind, reader, device, {"max_objects": SLOTS}, seed)


def make_task_vector(
    task: str, observation: str, num_envs: int, autoreset_mode: AutoresetMode, **options: Any
) -> VectorEnv:
    """Make many environments of a task in one of Gymnasium's, before a model reads their frames.

    Raises:
        ValueError: more objects than tokens have slots.
    """
    kind = observation_kind(observation)
    options = {"observation": kind.view, "max_objects": SLOTS, **options}
    vector = gym.make_vec(f"LAVAE/{task_name(task)}-v0", num_envs, autoreset_mode=autoreset_mode, **options)
    if kind.reads_tokens:
        _check_slots(vector)
    return vector


def _observed(
    venv: VecEnv, kind: Observation, reader: str | None, device: str, options: Options, seed: int | None
) -> VecEnv:
    """Wrap environments in what makes the observations, and seed them."""
    if kind.wrap is not None and reader is not None:
        venv = kind.wrap(venv, reader, device, options)
    if seed is not None:
        venv.seed(seed)
    return venv


def make_screen_vec_env(run: AgentRun, num_envs: int, seed: int | None = None, device: str = "cpu") -> VecEnv:
    """Make environments of a run on none of our tasks, with plain rewards and the statistics of whole episodes."""
    view = screen_view(run.task, run.observation)
    venv = VecMonitor(GymVectorToSB3(make_screens(run.task, view, num_envs, AutoresetMode.SAME_STEP)))
    kind = observation_kind(run.observation)
    return _observed(venv, kind, kind.model(run.task, run.model), device, token_options(run), seed)


def token_options(run: AgentRun) -> dict[str, Any]:
    """Arguments of ``VecLAVAEObservation`` for the agent of a run."""
    options = run.preset.tokens.options()
    if options["max_objects"] is None and (folder := run.model_folder()) is not None:
        options["max_objects"] = math.ceil(1.25 * read_config(folder, LAVAE).max_objects)
    return options


def make_training_vec_env(run: AgentRun, device: str = "cpu") -> VecEnv:
    """Make the environments that a run is trained on: rewards and ends of episodes as its preset has them."""
    preset = run.preset
    if is_task(run.task):
        options = {"permute_colors": preset.permute_colors, **preset.env_options()}
        return make_run_vec_env(run, preset.num_envs, device=device, **options)
    venv = make_run_vec_env(run, preset.num_envs, device=device)
    if preset.episodic_life:
        venv = VecLives(venv)
    return VecClippedReward(venv) if preset.reward == "clipped" else venv


def make_run_vec_env(run: AgentRun, num_envs: int, **options: Any) -> VecEnv:
    """Make environments to test the agent of a run on, as it observes them.

    Options are those of ``make_task_vec_env``; "seed" and "device" alone where the environment is none of our tasks.
    """
    if is_task(run.task):
        return make_task_vec_env(run.task, run.observation, num_envs, model=run.model, **options)
    return make_screen_vec_env(run, num_envs, **options)


class StandIn(VecEnvWrapper):
    """Stand-in with the number and the spaces of a run's environments, of which it makes one; it cannot be stepped.

    A ValueError says that the environment or the model of the run is not to be had.
    """

    def __init__(self, run: AgentRun) -> None:
        super().__init__(make_run_vec_env(run, 1))
        self.num_envs = run.preset.num_envs

    def reset(self) -> Any:
        """Raise NotImplementedError, as ``step_wait`` does."""
        raise NotImplementedError("nobody acts here: give the agent environments by agent.set_env")

    def step_wait(self) -> Any:
        """See ``reset``."""
        return self.reset()


def make_run_env(run: AgentRun, **options: Any) -> Env:
    """Make a single environment to film the agent of a run in; see ``make_run_vec_env``."""
    if is_task(run.task):
        return make_task_env(run.task, run.observation, run.model, **options)
    require("a film", run.observation, lambda kind: kind.watch)
    kind = observation_kind(run.observation)
    env = make_screen(run.task, screen_view(run.task, run.observation), render_mode="rgb_array")
    return kind.watch(env, kind.model(run.task, run.model), token_options(run)) if kind.watch else env


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
    return kind.watch(env, kind.model(name, model), {"max_objects": SLOTS}) if kind.watch else env


def _check_slots(env: Any) -> None:
    # The true state checks this by itself; LAVAE cannot know how many objects there will be.
    simulation = env.unwrapped.simulation
    if (needed := simulation.world.role.shape[1]) > SLOTS:
        slots = f"tokens have {SLOTS} slots, agent or cue among them"
        raise ValueError(f"{slots}, {simulation.range[1]} objects need {needed}; ask for fewer objects")
