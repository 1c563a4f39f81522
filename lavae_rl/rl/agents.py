"""Agents of Stable-Baselines3 for our tasks: made from a preset, saved in a run folder, loaded again.

A run folder holds ``config.json`` (see ``AgentRun``), ``agent.zip`` and the logs of the training.
"""

import importlib
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.model.checkpoint import BUNDLED, expanded
from lavae_rl.policies.set_extractor import SetFeaturesExtractor
from lavae_rl.rl.agent_file import take_up
from lavae_rl.rl.observations import Observation, observation_kind
from lavae_rl.rl.presets import Preset
from lavae_rl.rl.run import AgentRun, read_run, write_run
from lavae_rl.rl.vec_envs import StandIn
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.missing import what_there_is

AGENT_FILE = "agent.zip"
LAST_SCALES = (1.0, 10.0, 10.0, 1.0, 1.0)
"""Factors of presence, velocity (x, y) and sides of a box in networks: things move by a few pixels a step."""
BUNDLED_AGENTS = BUNDLED / "agents"
_BUNDLED = "bundled:"


class Algorithm(NamedTuple):
    """One algorithm of Stable-Baselines3."""

    kind: type[BaseAlgorithm]
    actions: tuple[type["spaces.Space[Any]"], ...]
    """Spaces of the actions that it can take: Discrete where agents move, Box where they point."""
    settings: Mapping[str, Any]
    """Arguments beside those of the preset. Those of "a2c" and "dqn" are rules of thumb, not tuned."""
    log_interval: int
    """Iterations, for off-policy algorithms episodes, between rows of the logs."""
    like_ppo: bool = False
    """True if it takes the settings of PPO: rollouts, epochs, batches."""
    recurrent: bool = False
    """True if policies have a memory."""


# A gradient step for each step of one of 64 environments would be slow.
_DQN = {"buffer_size": 100_000, "learning_starts": 1_000, "train_freq": 1, "gradient_steps": 8, "batch_size": 256}
_SAC = {"buffer_size": 200_000, "learning_starts": 2_000, "train_freq": 1, "gradient_steps": 1, "ent_coef": "auto_0.1"}

_TD3 = {"buffer_size": 200_000, "learning_starts": 2_000, "train_freq": 1, "gradient_steps": 1}
_BOTH = (spaces.Discrete, spaces.Box)

ALGORITHMS: Mapping[str, Algorithm] = {
    "ppo": Algorithm(PPO, _BOTH, {}, 1, like_ppo=True),
    "a2c": Algorithm(A2C, _BOTH, {"n_steps": 8}, 8),
    "dqn": Algorithm(DQN, (spaces.Discrete,), _DQN, 100),
    "sac": Algorithm(SAC, (spaces.Box,), _SAC, 100),
    "td3": Algorithm(TD3, (spaces.Box,), _TD3, 100),
}
if find_spec("sb3_contrib") is not None:
    _RECURRENT = importlib.import_module("sb3_contrib").RecurrentPPO
    ALGORITHMS = {**ALGORITHMS, "recurrent-ppo": Algorithm(_RECURRENT, _BOTH, {}, 1, like_ppo=True, recurrent=True)}


class SavedAgent(NamedTuple):
    """An agent and its run."""

    agent: BaseAlgorithm
    run: AgentRun


def make_agent(observation: str, preset: Preset, venv: VecEnv, seed: int, device: str = "cpu") -> BaseAlgorithm:
    """Make an agent before its training.

    The name of ``OBSERVATIONS`` decides which networks the policy has. The seed is that of weights and actions.

    Raises:
        ValueError: unknown observation, or an algorithm that is unknown or cannot take such actions.
    """
    fitting = [name for name, known in ALGORITHMS.items() if isinstance(venv.action_space, known.actions)]
    if preset.algorithm not in fitting:
        expected = f"expected algorithm of {', '.join(fitting)} for actions {venv.action_space}"
        raise ValueError(f"{expected}, got {preset.algorithm!r}")
    kind, rate = observation_kind(observation), LinearSchedule(preset.learning_rate, 0.0, 1.0)
    settings = {"policy_kwargs": policy_kwargs(kind, preset), **algorithm_settings(preset, venv.num_envs)}
    if preset.algorithm == "td3":  # deterministic policies explore by noise alone
        actions = venv.action_space.shape or ()
        settings["action_noise"] = NormalActionNoise(np.zeros(actions), 0.1 * np.ones(actions))
    algorithm = ALGORITHMS[preset.algorithm]
    return algorithm.kind(policy_name(kind, algorithm), venv, rate, seed=seed, device=device, **settings)


def steps_of_rollout(agent: BaseAlgorithm) -> int:
    """Environment steps, of all environments together, that an agent takes before it learns from them."""
    steps = agent.n_steps if isinstance(agent, OnPolicyAlgorithm) else 1
    return steps * agent.n_envs


def policy_name(kind: Observation, algorithm: Algorithm) -> str:
    """The policy of Stable-Baselines3, or that of its contrib with a memory."""
    return kind.policy.replace("Policy", "LstmPolicy") if algorithm.recurrent else kind.policy


