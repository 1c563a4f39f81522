"""Reconstructions of a model, as pictures."""

from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.moved import moved_names
from lavae_rl.pictures import frame_rows, to_bytes
from lavae_rl.shapes import Frames, Picture

__getattr__ = moved_names(__name__)


def reconstruction_figure(model: LAVAE | ConvVAE, frames: Frames) -> Picture:
    """Frames above, reconstructions below, with the centres of the objects found marked on both. RGB, enlarged."""
    mean, centres = model.reconstruct(frames)
    return frame_rows(frames, to_bytes(mean), centres=centres)
