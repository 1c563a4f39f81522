"""The baseline's latents as observations: one vector per frame, for comparison with object tokens."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from lavae_rl.model.baseline import STRIDE, ConvVAE
from lavae_rl.shapes import Frames


class VecVAEObservation(VecEnvWrapper):
    """Turns the frames of a VecEnv into the flattened latent means of a ``ConvVAE``, float32, for "MlpPolicy".

    Args:
        venv: has uint8 frames as observations, (height, width, channels), values 0 and 255.
        model: folder of a baseline, made by ``python pretrain/train_lavae.py --model baseline``.
        device: where the model runs.

    Raises:
        TypeError: observations that are no frames.
        ValueError: frames of other channels.
        FileNotFoundError, ValueError: see ``ConvVAE.from_pretrained``.
    """

    def __init__(self, venv: VecEnv, model: str, device: str = "cpu") -> None:
        frames = venv.observation_space
        if not isinstance(frames, spaces.Box) or frames.dtype != np.uint8 or len(frames.shape) != 3:
            raise TypeError(f"expected a Box of uint8 frames (height, width, channels), got {frames}")
        self._vae = ConvVAE.from_pretrained(model, device)
        height, width, channels = frames.shape
        if channels != self._vae.config.channels:
            raise ValueError(f"expected frames of {self._vae.config.channels} channels, as {model} has, got {channels}")
        numbers = self._vae.config.latents * (height // STRIDE) * (width // STRIDE)
        super().__init__(venv, spaces.Box(-np.inf, np.inf, (numbers,), np.float32))

    def reset(self) -> np.ndarray:
        """Resets all environments."""
        frames: Any = self.venv.reset()
        self.reset_infos = self.venv.reset_infos
        return self._encode(frames)

    def step_wait(self) -> VecEnvStepReturn:
        """Waits for the step; every ``terminal_observation`` becomes a vector too."""
        frames, rewards, dones, infos = self.venv.step_wait()
        infos, envs = list(infos), np.flatnonzero(dones)
        if len(envs):
            finals = self._encode(np.stack([infos[i]["terminal_observation"] for i in envs]))
            for i, final in zip(envs, finals, strict=True):
                infos[i] = {**infos[i], "terminal_observation": final}
        return self._encode(np.asarray(frames)), rewards, dones, infos

    def _encode(self, frames: Frames) -> np.ndarray:
        return self._vae.encode(frames).flatten(1).cpu().numpy()