def algorithm_settings(preset: Preset, num_envs: int) -> dict[str, Any]:
    """Arguments of the algorithm for this number of environments, without learning rate and networks."""
    settings = {"gamma": preset.gamma, **ALGORITHMS[preset.algorithm].settings}
    like_ppo = ALGORITHMS[preset.algorithm].like_ppo
    if like_ppo or preset.algorithm == "a2c":
        settings |= {"ent_coef": preset.entropy, "gae_lambda": preset.gae_lambda}
    if like_ppo:
        # With few environments a rollout can be smaller than a batch.
        batch_size = min(preset.batch_size, preset.rollout * num_envs)
        settings |= {"n_steps": preset.rollout, "batch_size": batch_size, "n_epochs": preset.epochs}
    if preset.algorithm in ("sac", "td3"):
        settings["batch_size"] = preset.batch_size
    return settings


def policy_kwargs(kind: Observation, preset: Preset) -> dict[str, Any]:
    """The networks of a policy, where they are not Stable-Baselines3's own."""
    kwargs: dict[str, Any] = {}
    if kind.reads_tokens:
        kwargs = {"features_extractor_class": SetFeaturesExtractor, "net_arch": [64]}
        kwargs["features_extractor_kwargs"] = {"arch": preset.arch, "width": preset.width}
        if preset.tokens.tracked:
            scales = {"last_scales": LAST_SCALES, "appearance_scale": kind.appearance_scale}
            kwargs["features_extractor_kwargs"] |= scales
    if preset.algorithm in ("sac", "td3"):
        # The value of a place is a more nonlinear function than the best place. Without future rewards nothing is
        # overestimated, so a second critic would double the work for nothing.
        kwargs |= {"net_arch": {"pi": [64], "qf": [128, 128]}, "n_critics": 1 if preset.gamma == 0 else 2}
    if ALGORITHMS[preset.algorithm].recurrent:
        kwargs["lstm_hidden_size"] = 128
    return kwargs


def save_agent(folder: Path, agent: BaseAlgorithm, run: AgentRun) -> None:
    """Write ``agent.zip`` and ``config.json``; a crash leaves the previous files whole."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG_FILE).exists():  # first of all, so that whatever a crash leaves can be resumed
        write_run(folder, run)
    saved = io.BytesIO()  # of a full disk, PyTorch would not say what is wrong
    agent.save(saved)
    with replacing(folder / AGENT_FILE) as temporary:
        temporary.write_bytes(saved.getbuffer())
    write_run(folder, run)


def find_run(name: str | Path) -> Path:
    """The folder of a run: the folder itself, or for a text "bundled:TASK" the one that comes with the package.

    Raises:
        FileNotFoundError: there is no agent.
    """
    folder, files = expanded(name), (CONFIG_FILE, AGENT_FILE)
    if isinstance(name, str) and name.startswith(_BUNDLED):
        tasks = sorted(path.parent.name for path in BUNDLED_AGENTS.glob(f"*/{CONFIG_FILE}"))
        if (task := name.removeprefix(_BUNDLED)) not in tasks:
            raise FileNotFoundError(f"expected {' or '.join(_BUNDLED + task for task in tasks)}, got {name!r}")
        folder = BUNDLED_AGENTS / task
    if not all((folder / file).is_file() for file in files):
        there = what_there_is(folder, files)
        raise FileNotFoundError(f"expected a run folder with {' and '.join(files)}, got '{name}': {there}")
    return folder


def load_agent(folder: Path, venv: VecEnv | None = None, device: str = "cpu", model: str | None = None) -> SavedAgent:
    """Load an agent and its run, without unpickling anything: settings are those of config.json.

    Args:
        folder: of the run.
        venv: environments on which it goes on learning; None loads an agent that acts.
        device: where to put the networks.
        model: bundled name or folder of another model to make the observations by; None is that of the run.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is damaged, the environment or the model of the run is not to be had, or the agent does not
            fit our networks or ``venv``.
    """
    run = read_run(folder)
    run.model = model or run.model
    if (name := run.preset.algorithm) not in ALGORITHMS:
        raise ValueError(f"expected {folder / CONFIG_FILE} with algorithm of {', '.join(ALGORITHMS)}, got {name!r}")
    agent = make_agent(run.observation, run.preset, venv or StandIn(run), run.seed, device)
    try:
        take_up(agent, folder / AGENT_FILE)
    except ValueError as error:
        causes = "it is damaged, was trained on other observations, or saved by another version of the networks"
        raise ValueError(f"{folder / AGENT_FILE} cannot be loaded: {causes}; train it again ({error})") from error
    if venv is None and agent.env is not None:
        agent.env.close()
        agent.env = None
    if isinstance(agent, OffPolicyAlgorithm):
        # The replay buffer is not saved and has to be filled again.
        agent.learning_starts = agent.num_timesteps + ALGORITHMS[name].settings["learning_starts"]
    return SavedAgent(agent, run)


def begin_agent(folder: Path, run: AgentRun, venv: VecEnv, resume: bool, device: str = "cpu") -> BaseAlgorithm:
    """The agent that a run begins with: a new one, or the saved one of a run that is resumed.

    A run that was stopped before its agent was saved for the first time begins once more. Errors are those of
    ``load_agent``.
    """
    if resume and (folder / AGENT_FILE).exists():
        return load_agent(folder, venv, device).agent
    return make_agent(run.observation, run.preset, venv, run.seed, device)
