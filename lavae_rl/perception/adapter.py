"""The adapter from Gymnasium's vector environments to Stable-Baselines3."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from lavae_rl.actions import check_shape
from lavae_rl.perception.finals import Infos, MissingFinals, final_observations, has_rows
from lavae_rl.perception.wrappers import take


class GymVectorToSB3(VecEnv):
    """Any Gymnasium vector environment as a VecEnv of Stable-Baselines3.

    The autoreset mode must be SAME_STEP or DISABLED. Gymnasium's default, NEXT_STEP, raises ValueError: it returns the
    first observation of an episode one step after the last of the previous one; Stable-Baselines3 needs both at once.
    """

    def __init__(self, env: VectorEnv) -> None:
        mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        if mode == AutoresetMode.NEXT_STEP:
            raise ValueError(
                "expected a vector environment with autoreset mode SAME_STEP or DISABLED, got NEXT_STEP: "
                f"{_same_step(env.unwrapped)}"
            )
        self.env, self._mode, self._missing = env, mode, MissingFinals("final_obs")
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Reset all environments, with the seed and the options set before."""
        if any(options != self._options[0] for options in self._options):
            raise ValueError("a Gymnasium vector environment takes the same options for all, got different ones")
        # Stable-Baselines3 seeds with seed, seed + 1, ...; so does Gymnasium, given the first.
        observations, infos = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self.reset_infos = split_infos(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return take(observations, slice(None))

    def step_async(self, actions: Any) -> None:
        """Keep the actions for ``step_wait``; of another shape than the space's, they raise ValueError."""
        check_shape(actions, self.action_space, self.num_envs)
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step, and reset what is done; its last observation goes to ``infos[i]["terminal_observation"]``."""
        observations, rewards, terminations, truncations, vector_infos = self.env.step(self._actions)
        dones = np.logical_or(terminations, truncations)
        ended = np.flatnonzero(dones)
        shown = {key: values for key, values in vector_infos.items() if key not in ("final_obs", "_final_obs")}
        infos = split_infos(shown, self.num_envs)
        if self._mode == AutoresetMode.SAME_STEP:
            finals = final_observations(vector_infos, self.env, ended)
            self._missing.look(finals)
            for i, final in zip(ended.tolist(), finals, strict=True):
                self.reset_infos[i], infos[i] = infos[i], _pop_last(infos[i])
                if final is not None:
                    infos[i]["terminal_observation"] = final
        elif len(ended):
            for i in ended.tolist():
                infos[i]["terminal_observation"] = take(observations, i)
            observations, vector_infos = self.env.reset(options={"reset_mask": dones.copy()})
            reset_infos = split_infos(vector_infos, self.num_envs)
            for i in ended.tolist():
                self.reset_infos[i] = reset_infos[i]
        for i in range(self.num_envs):
            infos[i]["TimeLimit.truncated"] = bool(truncations[i] and not terminations[i])
        return take(observations, slice(None)), np.asarray(rewards, np.float32), dones, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Render one frame per environment."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def _base(self, method: str) -> Any:
        base: Any = self.env.unwrapped
        if not hasattr(base, method):
            raise NotImplementedError(f"{type(base).__name__} has no separate environments to reach: it lacks {method}")
        return base

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Get an attribute of some environments."""
        base: Any = self.env.unwrapped
        values = base.get_attr(attr_name) if hasattr(base, "get_attr") else [getattr(base, attr_name)] * self.num_envs
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of some environments."""
        chosen = set(self._get_indices(indices))
        old = [None] * self.num_envs if len(chosen) == self.num_envs else self.get_attr(attr_name)
        self._base("set_attr").set_attr(attr_name, [value if i in chosen else old[i] for i in range(self.num_envs)])

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of every environment, and return the results of some."""
        results = self._base("call").call(method_name, *args, **kwargs)
        return [results[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Return whether each environment is wrapped in a class; always False where they are in other processes."""
        envs: Iterable[Any] = getattr(self.env.unwrapped, "envs", [None] * self.num_envs)
        wrapped = [is_wrapped(env, wrapper_class) for env in envs]
        return [wrapped[i] for i in self._get_indices(indices)]


def _same_step(env: VectorEnv) -> str:
    """Code that makes the same vector environment with autoreset mode SAME_STEP."""
    mode = "autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"
    if isinstance(env, SyncVectorEnv | AsyncVectorEnv):
        name = type(env).__name__
        return f"make it by gymnasium.make_vec(..., vector_kwargs=dict({mode})), or by {name}(..., {mode})"
    if "autoreset_mode" in inspect.signature(type(env)).parameters:
        return f"make it by gymnasium.make_vec(..., {mode})"
    return f'make it by gymnasium.make_vec(..., vectorization_mode="sync", vector_kwargs=dict({mode}))'


def _pop_last(info: Infos) -> Infos:
    """Take the infos of the old episode out of those of the new one, which an environment that reset itself returns."""
    last = dict(info.pop("final_info", None) or {})
    # A vector wrapper puts its episode statistics outside, but they are those of the old episode.
    return last | ({"episode": info.pop("episode")} if "episode" in info else {})


def split_infos(infos: Infos, num_envs: int, outer_mask: np.ndarray | None = None) -> list[Infos]:
    """Split Gymnasium's dictionary of arrays, each with a mask ``_key`` beside it, by environment.

    An entry without a mask takes that of the dictionary around it, or belongs to every environment.
    """
    result: list[Infos] = [{} for _ in range(num_envs)]
    everyone = np.ones(num_envs, bool) if outer_mask is None else outer_mask
    for key, values in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        mask = infos.get(f"_{key}", everyone)
        rows = split_infos(values, num_envs, mask) if isinstance(values, dict) else values
        if has_rows(rows, num_envs):
            for i in np.flatnonzero(mask):
                result[i][key] = rows[i]
    return result
