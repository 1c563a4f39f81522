"""How the agents of each task are trained: one setting per task, the same for every kind of observation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """Settings of PPO and of the task while training. Testing always counts plain success.

    Raises ValueError where it counts less than one of something.
    """

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
    """Steps of each environment between updates."""
    batch_size: int = 1_024
    """Transitions per gradient step."""
    epochs: int = 8
    """Passes over a rollout."""
    learning_rate: float = 1e-3
    """Of Adam, falling linearly to 0."""
    gamma: float = 0.95
    """Discount."""
    gae_lambda: float = 0.3
    """Of generalised advantage estimation; low, since shaped rewards say at once whether a move was good."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    log_std: float | None = None
    """Logarithm of the standard deviation with which PPO and A2C point at places, at first; None where agents move."""
    arch: str = "relation"
    """Of ``SetFeaturesExtractor``."""
    width: int = 48
    """Units per layer."""

    def __post_init__(self) -> None:
        for name in ("steps", "episode_steps", "num_envs", "rollout", "batch_size", "epochs", "width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")

    def env_options(self) -> dict[str, Any]:
        """Options of the environments to train on, for ``gymnasium.make`` and ``gymnasium.make_vec``."""
        options: dict[str, Any] = {"num_objects": self.num_objects, "reward": self.reward}
        return options if self.episode_steps is None else options | {"max_episode_steps": self.episode_steps}


_LOG_STD = math.log(0.25)
"""Half a digit, in half canvases: from 1, where PPO begins, it would take most of the training to come down."""

PRESETS = {
    "ObjectGoal": Preset(steps=1_200_000),
    "OddOneOut": Preset(steps=1_200_000),
    "OddOneOutProperty": Preset(steps=1_500_000, num_objects=5),
    "Push": Preset(num_objects=2),
    "Collect": Preset(num_objects=6),
    "Largest": Preset(),
    "MatchDigit": Preset(steps=1_500_000, episode_steps=3, learning_rate=5e-4, gamma=0.0, log_std=_LOG_STD),
    "DigitOrder": Preset(steps=500_000, num_objects=3, log_std=_LOG_STD),
}
"""By task, as in ``lavae_rl.registration.TASKS``."""
