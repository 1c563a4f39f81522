"""Settings that agents are trained with: a preset per environment, the same for every kind of observation."""

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from lavae_rl.perception.tracking import TrackingConfig
from lavae_rl.rl.environments import is_atari, is_task

LARGEST = {"num_envs": 4_096, "rollout": 2**20, "batch_size": 2**20, "width": 4_096}
"""Largest sizes, far above sensible ones: beyond them, memory would end before an error says why."""
TRACKING = TrackingConfig(appear=0.5, coast=2)
"""Tracking for agents: what flickers does not come and go."""


@dataclass(frozen=True)
class TokenOptions:
    """Tokens that LAVAE makes for agents."""

    max_objects: int | None = 8
    """Number of slots; None takes a quarter more than the model met in training."""
    tracked: bool = False
    """True if an object stays in its slot, and tokens have presence, velocity and the sides of the box, too."""

    def __post_init__(self) -> None:
        if self.max_objects is not None and not 1 <= self.max_objects <= 256:
            raise ValueError(f"expected max_objects of 1 to 256, got {self.max_objects}")

    def options(self) -> dict[str, Any]:
        """Arguments of ``VecLAVAEObservation``."""
        features = {"tracking": TRACKING, "presence": True, "velocity": True, "box": True} if self.tracked else {}
        return {"max_objects": self.max_objects, **features}


@dataclass(frozen=True)
class Preset:
    """Settings of an algorithm and of the task while training. Tests always count plain success.

    An algorithm other than the preset's own reads the settings that they share; these were not tuned for it. Numbers
    below 1 or out of all proportion raise a ValueError.
    """

    algorithm: str = "ppo"
    """Name of ``lavae_rl.rl.agents.ALGORITHMS``: "ppo" where agents move, "sac" where they point."""
    steps: int = 1_000_000
    """Environment steps."""
    num_objects: int | tuple[int, int] | None = 4
    """Objects in training, or an inclusive range; None where an environment is none of our tasks."""
    reward: str = "shaped"
    """"sparse" or "shaped" of our tasks, "plain" or "clipped" to its sign of others."""
    episode_steps: int | None = None
    """Steps after which an episode in training is cut short; None is the task's own limit."""
    num_envs: int = 64
    """Environments in one batch."""
    rollout: int = 64
    """PPO: steps of each environment between updates."""
    batch_size: int = 1_024
    """Transitions per gradient step."""
    epochs: int = 8
    """PPO: passes over a rollout."""
    learning_rate: float = 1e-3
    """Learning rate of Adam, which falls linearly to 0."""
    gamma: float = 0.95
    """Discount factor."""
    gae_lambda: float = 0.3
    """PPO and A2C: lambda of generalised advantage estimation; low, since shaped rewards rate each move at once."""
    entropy: float = 0.01
    """PPO and A2C: weight of the entropy bonus."""
    arch: str = "relation"
    """Architecture of the ``SetFeaturesExtractor``."""
    width: int = 48
    """Units per layer of the ``SetFeaturesExtractor``."""
    tokens: TokenOptions = TokenOptions()
    """Tokens that LAVAE makes."""
    permute_colors: bool = False
    """True if the colours of a scene are exchanged at random in training, see ``VecPermutedColors``."""
    episodic_life: bool = False
    """Atari: whether a life is an episode in training."""

    def __post_init__(self) -> None:
        for name in ("steps", "episode_steps", "num_envs", "rollout", "batch_size", "epochs", "width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
            if value is not None and value > LARGEST.get(name, 2**40):
                raise ValueError(f"expected {name} of at most {LARGEST.get(name, 2**40):,}, got {value:,}")
        if self.num_envs * self.rollout > LARGEST["rollout"]:
            raise ValueError(f"expected rollouts of at most {LARGEST['rollout']:,} steps, got {self}")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.gamma <= 1 or not 0 <= self.gae_lambda <= 1:
            raise ValueError(f"expected a learning_rate above 0, and gamma and gae_lambda of 0 to 1, got {self}")

    def env_options(self) -> dict[str, Any]:
        """Options of our tasks to train on, for ``gymnasium.make`` and ``gymnasium.make_vec``."""
        options: dict[str, Any] = {"num_objects": self.num_objects, "reward": self.reward}
        return options if self.episode_steps is None else options | {"max_episode_steps": self.episode_steps}


MOVING = Preset()
"""The default of tasks in which agents move."""
POINTING = Preset("sac", 300_000, episode_steps=3, batch_size=512, learning_rate=3e-3, gamma=0.0)
"""The default of tasks in which agents point: shaped rewards rate each place at once, so no later reward counts."""

SCREEN = Preset(
    num_objects=None,
    reward="plain",
    num_envs=16,
    batch_size=256,
    epochs=4,
    learning_rate=5e-4,
    gamma=0.99,
    gae_lambda=0.95,
    arch="selection",
    width=64,
    tokens=TokenOptions(None, tracked=True),
)
"""The default of environments that are none of our tasks."""
GAME = replace(SCREEN, steps=3_000_000, reward="clipped", num_envs=64, rollout=32, episodic_life=True)
"""The default of Atari games."""

PRESETS = {
    "ObjectGoal": replace(MOVING, steps=1_200_000),
    "OddOneOut": replace(MOVING, steps=1_200_000),
    "OddOneOutProperty": replace(MOVING, steps=1_500_000, num_objects=5),
    "Push": replace(MOVING, num_objects=2),
    "Collect": replace(MOVING, num_objects=6),
    "DigitOrder": replace(POINTING, steps=600_000, num_objects=(1, 3)),
}
"""Presets of tasks that differ from the default for their kind of action; see ``preset_for``."""


@cache
def preset_for(task: str) -> Preset:
    """The preset of an environment; without an entry in ``PRESETS``, the default for its kind."""
    if task in PRESETS:
        return PRESETS[task]
    if not is_task(task):
        return GAME if is_atari(task) else SCREEN
    space = gym.make(f"LAVAE/{task}-v0").action_space
    return MOVING if isinstance(space, spaces.Discrete) else POINTING
