"""Metrics of detection on frames of any environment: predicted boxes against true boxes.

The rule is that of SPACE+MOC (Delfosse et al., "Boosting Object Representation Learning via Motion and Object
Continuity", 2023) and of the work that follows it. The score of a prediction for a true box is its centre divergence,

    score = 1 - |distance of the centres| / diagonal of the true box,

where rows are measured in heights and columns in widths of the frame. Within a frame, each prediction in order of its
confidence takes the true box for which its score is best. It is a hit if that score is above 0.5 and no earlier
prediction has hit that box. Sizes of predicted boxes play no role.

Boxes are (row, column, height, width) in pixels, where row and column are those of the top left corner. The caller
leaves out what lies outside the playfield (scores, lives) from predictions and truth alike.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real

MIN_SCORE = 0.5
"""A hit scores more than this (SPACE+MOC)."""
NEAR_PIXELS = 5.0
"""A *near* hit has its centre at less than this distance from the true one."""

FrameBoxes = Real[np.ndarray, "_ 4"]
"""The boxes of one frame."""


@dataclass(frozen=True)
class Detection:
    """Counts of hits and misses over frames, and the metrics they give; ``+`` pools those of several sets of frames.

    A metric whose denominator is 0 is NaN: precision without predictions, recall without true objects, F1 without both.
    """

    frames: int = 0
    """Number of frames."""
    exact: int = 0
    """Number of frames with as many predictions as true objects."""
    predictions: int = 0
    """Number of predictions."""
    objects: int = 0
    """Number of true objects."""
    hits: int = 0
    """Number of true objects that are hit, which is that of predictions that hit."""
    near_hits: int = 0
    """Number of hits where the rule is a distance below ``NEAR_PIXELS`` instead of the score."""
    duplicates: int = 0
    """Number of predictions that score above ``MIN_SCORE`` but whose best true box is hit already."""
    visible_objects: int = 0
    """Number of true objects that can be seen."""
    visible_hits: int = 0
    """Number of true objects that can be seen and are hit."""
    visible_exact: int = 0
    """Number of frames with as many predictions as true objects that can be seen."""
    switches: int = 0
    """Number of hits of an object whose previous hit came from another slot."""
    tracked_frames: int = 0
    """Number of frames in which slots and identities were compared."""

    @property
    def precision(self) -> float:
        """Share of predictions that hit."""
        return _ratio(self.hits, self.predictions)

    @property
    def recall(self) -> float:
        """Share of true objects that are hit."""
        return _ratio(self.hits, self.objects)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where one of them is 0 or only one of them is defined."""
        return _ratio(2 * self.hits, self.predictions + self.objects)

    @property
    def near_f1(self) -> float:
        """F1 where a prediction hits the nearest true centre if that is closer than ``NEAR_PIXELS`` and still free."""
        return _ratio(2 * self.near_hits, self.predictions + self.objects)

    @property
    def exact_count(self) -> float:
        """Share of frames with as many predictions as true objects."""
        return _ratio(self.exact, self.frames)

    @property
    def duplicates_per_100(self) -> float:
        """Duplicates per 100 true objects."""
        return _ratio(100 * self.duplicates, self.objects)

    @property
    def visible_share(self) -> float:
        """Share of true objects that can be seen."""
        return _ratio(self.visible_objects, self.objects)

    @property
    def visible_recall(self) -> float:
        """Share of the true objects that can be seen that are hit."""
        return _ratio(self.visible_hits, self.visible_objects)

    @property
    def visible_exact_count(self) -> float:
        """Share of frames with as many predictions as true objects that can be seen."""
        return _ratio(self.visible_exact, self.frames)

    @property
    def visible_f1(self) -> float:
        """F1 over the true objects that can be seen; hits of the others count neither for nor against it."""
        judged = self.predictions - (self.hits - self.visible_hits)
        return _ratio(2 * self.visible_hits, judged + self.visible_objects)

    @property
    def switches_per_100(self) -> float:
        """Identity switches per 100 frames."""
        return _ratio(100 * self.switches, self.tracked_frames)

    def summary(self) -> dict[str, float]:
        """All metrics by name, shares as fractions."""
        names = [name for name, value in vars(Detection).items() if isinstance(value, property)]
        return {name: getattr(self, name) for name in names}

    def __add__(self, other: "Detection") -> "Detection":
        return Detection(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


class _Match(NamedTuple):
    """The true box that each prediction takes (-1: none is good enough), and whether it is the first to take it."""

    taken: Int[np.ndarray, " predicted"]
    first: Bool[np.ndarray, " predicted"]

    @property
    def hit(self) -> Int[np.ndarray, " hits"]:
        """Indices of the true boxes that are hit."""
        return self.taken[self.first]


def _match(cost: Float[np.ndarray, "predicted true"], limit: float) -> _Match:
    """Let each prediction, in order, take the cheapest true box if it costs less than ``limit``; the first on a tie."""
    if not cost.size:
        return _Match(np.full(len(cost), -1), np.zeros(len(cost), bool))
    best = cost.argmin(1)
    taken = np.where(cost[np.arange(len(cost)), best] < limit, best, -1)
    first = np.zeros(len(cost), bool)
    first[np.unique(taken, return_index=True)[1]] = True
    return _Match(taken, first & (taken >= 0))


def _match_frame(predicted: FrameBoxes, true: FrameBoxes, canvas_size: tuple[int, int]) -> tuple[_Match, _Match]:
    """Match by score and by distance.

    All terms are whole numbers where the boxes are, so ties are exact: half the diagonal away is no hit.
    """
    height, width = canvas_size
    predicted, true = predicted.astype(float), true.astype(float)
    # Twice the difference of the centres, which need not lie on whole pixels.
    gap = (2 * predicted[:, None, :2] + predicted[:, None, 2:]) - (2 * true[:, :2] + true[:, 2:])
    scale = np.square([float(width), float(height)])  # both fractions times height * width
    divergence = (np.square(gap) @ scale) / (np.square(true[:, 2:]) @ scale)  # (2 * distance / diagonal) ** 2
    by_score = _match(divergence, (2 * (1 - MIN_SCORE)) ** 2)
    return by_score, _match(np.square(gap).sum(2), (2 * NEAR_PIXELS) ** 2)


def measure_detection(
    predicted: Sequence[FrameBoxes],
    true: Sequence[FrameBoxes],
    canvas_size: tuple[int, int],
    *,
    visible: Sequence[Bool[np.ndarray, " _"]] | None = None,
    slots: Sequence[Int[np.ndarray, " _"]] | None = None,
    identities: Sequence[Sequence[Hashable] | np.ndarray] | None = None,
) -> Detection:
    """Compare the predicted with the true boxes of frames.

    Args:
        predicted: boxes of each frame, the most confident first; a box of size 0 stands for a centre.
        true: boxes of each frame.
        canvas_size: (height, width) of the frames in pixels.
        visible: for each frame which of its true objects can be seen; by default all.
        slots: for each frame, in order of time, the slot of each prediction in a tracker. It needs ``identities``.
        identities: for each frame what identifies each true object, in that no other object of any episode has it.

    Returns:
        The counts and metrics. Without ``slots``, ``switches_per_100`` is NaN.

    Raises:
        ValueError: lists of different lengths, boxes that are not finite, true boxes without height or width, a
            canvas without pixels, or only one of ``slots`` and ``identities``.

    >>> true = np.array([[10, 10, 8, 6], [40, 10, 8, 6]])
    >>> found = measure_detection([true + [2, 0, 0, 0]], [true], (64, 64))
    >>> found.f1, found.exact_count, measure_detection([true[:1]], [true], (64, 64)).recall
    (1.0, 1.0, 0.5)
    """
    _check_boxes(predicted, true, canvas_size)
    seen = [np.ones(len(boxes), bool) for boxes in true] if visible is None else visible
    _check_lengths("visible", seen, "true", true)
    matches = [_match_frame(*boxes, canvas_size) for boxes in zip(predicted, true, strict=True)]
    total = sum(map(_measure_frame, matches, seen), Detection())
    if slots is None and identities is None:
        return total
    if slots is None or identities is None:
        raise ValueError("expected both slots and identities, got one of them: add the other to count switches")
    _check_lengths("slots", slots, "predicted", predicted)
    _check_lengths("identities", identities, "true", true)
    switches = _switches([by_score for by_score, _ in matches], slots, identities)
    return total + Detection(switches=switches, tracked_frames=len(matches))


def _measure_frame(matches: tuple[_Match, _Match], visible: Bool[np.ndarray, " true"]) -> Detection:
    by_score, by_distance = matches
    predictions, objects, hit = len(by_score.taken), len(visible), by_score.hit
    return Detection(
        frames=1,
        exact=int(predictions == objects),
        predictions=predictions,
        objects=objects,
        hits=len(hit),
        near_hits=len(by_distance.hit),
        duplicates=int((by_score.taken >= 0).sum()) - len(hit),
        visible_objects=int(visible.sum()),
        visible_hits=int(visible[hit].sum()),
        visible_exact=int(predictions == visible.sum()),
    )


def _switches(
    matches: Sequence[_Match], slots: Sequence[np.ndarray], identities: Sequence[Sequence[Hashable] | np.ndarray]
) -> int:
    """Count the hits of an object whose previous hit, in whatever frame, came from another slot."""
    last: dict[Hashable, int] = {}
    switches = 0
    for match, slot, identity in zip(matches, slots, identities, strict=True):
        for place, index in zip(slot[match.first].tolist(), match.hit, strict=True):
            switches += last.get(identity[index], place) != place
            last[identity[index]] = place
    return switches


def _check_boxes(predicted: Sequence[FrameBoxes], true: Sequence[FrameBoxes], canvas_size: tuple[int, int]) -> None:
    if min(canvas_size) < 1:
        raise ValueError(f"expected a canvas of at least one pixel, got {canvas_size}")
    if len(predicted) != len(true):
        raise ValueError(f"expected predictions and truth of the same frames, got {len(predicted)} and {len(true)}")
    for i, (boxes, truth) in enumerate(zip(predicted, true, strict=True)):
        for name, values in (("predicted", boxes), ("true", truth)):
            if values.ndim != 2 or values.shape[1] != 4 or not np.isfinite(values).all():
                raise ValueError(f"expected finite {name} boxes of shape (boxes, 4), got {values} in frame {i}")
        if (boxes[:, 2:] < 0).any() or (truth[:, 2:] <= 0).any():
            raise ValueError(
                "expected (row, column, height, width) with true sizes above 0 and predicted ones of at least 0, "
                f"got {truth.tolist()} and {boxes.tolist()} in frame {i}: leave out what is unused"
            )


def _check_lengths(name: str, values: Sequence[object], other: str, boxes: Sequence[FrameBoxes]) -> None:
    lengths, expected = [len(each) for each in values], [len(each) for each in boxes]  # type: ignore[arg-type]
    if lengths != expected:
        raise ValueError(f"expected {name} to have one entry for each {other} box of each frame, got {lengths}")
