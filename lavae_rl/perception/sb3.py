"""Stable-Baselines3's side: a VecEnv wrapper, a features extractor, and the adapter of ``adapter.py``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor, nn

from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.adapter import GymVectorToSB3
from lavae_rl.perception.encoder import EncoderConfig, FrameEncoder
from lavae_rl.perception.tokens import APPEARANCE_RANGE
from lavae_rl.perception.wrappers import ObservationPort, encode_with_finals
from lavae_rl.policies.set_extractor import SetFeaturesExtractor

__all__ = ["GymVectorToSB3", "LAVAEFeaturesExtractor", "SetFeaturesExtractor", "VecLAVAEObservation"]


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
        self.reset_infos = self.venv.reset_infos
        objects = self.frame_encoder.find(self._port.frames(observations))
        _, tokens = self.frame_encoder.observe(objects, everyone)
        return self._port.observation(observations, tokens)

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


class LAVAEFeaturesExtractor(BaseFeaturesExtractor):
    """Object tokens computed inside the policy, for fine-tuning appearance on the agent's own objective.

    The features are the flat tokens of ``TokenLayout(flatten=True)``. Counting and locating have no useful gradient
    and stay as they are; gradients reach the appearance network alone. To only use a frozen model, wrap the environment
    in ``VecLAVAEObservation`` instead: it encodes each frame once, not once per epoch, and has more options.

    Args:
        observation_space: binary uint8 frames, channels first (Stable-Baselines3 transposes images) or last.
        model: bundled name, or folder of a model.
        max_objects: number of slots.

    Raises:
        TypeError, ValueError: see ``LAVAEObservation``.
    """

    def __init__(self, observation_space: spaces.Box, model: str = "multi-dsprites", max_objects: int = 8) -> None:
        loaded = LAVAE.from_pretrained(model)
        self._channels_first = observation_space.shape[0] == loaded.config.channels
        layout = "chw" if self._channels_first else "hwc"
        config = EncoderConfig(model=model, max_objects=max_objects, preprocessing={"layout": layout})
        encoder = FrameEncoder(config, observation_space)
        super().__init__(observation_space, max_objects * (1 + encoder.layout.width))
        self._slots = max_objects
        self.lavae = loaded.requires_grad_(False)
        self.lavae.appearance_network.requires_grad_(True)

    def apply(self, fn: Callable[[nn.Module], None]) -> "LAVAEFeaturesExtractor":
        """Does nothing: policies apply their orthogonal initialisation with this, over the trained weights."""
        return self

    def train(self, mode: bool = True) -> "LAVAEFeaturesExtractor":
        """Batch norms keep their statistics: the location network always evaluates."""
        super().train(mode)
        self.lavae.eval()
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """Flat tokens of frames with values 0 and 1.

        Raises:
            ValueError: other values.
        """
        if not ((observations == 0) | (observations == 1)).all():
            raise ValueError(
                f"expected values 0 and 1, got values from {observations.min():.3g} to {observations.max():.3g}: "
                "the environment must give binary frames (0 and 255), and the policy needs normalize_images=True"
            )
        images = observations if self._channels_first else observations.permute(0, 3, 1, 2)
        found = self.lavae.detect(images).keep_first(self._slots)
        image_index, location, rank = found.image_index.clone(), found.location.clone(), found.rank.clone()
        mean, _ = self.lavae.appearance_network(images, image_index, location)
        extent = torch.tensor(images.shape[2:], device=images.device) - 1
        xy = (location / extent * 2 - 1).flip(1)
        tokens = torch.cat([torch.ones_like(xy[:, :1]), xy, mean.clamp(-APPEARANCE_RANGE, APPEARANCE_RANGE)], dim=1)
        features = tokens.new_zeros(len(images), self._slots, tokens.shape[1])
        features[image_index, rank] = tokens
        return features.flatten(1)
