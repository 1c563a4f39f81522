"""Reconstructions of a model, as pictures."""

import numpy as np

from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pictures import frame_rows, to_bytes
from lavae_rl.shapes import Frames, Picture


def reconstruction_figure(model: LAVAE | ConvVAE, frames: Frames) -> Picture:
    """Frames above, the model's reconstructions below; of LAVAE, predicted centres marked on both. RGB, enlarged."""
    if isinstance(model, ConvVAE):
        return frame_rows(frames, to_bytes(model.decode(model.encode(frames)).cpu().numpy()))
    objects = model.encode(frames)
    mean = model.decode(objects)
    centres = [location[:count] for location, count in zip(objects.location, objects.count, strict=True)]
    return frame_rows(frames, to_bytes(np.asarray(mean)), centres=centres)
