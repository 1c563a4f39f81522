"""Metrics of a model on frames without labels: what it explains, how many objects it finds, and whether they stay."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.recordings import Recording
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.model.surprise import surprise
from lavae_rl.shapes import Frames

_BATCH = 16


@dataclass(frozen=True)
class Findings:
    """What a model finds in frames."""

    explained: float
    """Share of the surprise under the background that reconstructions explain: at most 1, below 0 if they are worse."""
    counts: list[int]
    """Number of frames with 0, 1, 2, ... objects."""
    persistence: float
    """Share of objects found again in the next frame, within half of a window; NaN without successive frames."""

    @property
    def mean_count(self) -> float:
        """Mean number of objects in a frame."""
        return float(np.arange(len(self.counts)) @ self.counts / max(1, sum(self.counts)))

    def summary(self) -> dict[str, float]:
        """The numbers that are logged."""
        return {"explained": self.explained, "mean_count": self.mean_count, "persistence": self.persistence}


def measure_findings(model: LAVAE, recording: FrameSource, num_frames: int) -> Findings:
    """Encode pairs of successive frames, spread over a recording.

    Args:
        model: finds and explains.
        recording: frames; those of a ``Recording`` are in the order of time.
        num_frames: number of frames to read, at least 2.
    """
    ends = recording.episodes[1:] - 1 if isinstance(recording, Recording) else np.arange(len(recording))
    followed = np.setdiff1d(np.arange(len(recording)), ends)
    first = followed if len(followed) else ends
    first = first[np.linspace(0, len(first) - 1, max(1, min(num_frames // 2, len(first)))).round().astype(int)]
    before = after = 0.0
    counts: list[int] = []
    kept = objects = 0
    for start in range(0, len(first), _BATCH):
        index = first[start : start + _BATCH]
        pair = [recording[index], recording[np.minimum(index + 1, len(recording) - 1)]]
        found = [model.encode(frames) for frames in pair]
        for frames in pair:
            old, new = surprises(model, frames)
            before, after = before + float(old.sum()), after + float(new.sum())
        counts += [int(count) for each in found for count in each.count]
        for i in range(len(index)):
            kept += _found_again(found[0], found[1], i, model.config.sprite_size)
            objects += int(found[0].count[i])
    persistence = kept / objects if objects and len(followed) else float("nan")
    return Findings(1 - after / before if before else 1.0, np.bincount(counts).tolist(), persistence)


@torch.inference_mode()
def surprises(model: LAVAE, frames: Frames) -> tuple[Float[np.ndarray, " batch"], Float[np.ndarray, " batch"]]:
    """Nats of surprise of each frame under its background, and under its reconstruction."""
    images = model.images(frames)
    mean = torch.as_tensor(model.reconstruct(frames)[0], device=model.device).permute(0, 3, 1, 2)
    empty = model.background(images)
    return tuple(  # type: ignore[return-value]
        surprise(model.likelihood, images, each).sum((1, 2)).cpu().numpy() for each in (empty, mean)
    )


def _found_again(now: Objects, then: Objects, frame: int, size: int) -> int:
    one, two = (each.location[frame, : each.count[frame]] for each in (now, then))
    distance = np.linalg.norm(one[:, None].astype(float) - two[None], axis=2)
    reach = size * _scales(now, frame)[:, None] / 2
    rows, columns = linear_sum_assignment(np.minimum(distance, 4 * size))
    return int((distance <= reach)[rows, columns].sum())


def _scales(objects: Objects, frame: int) -> Int[np.ndarray, " objects"]:
    return np.asarray(objects.scale[frame, : objects.count[frame]])
