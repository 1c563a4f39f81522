"""How the agents of each task are trained: one setting per task, the same for every kind of observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Settings of an algorithm and of the task while training. Testing always counts plain success.

    Another algorithm takes from it what it shares with the preset's own; nobody tuned that.

    Raises ValueError where it counts less than one of something.
    """

    algorithm: str = "ppo"
    """Of ``lavae_rl.rl.agents.ALGORITHMS``: "ppo" where agents move, "sac" where they point."""
    steps: int = 1_000_000
    """Environment steps."""
    num_objects: int | Sequence[int] = 4
    """Objects in training, or an inclusive range."""
    reward: str = "shaped"
    """"sparse" or "shaped"."""
    episode_steps: int | None = None
    """Steps after which an episode of the training is cut short; None is the task's own number."""
    num_envs: int = 64
    """Environments side by side."""
    rollout: int = 64
    """PPO: steps of each environment between updates."""
    batch_size: int = 1_024
    """Transitions per gradient step."""
    epochs: int = 8
    """PPO: passes over a rollout."""
    learning_rate: float = 1e-3
    """Of Adam, falling linearly to 0."""
    gamma: float = 0.95
    """Discount."""
    gae_lambda: float = 0.3
    """PPO and A2C: of generalised advantage estimation; low, since shaped rewards say at once how good a move was."""
    entropy: float = 0.01
    """PPO and A2C: weight of the entropy bonus."""
    arch: str = "relation"
    """Of ``SetFeaturesExtractor``."""
    width: int = 48
    """Units per layer."""

    def __post_init__(self) -> None:
        for name in ("steps", "episode_steps", "num_envs", "rollout", "batch_size", "epochs", "width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")

    @property
    def most_objects(self) -> int:
        """Objects in training at most."""
        return self.num_objects if isinstance(self.num_objects, int) else self.num_objects[-1]

    def env_options(self) -> dict[str, Any]:
        """Options of the environments to train on, for ``gymnasium.make`` and ``gymnasium.make_vec``."""
        options: dict[str, Any] = {"num_objects": self.num_objects, "reward": self.reward}
        return options if self.episode_steps is None else options | {"max_episode_steps": self.episode_steps}


_POINTING: Mapping[str, Any] = {"algorithm": "sac", "batch_size": 512, "learning_rate": 3e-3, "gamma": 0.0}
"""Shaped rewards say at once how good a place was, so that nothing after it counts."""

PRESETS = {
    "ObjectGoal": Preset(steps=1_200_000),
    "OddOneOut": Preset(steps=1_200_000),
    "OddOneOutProperty": Preset(steps=1_500_000, num_objects=5),
    "Push": Preset(num_objects=2),
    "Collect": Preset(num_objects=6),
    "Largest": Preset(),
    "MatchDigit": Preset(**_POINTING, steps=300_000, episode_steps=3),
    "DigitOrder": Preset(**_POINTING, steps=600_000, episode_steps=3, num_objects=(1, 3)),
}
"""By task, as in ``lavae_rl.registration.TASKS``."""
