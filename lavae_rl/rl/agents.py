"""Agents of Stable-Baselines3 for our tasks: made from a preset, saved with what they were trained on, loaded again.

A run folder holds ``config.json`` (task, observation, preset, seed, commit, versions, success rates), ``agent.zip`` and
the logs of the training.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.model.checkpoint import BUNDLED, CONFIG_FILE, read_facts
from lavae_rl.perception.sb3 import SetFeaturesExtractor
from lavae_rl.rl.presets import Preset

AGENT_FILE = "agent.zip"
BUNDLED_AGENTS = BUNDLED / "agents"
_BUNDLED = "bundled:"


class Algorithm(NamedTuple):
    """One of Stable-Baselines3.

    Attributes:
        kind: its class.
        actions: kinds of actions it has: moves are Discrete, places to point at Box.
        settings: beside those of the preset. Those of "a2c" and "dqn" are chosen by rule of thumb, not by trials.
        log_interval: iterations, of "dqn" and "sac" episodes, between rows of the logs.
    """

    kind: type[BaseAlgorithm]
    actions: tuple[type["spaces.Space[Any]"], ...]
    settings: Mapping[str, Any]
    log_interval: int


# A gradient step for each step of one of 64 environments would be slow.
_DQN = {"buffer_size": 100_000, "learning_starts": 1_000, "train_freq": 1, "gradient_steps": 8, "batch_size": 256}
_SAC = {
    "buffer_size": 200_000,
    "learning_starts": 2_000,
    "train_freq": 1,
    "gradient_steps": 1,
    "ent_coef": "auto_0.1",
}

ALGORITHMS: Mapping[str, Algorithm] = {
    "ppo": Algorithm(PPO, (spaces.Discrete, spaces.Box), {}, 1),
    "a2c": Algorithm(A2C, (spaces.Discrete, spaces.Box), {"n_steps": 8}, 8),
    "dqn": Algorithm(DQN, (spaces.Discrete,), _DQN, 100),
    "sac": Algorithm(SAC, (spaces.Box,), _SAC, 100),
}
POLICIES: Mapping[str, str] = {"pixels": "CnnPolicy", "vae": "MlpPolicy"}
"""Stable-Baselines3's own policies, by observation; tokens take "MultiInputPolicy"."""


@dataclass(frozen=True)
class SavedAgent:
    """An agent and the facts in its run folder."""

    agent: BaseAlgorithm
    facts: Mapping[str, Any]


def make_agent(observation: str, preset: Preset, venv: VecEnv, seed: int, device: str = "cpu") -> BaseAlgorithm:
    """An agent before its training.

    Args:
        observation: "pixels" takes Stable-Baselines3's own CNN, "vae" its MLP, tokens a ``SetFeaturesExtractor``.
        preset: settings, the algorithm among them: "ppo", "a2c", "dqn" (moves only) or "sac" (pointing only).
        venv: what it is to learn on.
        seed: of weights and of actions.
        device: where the policy computes.

    Raises:
        ValueError: unknown algorithm, or one without such actions.
    """
    fitting = [name for name, known in ALGORITHMS.items() if isinstance(venv.action_space, known.actions)]
    if preset.algorithm not in fitting:
        actions = venv.action_space
        raise ValueError(f"expected algorithm of {', '.join(fitting)} for actions {actions}, got {preset.algorithm!r}")
    return ALGORITHMS[preset.algorithm].kind(
        POLICIES.get(observation, "MultiInputPolicy"),
        venv,
        learning_rate=LinearSchedule(preset.learning_rate, 0.0, 1.0),
        policy_kwargs=policy_kwargs(observation, preset),
        seed=seed,
        device=device,
        **algorithm_settings(preset, venv.num_envs),
    )


