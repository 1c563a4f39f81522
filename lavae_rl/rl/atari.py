"""Atari games as agents are trained on them: many in one, true objects, lives, clipped rewards.

The order of the usual wrappers: no-ops and fire after a reset, frames skipped (by the id), returns of whole games
recorded, observations encoded; then, in training alone, a life is an episode and rewards are clipped. Sticky actions
stay as the id has them: on, with a probability of 0.25, in "v5".
"""

import importlib
from importlib.util import find_spec
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from stable_baselines3.common.atari_wrappers import FireResetEnv, NoopResetEnv
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from lavae_rl.data.environments import make_env, register
from lavae_rl.perception.wrappers import take
from lavae_rl.rl.observations import Env

_SEEDS = 2**31 - 2**16
"""Number of seeds that a batch of games can begin with."""
MOST_NOOPS = 30
"""After a reset, 1 to so many steps pass without an action."""


def make_games(env_id: str, view: str, num_envs: int, mode: AutoresetMode) -> VectorEnv:
    """Make many games in one, see ``screens.make_screens``.

    Frames come from the emulator's own vector environment, with as many threads as PyTorch has: four pictures of 84 by
    84 grey pixels for "pixels", native colour for "frames".
    """
    if view == "oracle":
        return SyncVectorEnv([lambda: make_game(env_id, view)] * num_envs, autoreset_mode=mode)
    register(env_id)
    options: dict[str, Any] = {"noop_max": MOST_NOOPS, "use_fire_reset": True, "reward_clipping": False}
    options |= {"num_threads": torch.get_num_threads()}
    if view == "frames":
        with make_env(env_id) as single:
            height, width, _ = single.observation_space.shape  # type: ignore[misc]
        options |= {"grayscale": False, "img_height": height, "img_width": width, "stack_num": 1, "maxpool": False}
    vector = gym.make_vec(env_id, num_envs, "vector_entry_point", autoreset_mode=mode, **options)
    return Games(vector)


def make_game(env_id: str, view: str, render_mode: str | None = None) -> Env:
    """Make a single game."""
    env = make_env(env_id, render_mode=render_mode)
    env = NoopResetEnv(env, MOST_NOOPS)
    if env.unwrapped.get_action_meanings()[1:2] == ["FIRE"]:  # type: ignore[attr-defined]
        env = FireResetEnv(env)
    if view == "oracle":
        return AtariOracle(env)
    if view == "pixels":
        grey = gym.wrappers.GrayscaleObservation(gym.wrappers.ResizeObservation(env, (84, 84)))
        return gym.wrappers.FrameStackObservation(grey, 4)
    return env


class Games(VectorWrapper):
    """The emulator's vector environment; of a stack of one frame, observations are the frame."""

    def __init__(self, env: VectorEnv) -> None:
        super().__init__(env)
        space = cast("spaces.Box", env.single_observation_space)
        self._single = space.shape[0] == 1
        if self._single:
            self.single_observation_space = spaces.Box(0, 255, space.shape[1:], np.uint8)
            self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset games; the emulator takes seeds of 31 bits."""
        frames, infos = self.env.reset(seed=None if seed is None else int(seed) % _SEEDS, options=options)
        return self._latest(frames), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all games."""
        frames, *results, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos = {**infos, "final_obs": self._latest(infos["final_obs"])}
        reward, terminated, truncated = results
        return self._latest(frames), reward, terminated, truncated, infos

    def _latest(self, frames: np.ndarray) -> np.ndarray:
        return frames[:, 0] if self._single else frames


