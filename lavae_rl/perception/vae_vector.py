"""The baseline's latents as observations: one vector per frame, for comparison with object tokens."""

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.model import checkpoint
from lavae_rl.model.baseline import STRIDE, ConvVAE
from lavae_rl.perception.encoder import stored_preprocessing
from lavae_rl.perception.sb3 import VecEncodedObservation
from lavae_rl.perception.wrappers import ObservationPort


class VecVAEObservation(VecEncodedObservation):
    """Replace the frames of a VecEnv by the flattened latent means of a ``ConvVAE``, float32, for "MlpPolicy".

    Args:
        venv: has uint8 frames as observations, preprocessed as stored with the weights.
        model: folder of a baseline, made by ``python pretrain/train_lavae.py --model baseline``.
        device: where the model runs.

    Raises:
        TypeError: observations that are not frames.
        ValueError: frames of other axes or channels.
        FileNotFoundError, ValueError: see ``ConvVAE.from_pretrained``.
    """

    def __init__(self, venv: VecEnv, model: str, device: str = "cpu") -> None:
        frames = venv.observation_space
        if not isinstance(frames, spaces.Box) or frames.dtype != np.uint8:
            raise TypeError(f"expected a Box of uint8 frames, got {frames}")
        vae, prepare = ConvVAE.from_pretrained(model, device), stored_preprocessing(checkpoint.find(model))
        height, width, channels = prepare.output_shape(frames.shape)
        if channels != vae.config.channels:
            raise ValueError(f"expected frames of {vae.config.channels} channels, as {model} has, got {channels}")
        numbers = vae.config.latents * (height // STRIDE) * (width // STRIDE)
        space = spaces.Box(-np.inf, np.inf, (numbers,), np.float32)

        def vectors(frames: np.ndarray) -> np.ndarray:
            return vae.encode(prepare(frames)).flatten(1).cpu().numpy()

        def encode(frames: np.ndarray, started: np.ndarray, finals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return vectors(frames), vectors(finals) if len(finals) else finals

        super().__init__(venv, ObservationPort(frames, None), encode, space)
