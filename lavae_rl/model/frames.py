"""From frames, as users have them, to images, as networks read them."""

import numpy as np
import torch
from torch import Tensor

from lavae_rl.model.shapes import AnyFrames, Images


def to_images(frames: AnyFrames, channels: int, device: torch.device) -> Images:
    """Turns frames into float32 0 or 1, (batch, channels, height, width), on the device.

    Raises:
        TypeError: not a uint8 array.
        ValueError: wrong rank or channels, or values other than 0 and 255.
    """
    dtype = getattr(frames, "dtype", type(frames).__name__)
    if str(dtype).removeprefix("torch.") != "uint8":
        raise TypeError(f"expected frames as a uint8 array, got {dtype}")
    shape = tuple(frames.shape)
    if len(shape) != 4 or shape[3] != channels:
        raise ValueError(
            f"expected frames of shape (batch, height, width, {channels}), got {shape}; "
            "a single frame needs frame[None], channel-first frames a transpose"
        )
    if isinstance(frames, np.ndarray):
        # PyTorch takes neither read-only nor reversed arrays (frames[..., ::-1]); only these are copied.
        frames = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
    tensor: Tensor = frames.to(device)
    # In uint8, 255 + 1 is 0.
    if tensor.numel() and (tensor + 1).max() > 1:
        raise ValueError(
            f"expected pixel values 0 and 255 only, got {int(tensor[(tensor > 0) & (tensor < 255)][0])}; "
            "binarise the frames first: (frames > 127) * np.uint8(255), "
            "or in a wrapper preprocessing=Preprocessing(threshold=127) or Preprocessing(palette=[...])"
        )
    return tensor.permute(0, 3, 1, 2).float().div_(255)