def algorithm_settings(preset: Preset, num_envs: int) -> dict[str, Any]:
    """Arguments of the algorithm on so many environments, but for the learning rate and the networks."""
    settings = {"gamma": preset.gamma, **ALGORITHMS[preset.algorithm].settings}
    if preset.algorithm in ("ppo", "a2c"):
        settings |= {"ent_coef": preset.entropy, "gae_lambda": preset.gae_lambda}
    if preset.algorithm == "ppo":
        # With few environments a rollout can be smaller than a batch.
        batch_size = min(preset.batch_size, preset.rollout * num_envs)
        settings |= {"n_steps": preset.rollout, "batch_size": batch_size, "n_epochs": preset.epochs}
    if preset.algorithm == "sac":
        settings["batch_size"] = preset.batch_size
    return settings


def policy_kwargs(observation: str, preset: Preset) -> dict[str, Any]:
    """The networks of a policy, where they are not Stable-Baselines3's own."""
    kwargs: dict[str, Any] = {}
    if observation not in POLICIES:
        kwargs["features_extractor_class"] = SetFeaturesExtractor
        kwargs["features_extractor_kwargs"] = {"arch": preset.arch, "width": preset.width}
        kwargs["net_arch"] = [64]
    if preset.algorithm == "sac":
        # What a place is worth is a function of it and the features, and bends more than the place to point at. With
        # no future to overestimate, a second critic would be as much work for nothing.
        kwargs |= {"net_arch": {"pi": [64], "qf": [128, 128]}, "n_critics": 1}
    return kwargs


def save_agent(folder: Path, agent: BaseAlgorithm, facts: Mapping[str, Any]) -> None:
    """Writes ``agent.zip`` and ``config.json``; a crash in the middle leaves the previous ones whole."""
    folder.mkdir(parents=True, exist_ok=True)
    agent.save(folder / "agent.tmp.zip")
    (folder / "agent.tmp.zip").replace(folder / AGENT_FILE)
    temporary = folder / (CONFIG_FILE + ".tmp")
    temporary.write_text(json.dumps(facts, indent=2) + "\n")
    temporary.replace(folder / CONFIG_FILE)


def find_run(name: str | Path) -> Path:
    """The folder of a run: a folder itself, or of a text "bundled:TASK" the one that comes with the package.

    Raises:
        FileNotFoundError: no agent there.
    """
    folder = Path(name)
    if isinstance(name, str) and name.startswith(_BUNDLED):
        tasks = sorted(path.parent.name for path in BUNDLED_AGENTS.glob(f"*/{CONFIG_FILE}"))
        folder = BUNDLED_AGENTS / name.removeprefix(_BUNDLED)
        if folder.name not in tasks:
            raise FileNotFoundError(f"expected {' or '.join(_BUNDLED + task for task in tasks)}, got {name!r}")
    if not (folder / CONFIG_FILE).is_file() or not (folder / AGENT_FILE).is_file():
        raise FileNotFoundError(f"expected a run folder with {CONFIG_FILE} and {AGENT_FILE}, got {folder}")
    return folder


def load_agent(folder: Path, venv: VecEnv | None = None, device: str = "cpu") -> SavedAgent:
    """An agent and its facts. Unpickles what the zip holds: only for folders from people you trust.

    Args:
        folder: of the run.
        venv: what it goes on learning on; None to act only.
        device: where the policy computes.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or the agent does not fit our networks or ``venv``.
    """
    facts = read_facts(folder)
    if (algorithm := ALGORITHMS.get(facts.get("preset", {}).get("algorithm", ""))) is None:
        raise ValueError(
            f"expected {folder / CONFIG_FILE} of train_agent.py with the algorithm in its preset, got one without: "
            "train the agent again if an earlier version wrote it"
        )
    try:
        with warnings.catch_warnings():
            # Stable-Baselines3 takes what fits of weights that do not, and only warns.
            warnings.filterwarnings("error", "You are probably loading a A2C/PPO model")
            agent = algorithm.kind.load(folder / AGENT_FILE, env=venv, device=device)
    except (RuntimeError, ValueError, UserWarning, BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{folder / AGENT_FILE} cannot be loaded: it is damaged, was trained on other observations, or saved by "
            f"another version of the networks; train it again ({reason})"
        ) from error
    if isinstance(agent, OffPolicyAlgorithm):
        # What it remembered is not saved, and has to be filled again.
        agent.learning_starts = agent.num_timesteps + algorithm.settings["learning_starts"]
    return SavedAgent(agent, facts)
