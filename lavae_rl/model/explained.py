"""The surprise of whole frames, and the share of it that a model's objects explain."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.surprise import surprise
from lavae_rl.shapes import Frames


class FrameSurprise(NamedTuple):
    """Nats of surprise of each frame."""

    background: Float[np.ndarray, " batch"]
    """Under the background of the frame."""
    reconstruction: Float[np.ndarray, " batch"]
    """Under the background with the objects that were found."""


def explained_share(background: float, reconstruction: float) -> float:
    """Share of the surprise under the background that objects explain: at most 1, below 0 where they make it worse.

    It is NaN where nothing surprises.
    """
    return 1 - reconstruction / background if background > 0 else float("nan")


@torch.inference_mode()
def frame_surprise(model: LAVAE, frames: Frames) -> FrameSurprise:
    """Measure how much of frames the objects explain that a model finds in them."""
    images = model.images(frames)
    mean = torch.as_tensor(model.reconstruct(frames)[0], device=model.device).permute(0, 3, 1, 2)
    means = (model.background(images), mean)
    return FrameSurprise(*(surprise(model.likelihood, images, each).sum((1, 2)).cpu().numpy() for each in means))
