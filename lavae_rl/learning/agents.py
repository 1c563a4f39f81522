"""Agents of Stable-Baselines3 for our tasks: made from a preset, saved with what they were trained on, loaded again.

A run folder holds ``config.json`` (task, observation, preset, seed, commit, versions, success rates), ``agent.zip`` and
the logs of the training.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3 import A2C, DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.learning.presets import Preset
from lavae_rl.model.pretrained import BUNDLED, CONFIG_FILE
from lavae_rl.perception.sb3 import SetFeaturesExtractor

AGENT_FILE = "agent.zip"
BUNDLED_AGENTS = BUNDLED / "agents"
_BUNDLED = "bundled:"
ALGORITHMS: Mapping[str, type[BaseAlgorithm]] = {"ppo": PPO, "a2c": A2C, "dqn": DQN, "sac": SAC}
POLICIES: Mapping[str, str] = {"pixels": "CnnPolicy", "vae": "MlpPolicy"}
"""Stable-Baselines3's own policies, by observation; tokens take "MultiInputPolicy"."""


@dataclass(frozen=True)
class SavedAgent:
    """An agent and the facts in its run folder."""

    agent: BaseAlgorithm
    facts: Mapping[str, Any]


def make_agent(algorithm: str, observation: str, preset: Preset, venv: VecEnv, seed: int) -> BaseAlgorithm:
    """An agent before its training.

    Args:
        algorithm: "ppo", "a2c", "dqn" (moves only) or "sac" (pointing only).
        observation: "pixels" takes Stable-Baselines3's own CNN, "vae" its MLP, tokens a ``SetFeaturesExtractor``.
        preset: settings.
        venv: what it is to learn on.
        seed: of weights and of actions.

    Raises:
        ValueError: unknown algorithm.
        AssertionError: of Stable-Baselines3, for actions that an algorithm does not have.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"expected algorithm of {', '.join(ALGORITHMS)}, got {algorithm!r}")
    settings: dict[str, Any] = {"gamma": preset.gamma, "learning_rate": LinearSchedule(preset.learning_rate, 0.0, 1.0)}
    if algorithm in ("ppo", "a2c"):
        settings |= {"n_steps": preset.rollout, "ent_coef": preset.entropy, "gae_lambda": preset.gae_lambda}
    if algorithm == "ppo":
        # With few environments a rollout can be smaller than a batch.
        batch_size = min(preset.batch_size, preset.rollout * venv.num_envs)
        settings |= {"batch_size": batch_size, "n_epochs": preset.epochs}
    policy, kwargs = POLICIES.get(observation, "MultiInputPolicy"), policy_kwargs(observation, preset)
    return ALGORITHMS[algorithm](policy, venv, policy_kwargs=kwargs, seed=seed, device="cpu", **settings)


def policy_kwargs(observation: str, preset: Preset) -> dict[str, Any]:
    """What is special about a policy: of an agent that observes tokens its networks, of one that points its noise."""
    kwargs: dict[str, Any] = {} if preset.log_std is None else {"log_std_init": preset.log_std}
    if observation not in POLICIES:
        kwargs["features_extractor_class"] = SetFeaturesExtractor
        kwargs["features_extractor_kwargs"] = {"arch": preset.arch, "width": preset.width}
        kwargs["net_arch"] = [64]
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
    """The folder of a run: a folder itself, or of "bundled:TASK" the one that comes with the package.

    Raises:
        FileNotFoundError: no agent there.
    """
    folder = Path(name)
    if str(name).startswith(_BUNDLED):
        tasks = sorted(path.parent.name for path in BUNDLED_AGENTS.glob(f"*/{CONFIG_FILE}"))
        folder = BUNDLED_AGENTS / str(name).removeprefix(_BUNDLED)
        if folder.name not in tasks:
            raise FileNotFoundError(f"expected {' or '.join(_BUNDLED + task for task in tasks)}, got {str(name)!r}")
    if not (folder / CONFIG_FILE).is_file() or not (folder / AGENT_FILE).is_file():
        raise FileNotFoundError(f"expected a run folder with {CONFIG_FILE} and {AGENT_FILE}, got {folder}")
    return folder


def read_facts(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says of a run."""
    return dict(json.loads((folder / CONFIG_FILE).read_text()))


def load_agent(folder: Path, venv: VecEnv | None = None) -> SavedAgent:
    """An agent and its facts. Unpickles what the zip holds: only for folders from people you trust.

    Raises:
        ValueError: the agent's weights do not fit its networks.
    """
    facts = read_facts(folder)
    try:
        with warnings.catch_warnings():
            # Stable-Baselines3 takes what fits of weights that do not, and only warns.
            warnings.filterwarnings("error", "You are probably loading a A2C/PPO model")
            agent = ALGORITHMS[facts["algorithm"]].load(folder / AGENT_FILE, env=venv, device="cpu")
    except (RuntimeError, ValueError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{folder} was saved by another version of the networks; train it again ({reason})") from error
    return SavedAgent(agent, facts)
