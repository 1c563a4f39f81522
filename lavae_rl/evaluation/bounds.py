"""Metrics without labels: bounds on log p(x)."""

import torch

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.evaluation.progress import OnFrames, ignore
from lavae_rl.model.baseline import ConvVAE
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.shapes import PerImage

_BATCH = 250


def measure_bounds(
    model: LAVAE | ConvVAE, source: FrameSource, num_frames: int, num_samples: int, on_frames: OnFrames = ignore
) -> tuple[PerImage, PerImage]:
    """Single-sample ELBO and importance-weighted bound on log p(x) of the first ``num_frames`` frames, in nats.

    The model is in evaluation mode. Raises ValueError for no frames or no importance samples.
    """
    if min(num_samples, num_frames) < 1:
        raise ValueError(f"expected num_samples and bound_scenes of at least 1, got {num_samples} and {num_frames}")
    generator = torch.Generator(model.device).manual_seed(0)
    stop = min(num_frames, len(source))
    elbo, bound = [], []
    for start in range(0, stop, _BATCH):
        frames = source[start : min(start + _BATCH, stop)]
        elbo.append(model.elbo(frames, generator))
        bound.append(model.log_likelihood(frames, num_samples, generator))
        on_frames(len(frames))
    return torch.cat(elbo).cpu(), torch.cat(bound).cpu()