class AtariOracle(gym.ObservationWrapper[Any, Any, Any]):
    """True objects from the emulator's memory, by OCAtari (Delfosse et al. 2024), as tokens.

    A token is x and y in [-1, 1], the class as one of several numbers, presence, velocity and the sides of the box, in
    the order and units of ``TokenLayout``. An object stays in its slot.

    Raises:
        ValueError: OCAtari is not installed, or does not know the game.
    """

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        assert env.spec is not None
        self._game, self._reader = _reader(env.spec.id)
        categories = self._reader.get_max_objects(self._game, False)
        self._classes = {name: i for i, name in enumerate(categories)}
        self._slots = sum(categories.values())
        width = 2 + len(self._classes) + 5
        tokens = spaces.Box(-2.0, 2.0, (self._slots, width), np.float32)
        self.observation_space = spaces.Dict({"tokens": tokens, "mask": spaces.MultiBinary(self._slots)})
        self._objects: list[Any] = []
        self._before: dict[int, np.ndarray] = {}

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the game, and forget its objects."""
        observation, info = self.env.reset(**options)
        self._objects, self._before = self._reader.init_objects(self._game, False), {}
        return self.observation(observation), info

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        """The tokens of the true objects."""
        ale: Any = self.unwrapped.ale  # type: ignore[attr-defined]
        # OCAtari was written for NumPy 1, where sums of the memory's bytes did not overflow.
        self._reader.detect_objects_ram(self._objects, ale.getRAM().astype(np.int64), self._game, False)
        sides = np.array(observation.shape[1::-1])
        tokens = np.zeros(self.observation_space["tokens"].shape, np.float32)  # type: ignore[index]
        mask, places = np.zeros(self._slots, np.int8), {}
        for slot, thing in enumerate(self._objects[: self._slots]):
            if not thing or min(thing.w, thing.h) <= 0:
                continue
            size = 2 * np.array([thing.w, thing.h]) / (sides - 1)
            xy = 2 * np.array([thing.x + (thing.w - 1) / 2, thing.y + (thing.h - 1) / 2]) / (sides - 1) - 1
            places[slot] = xy
            kind = np.eye(len(self._classes))[self._classes[thing.category]]
            velocity = xy - self._before.get(slot, xy)
            tokens[slot] = np.concatenate([xy, kind, [1], velocity, size]).clip(-2, 2)
            mask[slot] = 1
        self._before = places
        return {"tokens": tokens, "mask": mask}


def _reader(env_id: str) -> tuple[str, Any]:
    """The name of a game, and the module of OCAtari that reads its objects."""
    if find_spec("ocatari") is None:
        raise ValueError(
            "expected OCAtari for the true objects of Atari games, which is not installed: pip install --no-deps "
            "ocatari, and pip install termcolor pygame scikit-image"
        )
    core, reader = (importlib.import_module(f"ocatari.{name}") for name in ("core", "ram.extract_ram_info"))
    game = env_id.rpartition("/")[2].rpartition("-")[0]
    if game not in core.AVAILABLE_GAMES:
        raise ValueError(f"expected a game that OCAtari supports, {', '.join(core.AVAILABLE_GAMES)}; got {game}")
    return game, reader


class VecLives(VecEnvWrapper):
    """A life is an episode, but the game goes on: of the last observation of a life another life begins."""

    def reset(self) -> Any:
        """Reset all games."""
        self._lives = np.zeros(self.num_envs, int)  # known after the first step
        observations = self.venv.reset()
        self.reset_infos = self.venv.reset_infos
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step."""
        observations, rewards, dones, infos = self.venv.step_wait()
        lives = np.array([info.get("lives", 0) for info in infos])
        lost = (lives < self._lives) & (lives > 0) & ~dones
        for i in np.flatnonzero(lost):
            infos[i] = {**infos[i], "terminal_observation": take(observations, int(i)), "TimeLimit.truncated": False}
        self._lives = np.where(dones, 0, lives)
        return observations, rewards, dones | lost, infos


class VectorLives(VectorWrapper):
    """Counterpart of ``VecLives`` for environments of Gymnasium in autoreset mode NEXT_STEP.

    The step after a lost life stands for a reset: its action is taken, while learners count neither it nor its reward.
    """

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all games."""
        self._lives = np.zeros(self.num_envs, int)  # known after the first step
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all games."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        done, lives = terminated | truncated, np.asarray(infos.get("lives", self._lives))
        lost = (lives < self._lives) & (lives > 0) & ~done
        self._lives = np.where(done, 0, lives)
        return observations, rewards, terminated | lost, truncated, infos


class VecClippedReward(VecEnvWrapper):
    """Rewards, each replaced by its sign."""

    def reset(self) -> Any:
        """Reset all environments."""
        observations = self.venv.reset()
        self.reset_infos = self.venv.reset_infos
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, np.sign(rewards), dones, infos
