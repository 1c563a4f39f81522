"""Metrics of a model on frames without labels: what it explains, how many objects it finds, and whether they stay."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.recordings import Recording
from lavae_rl.evaluation.progress import OnFrames, ignore
from lavae_rl.model.explained import explained_share, frame_surprise
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects

_BATCH, _FAR = 16, 1e6


@dataclass(frozen=True)
class Findings:
    """Metrics of the objects that a model finds in frames."""

    explained: float
    """Share of the surprise under the background that objects explain; see ``explained_share``."""
    counts: list[int]
    """Number of frames with 0, 1, 2, ... objects."""
    persistence: float
    """Share of objects found again in the next frame, within half of a window: 0 to 1; NaN without any to look for.

    One minus this share is flicker. Objects that leave count in it, too."""

    @property
    def mean_count(self) -> float:
        """Mean number of objects in a frame."""
        return float(np.arange(len(self.counts)) @ self.counts / max(1, sum(self.counts)))

    def summary(self) -> dict[str, float]:
        """The numbers that are logged."""
        return {"explained": self.explained, "mean_count": self.mean_count, "persistence": self.persistence}


def measure_findings(model: LAVAE, source: FrameSource, num_frames: int, on_frames: OnFrames = ignore) -> Findings:
    """Encode pairs of successive frames, spread over a recording; or single frames of a source without time.

    Args:
        model: finds and explains.
        source: at least one frame; those of a ``Recording`` are in the order of time.
        num_frames: number of frames to read, at least 2; there may be fewer.
        on_frames: shows the progress.
    """
    followed = _followed(source)
    chosen, wanted = (followed, num_frames // 2) if len(followed) else (np.arange(len(source)), num_frames)
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(wanted, len(chosen))).round().astype(int)]
    background = reconstruction = 0.0
    counts: list[int] = []
    kept = objects = 0
    for start in range(0, len(chosen), _BATCH):
        index = chosen[start : start + _BATCH]
        successive = [source[index], source[index + 1]] if len(followed) else [source[index]]
        for frames in successive:
            nats = frame_surprise(model, frames)
            background += float(nats.background.sum())
            reconstruction += float(nats.reconstruction.sum())
        found = [model.encode(frames) for frames in successive]
        on_frames(sum(map(len, successive)))
        counts += [int(count) for each in found for count in each.count]
        if len(followed):
            kept += sum(_found_again(found[0], found[1], i, model.config.sprite_size) for i in range(len(index)))
            objects += int(found[0].count.sum())
    persistence = kept / objects if objects else float("nan")
    return Findings(explained_share(background, reconstruction), np.bincount(counts).tolist(), persistence)


def _followed(source: FrameSource) -> Int[np.ndarray, " frames"]:
    """The frames that have a next one in the same episode."""
    ends = source.episodes[1:] - 1 if isinstance(source, Recording) else np.arange(len(source))
    return np.setdiff1d(np.arange(len(source)), ends)


def _found_again(now: Objects, then: Objects, frame: int, size: int) -> int:
    """Number of objects of a frame with a partner of their own in the next, as many as possible."""
    one, two = (each.location[frame, : each.count[frame]] for each in (now, then))
    distance = np.linalg.norm(one[:, None].astype(float) - two[None], axis=2)
    near = distance <= size * now.scale[frame, : now.count[frame], None] / 2
    # A pair that is too far costs more than all near ones, so that none of these is given up for a short way.
    rows, columns = linear_sum_assignment(np.where(near, distance, _FAR))
    return int(near[rows, columns].sum())
