"""The survey of an environment's frames: background, sizes and numbers of objects, before anything is trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.core import LAVAECore
from lavae_rl.model.image.background import Pictures, SizedBackground
from lavae_rl.model.image.changing import ChangingPicture
from lavae_rl.model.image.likelihood import as_images
from lavae_rl.model.surprise import PIXEL_NATS
from lavae_rl.pretraining.backgrounds import BackgroundStates, estimate_background
from lavae_rl.pretraining.changing import DIFFERENT, estimate_changing
from lavae_rl.pretraining.components import Components, find_components
from lavae_rl.shapes import Frames

BACKGROUNDS = ("auto", "black", "static", "states", "changing")
"""Kinds of background. "auto" is one of states or, where few pixels have states, one that changes."""
MOST_STATES = 4
"""Most colours that a pixel has."""
MISFIT = 0.25
"""A larger share of pixels that differ from the background is no longer that of objects."""
MAY_CHANGE, CHANGES = 0.1, 0.6
"""If a larger share than the first differs from all states, and of these less than the second from a background that
changes, "auto" takes that."""
Area = tuple[int, int, int, int]
"""(row, column, height, width) in pixels."""

PIXEL_SCALES = 0.05, 0.1
"""Emulators draw without noise, but a smaller standard deviation makes objects of what decoded sprites leave over."""

PRESENCE_WINDOW = 3
"""``LAVAEConfig.presence_window`` of models with enlarged sprites.

