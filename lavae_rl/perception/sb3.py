"""Stable-Baselines3's side: a VecEnv wrapper, an adapter from Gymnasium's vector environments, a features extractor."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor, nn

from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.encoder import EncoderConfig, FrameEncoder
from lavae_rl.perception.tokens import APPEARANCE_RANGE
from lavae_rl.perception.wrappers import ObservationPort, encode_with_finals


class VecLAVAEObservation(VecEnvWrapper):
    """Turns the frames of a VecEnv into object tokens, all environments and final observations in one pass.

    Observations become ``{"tokens": (n, K, 2 + D) float32, "mask": (n, K) int8}``, for "MultiInputPolicy"; with
    ``flatten=True`` one vector per environment, for "MlpPolicy".

    Args:
        venv: has uint8 frames as observations, channels last (put it below any VecTransposeImage).
        model: bundled name, or folder of a model.
        max_objects: number K of slots.
        options: further fields of ``EncoderConfig``, see ``LAVAEObservation``.

    Raises:
        TypeError, ValueError: see ``LAVAEObservation``.
    """

    def __init__(self, venv: VecEnv, model: str = "multi-dsprites", max_objects: int = 8, **options: Any) -> None:
        config = EncoderConfig(model=model, max_objects=max_objects, **options)
        self._port = ObservationPort(venv.observation_space, config.frame_key)
        self.frame_encoder = FrameEncoder(config, self._port.frame_space, venv.num_envs)
        super().__init__(venv, observation_space=self._port.space(self.frame_encoder.layout.space()))

    def reset(self) -> Any:
        """Resets all environments."""
        observations = self.venv.reset()
        everyone = np.arange(self.num_envs)
        self.frame_encoder.reset(everyone)
        objects = self.frame_encoder.find(self._port.frames(observations))
        return self._port.observation(observations, self.frame_encoder.observe(objects, everyone))

    def step_wait(self) -> VecEnvStepReturn:
        """Waits for the step; every ``terminal_observation`` becomes tokens too."""
        observations, rewards, dones, infos = self.venv.step_wait()
        infos = list(infos)  # SubprocVecEnv hands out a tuple
        envs = np.flatnonzero(dones)
        finals = [infos[i]["terminal_observation"] for i in envs]
        new, last = encode_with_finals(
            self.frame_encoder, self._port.frames(observations), [self._port.frames(final) for final in finals], envs
        )
        for i, final, tokens in zip(envs, finals, last, strict=True):
            infos[i] = {**infos[i], "terminal_observation": self._port.observation(final, tokens)}
        return self._port.observation(observations, new), rewards, dones, infos


class GymVectorToSB3(VecEnv):
    """Any Gymnasium vector environment as a VecEnv of Stable-Baselines3.

    Args:
        env: with autoreset mode SAME_STEP or DISABLED. In NEXT_STEP the first observation of an episode is not known
            when the last one ends, which Stable-Baselines3 needs.

    Raises:
        ValueError: autoreset mode NEXT_STEP.
    """

    def __init__(self, env: VectorEnv) -> None:
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode == AutoresetMode.NEXT_STEP:
            raise ValueError(
                "expected a vector environment with autoreset mode SAME_STEP or DISABLED, got NEXT_STEP; make it with "
                "vector_kwargs=dict(autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP)"
            )
        self.env, self._mode = env, mode
        self.render_mode = env.render_mode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: Any = None

    def reset(self) -> Any:
        """Resets all environments, with the seeds and options set before."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        options = self._options[0] or None
        observations, infos = self.env.reset(seed=seeds, options=options)  # type: ignore[arg-type]
        self.reset_infos = self._split(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return self._copy(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Steps, and resets what is done; its last observation goes to ``infos[i]["terminal_observation"]``."""
        observations, rewards, terminations, truncations, vector_infos = self.env.step(self._actions)
        dones = np.logical_or(terminations, truncations)
        final_infos, finals = vector_infos.pop("final_info", {}), vector_infos.pop("final_obs", None)
        vector_infos.pop("_final_info", None)
        vector_infos.pop("_final_obs", None)
        infos = self._split(vector_infos, self.num_envs)
        ended = infos if self._mode == AutoresetMode.DISABLED else self._split(final_infos, self.num_envs)
        for i in np.flatnonzero(dones):
            if self._mode == AutoresetMode.SAME_STEP:
                # What reset returned as info is kept where Stable-Baselines3 looks for it.
                self.reset_infos[i], infos[i] = infos[i], ended[i]
            infos[i]["terminal_observation"] = self._pick(observations, int(i)) if finals is None else finals[i]
            infos[i]["TimeLimit.truncated"] = bool(truncations[i] and not terminations[i])
        if self._mode == AutoresetMode.DISABLED and dones.any():
            observations, reset_infos = self.env.reset(options={"reset_mask": dones})
            for i in np.flatnonzero(dones):
                self.reset_infos[i] = self._split(reset_infos, self.num_envs)[i]
        return self._copy(observations), rewards.astype(np.float32), dones, infos

    @staticmethod
    def _split(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
        """Gymnasium's dictionary of arrays, with a mask beside each, as one dictionary per environment."""
        result: list[dict[str, Any]] = [{} for _ in range(num_envs)]
        for key, values in infos.items():
            if f"_{key}" not in infos:
                continue
            rows = GymVectorToSB3._split(values, num_envs) if isinstance(values, dict) else values
            for i in np.flatnonzero(infos[f"_{key}"]):
                result[i][key] = rows[i]
        return result

    @staticmethod
    def _pick(observations: Any, index: int) -> Any:
        if isinstance(observations, dict):
            return {key: value[index].copy() for key, value in observations.items()}
        return observations[index].copy()

    @staticmethod
    def _copy(observations: Any) -> Any:
        return (
            {key: value.copy() for key, value in observations.items()}
            if isinstance(observations, dict)
            else observations.copy()
        )

    def close(self) -> None:
        """Closes the vector environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One rendered frame per environment."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Attribute of each environment."""
        values = (
            self.env.get_attr(attr_name) if hasattr(self.env, "get_attr") else getattr(self.env.unwrapped, attr_name)
        )
        values = values if isinstance(values, (tuple, list)) else [values] * self.num_envs
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of all environments."""
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise NotImplementedError("a Gymnasium vector environment sets attributes of all environments at once")
        self.env.set_attr(attr_name, value)  # type: ignore[attr-defined]

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Calls a method of each environment."""
        results = self.env.call(method_name, *args, **kwargs)  # type: ignore[attr-defined]
        return [results[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Whether each environment is wrapped in a class; only known where the environments are in this process."""
        envs: Iterable[Any] = getattr(self.env.unwrapped, "envs", [None] * self.num_envs)
        wrapped = [_is_wrapped(env, wrapper_class) for env in envs]
        return [wrapped[i] for i in self._get_indices(indices)]


def _is_wrapped(env: Any, wrapper_class: type) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, wrapper_class):
            return True
        env = env.env
    return False


class LAVAEFeaturesExtractor(BaseFeaturesExtractor):
    """Object tokens computed inside the policy, for fine-tuning appearance on the agent's own objective.

    The features are the flat tokens of ``TokenLayout(flatten=True)``. Counting and locating have no useful gradient
    and stay as they are; gradients reach the appearance network. To only use a frozen model, wrap the environment in
    ``VecLAVAEObservation`` instead: it encodes each frame once, not once per epoch.

    Args:
        observation_space: uint8 frames, channels first (Stable-Baselines3 transposes images) or last.
        model: bundled name, or folder of a model.
        max_objects: number of slots.
    """

    def __init__(self, observation_space: spaces.Box, model: str = "multi-dsprites", max_objects: int = 8) -> None:
        loaded = LAVAE.from_pretrained(model)
        channels_first = observation_space.shape[0] == loaded.config.channels
        layout = "chw" if channels_first else "hwc"
        config = EncoderConfig(model=model, max_objects=max_objects, preprocessing={"layout": layout})
        encoder = FrameEncoder(config, observation_space)
        super().__init__(observation_space, max_objects * (1 + encoder.layout.width))
        self._slots, self._channels_first = max_objects, channels_first
        self.lavae = loaded
        self.lavae.location_network.requires_grad_(False)

    def apply(self, fn: Callable[[nn.Module], None]) -> "LAVAEFeaturesExtractor":
        """Does nothing: policies apply their orthogonal initialisation with this, over the trained weights."""
        return self

    def train(self, mode: bool = True) -> "LAVAEFeaturesExtractor":
        """Batch norms keep their statistics: the location network always evaluates."""
        super().train(mode)
        self.lavae.eval()
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """Flat tokens of normalised frames (values 0 to 1)."""
        images = observations if self._channels_first else observations.permute(0, 3, 1, 2)
        with torch.no_grad():
            found = self.lavae.detect(images).keep_first(self._slots)
        mean, _ = self.lavae.appearance_network(images, found.image_index, found.location)
        extent = torch.tensor(images.shape[2:], device=images.device) - 1
        xy = (found.location / extent * 2 - 1).flip(1)
        tokens = torch.cat([torch.ones_like(xy[:, :1]), xy, mean.clamp(-APPEARANCE_RANGE, APPEARANCE_RANGE)], dim=1)
        features = tokens.new_zeros(len(images), self._slots, tokens.shape[1])
        features[found.image_index, found.rank] = tokens
        return features.flatten(1)
