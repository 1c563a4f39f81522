"""Policies of saved agents of Stable-Baselines3, whatever algorithm trained them."""

from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from lavae_rl.data.rollouts import Agent, Policy
from lavae_rl.rl.agents import ALGORITHMS


def load_policy(path: str | Path) -> Agent:
    """Load an agent that acts on the observations of an environment as they are, and samples its actions.

    Each episode seeds the global generators of Python, NumPy and PyTorch, from which Stable-Baselines3 samples.
    Trust who made the file: it is unpickled, which runs code that it holds. Other than a run folder, it does not say
    which networks it has.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not the file of an agent of an algorithm that is known here.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected --policy random, sticky or the .zip of an agent, got {path}")
    agent = _load(path)

    def act(observation: Any) -> Any:
        action, _ = agent.predict(observation, deterministic=False)
        return action

    def start(seed: int) -> Policy:
        agent.set_random_seed(seed)
        return act

    return start


def _load(path: Path) -> BaseAlgorithm:
    reasons = []
    for name, algorithm in ALGORITHMS.items():
        try:
            return algorithm.kind.load(path, device="cpu")
        except Exception as error:  # each algorithm fails in its own way on the files of others
            reasons.append(f"{name}: {error}")
    raise ValueError(f"expected {path} to be an agent of {', '.join(ALGORITHMS)}; {'; '.join(reasons)}")