Chosen on validation roll-outs of Boxing and Tennis (``benchmarks/detection.py --seeds 5000``), and on an agent's play
of Boxing. There the count is exact in 58 % of the frames with 1, 73 % with 3, and 71 % with 5, which finds surplus
objects."""

_FRAMES, _BATCH, _MAX_VALUES = 240, 24, 2**26
_SMALLEST, _LARGEST = 9, 31


@dataclass(frozen=True)
class Choices:
    """Choices for an environment, made by ``survey`` or by the user; stored in config.json."""

    background: str
    """One of ``BACKGROUNDS``, but "auto"."""
    background_states: int
    """Most colours that a pixel of the background was found to have; 0 if it changes."""
    background_directions: int
    """Number of directions in which it changes; 0 if it does not."""
    sprite_size: int
    """Side of a sprite and its window in pixels."""
    scales: tuple[int, ...]
    """Factors by which they are enlarged."""
    max_objects: int
    """N_max: twice the 95th percentile of the numbers of components, unless the user says."""
    ignore: tuple[Area, ...]
    """Areas whose pixels always show the background."""
    side: float
    """75th percentile of the longer sides of components, in pixels."""
    largest_side: float
    """95th percentile likewise."""
    count: float
    """Median number of components in a frame."""
    largest_count: float
    """95th percentile likewise."""
    different: float
    """Mean share of the pixels of a frame that differ from the background."""
    pixel_scale: float
    """Standard deviation of the likelihood: twice that of the noise around the background, within ``PIXEL_SCALES``."""


@dataclass(frozen=True)
class Survey:
    """Findings of a survey: choices, background, and some frames with their surprise."""

    choices: Choices
    background: SizedBackground
    frames: Frames
    nats: Float[np.ndarray, "batch height width"]
    components: Sequence[Components]

    def model_config(self, **fields: Any) -> LAVAEConfig:
        """The configuration of a model for these frames."""
        choices = self.choices
        names = ("sprite_size", "scales", "max_objects", "background_states", "background_directions", "pixel_scale")
        chosen: dict[str, Any] = {name: getattr(choices, name) for name in names}
        chosen |= {"networks": "world", "likelihood": "normal", "composition": "over"}
        chosen["peak_window"] = _peak_window(choices.sprite_size)
        chosen["presence_window"] = PRESENCE_WINDOW if max(choices.scales) > 1 else 1
        return LAVAEConfig(self.frames.shape[3], canvas_size=self.frames.shape[1:3], **chosen, **fields)

    def install(self, model: LAVAECore) -> None:
        """Copy the background into a model of ``model_config``."""
        cast("SizedBackground", model.background).load_state_dict(self.background.state_dict())


def survey(
    source: FrameSource,
    episodes: Int[np.ndarray, " offsets"],
    background: str = "auto",
    sprite_size: int | None = None,
    max_objects: int | None = None,
    ignore: Sequence[Area] = (),
) -> Survey:
    """Look at some hundred frames of a recording and choose what a model of them needs.

    Args:
        source: frames in the order of time.
        episodes: index of the first frame of each episode, and the number of frames at the end.
        background: one of ``BACKGROUNDS``.
        sprite_size: side of sprites in pixels, at the smallest scale; None chooses by the sizes of components.
        max_objects: N_max; None chooses by their numbers.
        ignore: areas that are not to be looked at.

    Raises:
        ValueError: an unknown background, areas off the frame, or frames in which nothing differs from the background.
    """
    if background not in BACKGROUNDS:
        raise ValueError(f"expected a background of {', '.join(BACKGROUNDS)}, got {background!r}")
    height, width = source.shape[:2]
    ignored = _ignored(ignore, (height, width))
    number = min(_FRAMES, len(source), max(1, _MAX_VALUES // int(np.prod(source.shape))))
    frames = source[np.linspace(0, len(source) - 1, number).round().astype(int)]
    behind = _background(background, source, episodes, frames, ignored)
    squares = _squares(frames, behind)
    pixel_scale = _pixel_scale(squares, source.shape[2])
    if isinstance(behind, ChangingPicture):
        behind.pixel_scale = pixel_scale
    nats = squares / (2 * pixel_scale**2)
    components = [find_components(each) for each in nats]
    chosen = _choose(components, (height, width), sprite_size, max_objects)
    kind = "changing" if isinstance(behind, ChangingPicture) else background.replace("auto", "states")
    chosen["background_states"] = len(behind.states) if isinstance(behind, Pictures) else 0
    chosen["different"] = float((nats > PIXEL_NATS).mean())
    chosen["background_directions"] = len(behind.directions) if isinstance(behind, ChangingPicture) else 0
    choices = Choices(kind, ignore=tuple(ignore), pixel_scale=pixel_scale, **chosen)
    return Survey(choices, behind, frames, nats, components)


def _background(
    kind: str,
    source: FrameSource,
    episodes: Int[np.ndarray, " offsets"],
    frames: Frames,
    ignored: Bool[np.ndarray, "height width"],
) -> SizedBackground:
    if kind == "changing":
        return estimate_changing(frames, ignored, PIXEL_SCALES[0])[0]
    states = BackgroundStates(np.zeros((1, *source.shape), np.uint8), np.ones((1, *source.shape[:2])))
    if kind != "black":
        states = estimate_background(source, episodes, 1 if kind == "static" else MOST_STATES)
    pictures = Pictures(len(states.colors), source.shape[2], (source.shape[0], source.shape[1]))
    pictures.states.copy_(torch.from_numpy(states.colors).permute(0, 3, 1, 2))
    pictures.frequency.copy_(torch.from_numpy(states.frequency / states.frequency.sum(0)))
    pictures.ignored.copy_(torch.from_numpy(ignored))
    if kind != "auto":
        return pictures
    different = float((_squares(frames, pictures) > source.shape[2] * DIFFERENT**2).mean())
    if different < MAY_CHANGE:
        return pictures
    changing, left = estimate_changing(frames, ignored, PIXEL_SCALES[0])
    return changing if left < CHANGES * different else pictures


def _choose(
    components: Sequence[Components], canvas_size: tuple[int, int], sprite_size: int | None, max_objects: int | None
) -> dict[str, Any]:
    """Windows and N_max by the sizes and numbers of components, with these."""
    sides = np.concatenate([each.box[:, 2:].max(axis=1, initial=0) for each in components])
    if not len(sides):
        raise ValueError(
            f"expected frames in which something moves, got {len(components)} that show their background alone; "
            "record other frames, or leave out an --ignore"
        )
    side, largest_side = np.percentile(sides, [75, 95]).tolist()
    count, largest_count = np.percentile([len(each.box) for each in components], [50, 95]).tolist()
    size, scales = _windows(side, largest_side, sprite_size, min(canvas_size))
    most = max_objects or max(4, round(2 * largest_count))
    found = {"side": side, "largest_side": largest_side, "count": count, "largest_count": largest_count}
    return {"sprite_size": size, "scales": scales, "max_objects": most, **found}


def _peak_window(sprite_size: int) -> int:
    """A third of a sprite, odd: with less, large objects are found twice, with more, close ones once."""
    third = sprite_size // 3
    return max(5, third if third % 2 else third - 1)


def _windows(side: float, largest: float, size: int | None, shortest: int) -> tuple[int, tuple[int, ...]]:
    """Side of the smallest window, and the scales that cover objects from ``side`` to ``largest`` pixels."""
    factor = 1
    if size is None:
        wanted = 1.15 * side + 3
        while wanted / factor > _LARGEST:
            factor *= 2
        size = max(_SMALLEST, int(wanted / factor) // 2 * 2 + 1)
    scales = [scale for scale in (1, 2, 4, 8) if scale <= factor]
    while size * scales[-1] < largest + 2 and size * scales[-1] * 2 <= shortest:
        scales.append(scales[-1] * 2)
    return size, tuple(scales)


def _ignored(areas: Sequence[Area], canvas_size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    ignored = np.zeros(canvas_size, bool)
    for row, column, height, width in areas:
        if (
            min(row, column) < 0
            or min(height, width) < 1
            or row + height > canvas_size[0]
            or column + width > canvas_size[1]
        ):
            raise ValueError(
                f"expected --ignore ROW,COLUMN,HEIGHT,WIDTH inside the frames of {canvas_size[0]} x {canvas_size[1]} "
                f"pixels, got {row},{column},{height},{width}"
            )
        ignored[row : row + height, column : column + width] = True
    if ignored.all():
        raise ValueError("expected --ignore to leave a part of the frame, got areas that cover all of it")
    return ignored


def _squares(frames: Frames, background: SizedBackground) -> Float[np.ndarray, "batch height width"]:
    """Squared differences of pixels from the background, summed over channels."""
    maps = []
    for start in range(0, len(frames), _BATCH):
        images = background.cover(as_images(torch.from_numpy(frames[start : start + _BATCH])))
        maps.append((images - background(images)).square().sum(1).numpy())
    return np.concatenate(maps)


def _pixel_scale(squares: Float[np.ndarray, "batch height width"], channels: int) -> float:
    """Twice the standard deviation of the noise around the background, within ``PIXEL_SCALES``."""
    # The median of squares summed over channels is that of a chi-squared variable (Wilson & Hilferty 1931).
    noise = math.sqrt(float(np.median(squares)) / (channels * (1 - 2 / (9 * channels)) ** 3))
    return min(max(2 * noise, PIXEL_SCALES[0]), PIXEL_SCALES[1])
