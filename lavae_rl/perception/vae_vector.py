"""The baseline's latents as observations: one vector per frame, for comparison with object tokens."""

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.model import checkpoint
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.perception.binary import BinaryFrames
from lavae_rl.perception.encoder import stored_preprocessing
from lavae_rl.perception.sb3 import VecEncodedObservation
from lavae_rl.perception.wrappers import ObservationPort


class VecVAEObservation(VecEncodedObservation):
    """Replace the frames of a VecEnv by the flattened latent means of a ``ConvVAE``, float32, for "MlpPolicy".

    The uint8 frames are preprocessed as stored with the weights in the folder ``model``, which
    ``python pretrain/train_lavae.py --model baseline`` makes. Raises TypeError if observations are not frames, and
    ValueError if the model does not read their axes or channels.
    """

    def __init__(self, venv: VecEnv, model: str, device: str = "cpu") -> None:
        port = ObservationPort(venv.observation_space)
        vae, prepare = ConvVAE.from_pretrained(model, device), stored_preprocessing(checkpoint.find(model))
        binary = BinaryFrames()

        def vectors(frames: np.ndarray) -> np.ndarray:
            return vae.encode(binary(prepare(frames))).flatten(1).cpu().numpy()

        def encode(frames: np.ndarray, started: np.ndarray, finals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return vectors(frames), vectors(finals) if len(finals) else finals

        black = np.zeros((1, *port.frame_space.shape), np.uint8)
        space = spaces.Box(-np.inf, np.inf, vectors(black)[0].shape, np.float32)
        super().__init__(venv, port, encode, space)
