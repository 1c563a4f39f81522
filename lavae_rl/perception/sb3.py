"""Stable-Baselines3's side: VecEnv wrappers, a features extractor, and the adapter of ``adapter.py``."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space_channels_first
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import Tensor, nn

from lavae_rl.actions import check_shape
from lavae_rl.perception.adapter import GymVectorToSB3
from lavae_rl.perception.binary import BinaryFrames
from lavae_rl.perception.blueprints import source
from lavae_rl.perception.encoder import EncoderConfig, FrameEncoder
from lavae_rl.perception.finals import MissingFinals
from lavae_rl.perception.fit import check_frames
from lavae_rl.perception.tokens import APPEARANCE_RANGE, TokenLayout
from lavae_rl.perception.watch import EncoderWatch
from lavae_rl.perception.wrappers import Encode, ObservationPort
from lavae_rl.policies.set_extractor import SetFeaturesExtractor

__all__ = ["GymVectorToSB3", "LAVAEFeaturesExtractor", "SetFeaturesExtractor", "VecLAVAEObservation"]


class VecEncodedObservation(VecEnvWrapper):
    """Replace the frames of a VecEnv by what ``encode`` computes, whose space for one environment is ``space``.

    Where an episode ends without ``terminal_observation``, a warning is issued once.
    """

    def __init__(self, venv: VecEnv, port: ObservationPort, encode: Encode, space: "spaces.Space[Any]") -> None:
        self._port, self._encode, self._missing = port, encode, MissingFinals("terminal_observation")
        super().__init__(venv, observation_space=port.space(space))

    def reset(self) -> Any:
        """Reset all environments."""
        observations = self.venv.reset()
        self.reset_infos = self.venv.reset_infos
        tokens, _ = self._port.encode(self._encode, observations, np.arange(self.num_envs))
        return self._port.observation(observations, tokens)

    def step_async(self, actions: Any) -> None:
        """Begin a step; actions of another shape than the space's raise ValueError."""
        check_shape(actions, self.action_space, self.num_envs)
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step; every ``terminal_observation`` is encoded too."""
        observations, rewards, dones, infos = self.venv.step_wait()
        infos, started = list(infos), np.flatnonzero(dones)  # SubprocVecEnv returns a tuple
        finals = [infos[i].get("terminal_observation") for i in started]
        self._missing.look(finals)
        tokens, last = self._port.encode(self._encode, observations, started, finals)
        for i, final in zip(started, last, strict=True):
            if final is not None:
                infos[i] = {**infos[i], "terminal_observation": final}
        return self._port.observation(observations, tokens), rewards, dones, infos


class VecLAVAEObservation(VecEncodedObservation):
    """Replace the frames of a VecEnv by object tokens, all environments and final observations in one pass.

    Observations become ``{"tokens": (n, K, 2 + D) float32, "mask": (n, K) int8}``, for "MultiInputPolicy"; with
    ``flatten=True`` one vector per environment, for "MlpPolicy". Name ``SetFeaturesExtractor`` in ``policy_kwargs``:
    "MultiInputPolicy" by itself flattens all slots into one vector, and no wrapper can find out which policy reads it.

    ``venv`` has uint8 frames as observations, channels last: put it below any VecTransposeImage. The other arguments
    are those of ``LAVAEObservation``.
    """

    def __init__(self, venv: VecEnv, model: str = "multi-dsprites", max_objects: int = 8, **options: Any) -> None:
        config = EncoderConfig(model=model, max_objects=max_objects, **options)
        port = ObservationPort(venv.observation_space, config.frame_key)
        self.frame_encoder = FrameEncoder(config, port.frame_space, venv.num_envs)
        super().__init__(venv, port, self.frame_encoder.encode, self.frame_encoder.layout.space())


class LAVAEFeaturesExtractor(BaseFeaturesExtractor):
    """Object tokens computed inside the policy, for fine-tuning appearance on the agent's own objective.

    The features are the flat tokens of ``TokenLayout(flatten=True)``. Counting and locating have no useful gradient
    and stay as they are; gradients reach the appearance network alone. To only use a frozen model, wrap the environment
    in ``VecLAVAEObservation`` instead: it encodes each frame once, not once per epoch, and has more options. Frames,
    uint8, channels first or last, are preprocessed as stored with the weights. A model of the maximum of two frames
    raises ValueError.

    A saved agent holds all weights, and is loaded from any folder: the space of its observations keeps what else it
    takes to build the model again.
    """

    def __init__(self, observation_space: spaces.Box, model: str = "multi-dsprites", max_objects: int = 8) -> None:
        found = source(str(model), observation_space)
        blueprint = found.blueprint
        layout = "chw" if is_image_space_channels_first(observation_space) else "hwc"
        preprocessing = dataclasses.replace(blueprint.preprocessing, layout=layout)
        if preprocessing.max_frames > 1:
            raise ValueError(
                f"model {model!r} reads the maximum of two successive frames, and a policy reads single ones: "
                "wrap the environment in VecLAVAEObservation, which keeps the frame before"
            )
        check_frames(str(model), blueprint.config, preprocessing, observation_space.shape)
        width = TokenLayout(max_objects, blueprint.config.latents).width
        super().__init__(observation_space, max_objects * (1 + width))
        self._slots, self._prepare, self._watch = max_objects, preprocessing, EncoderWatch(str(model), preprocessing)
        self._binary = BinaryFrames() if blueprint.config.likelihood == "bernoulli" else None
        self._name, self._has_weights = str(model), found.name is not None
        self.lavae = found.build().requires_grad_(False)
        self.lavae.appearance_network.requires_grad_(True)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._has_weights = True

    def apply(self, fn: Callable[[nn.Module], None]) -> "LAVAEFeaturesExtractor":
        """Do nothing: policies apply their orthogonal initialisation with this, over the trained weights."""
        return self

    def train(self, mode: bool = True) -> "LAVAEFeaturesExtractor":
        """Keep the statistics of batch norms: the model always evaluates."""
        super().train(mode)
        self.lavae.eval()
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """Compute the flat tokens of frames that the policy has divided by 255.

        Raises:
            ValueError: values outside [0, 1], first frames that are not binary after preprocessing, or no weights, see
                ``blueprints.source``.
        """
        if not self._has_weights:
            raise ValueError(
                f"expected the weights of model {self._name!r} in a saved policy, since its folder is not here"
            )
        if ((observations < 0) | (observations > 1)).any():
            raise ValueError(
                f"expected values 0 to 1, got values from {observations.min():.3g} to {observations.max():.3g}: "
                "the policy needs normalize_images=True"
            )
        given = (observations * 255).round().byte().cpu().numpy()
        frames = self._prepare(given)
        if self._binary is not None:
            frames = self._binary(frames)
        self._watch.look(self.lavae, given, frames)
        images = self.lavae.images(frames).contiguous()
        scene = self.lavae.scene(images)
        with torch.no_grad():
            found = self.lavae.peaks(self.lavae.location_network(scene.inputs), scene).keep_first(self._slots)
        mean = self.lavae.appearance_network(scene.inputs, found).mean
        # As to_xy does, which takes arrays only: tensors cannot be reversed by [::-1].
        extent = torch.tensor(images.shape[2:], device=images.device) - 1
        xy = (found.location / extent * 2 - 1).flip(1)
        tokens = torch.cat([torch.ones_like(xy[:, :1]), xy, mean.clamp(-APPEARANCE_RANGE, APPEARANCE_RANGE)], dim=1)
        features = tokens.new_zeros(len(images), self._slots, tokens.shape[1])
        features[found.image_index, found.rank] = tokens
        return features.flatten(1)
