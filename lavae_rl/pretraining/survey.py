"""The survey of an environment's frames: background, sizes and numbers of objects, before anything is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.core import LAVAECore
from lavae_rl.model.image.background import Pictures
from lavae_rl.model.image.likelihood import Normal, as_images
from lavae_rl.model.surprise import surprise
from lavae_rl.pretraining.backgrounds import BackgroundStates, estimate_background
from lavae_rl.pretraining.components import Components, find_components
from lavae_rl.shapes import Frames

BACKGROUNDS = {"black": 0, "static": 1, "states": 4}
"""Kinds of background, and the most colours that a pixel of each has."""
Area = tuple[int, int, int, int]
"""(row, column, height, width) in pixels."""

_FRAMES, _BATCH = 240, 24
_SMALLEST, _LARGEST = 9, 31


@dataclass(frozen=True)
class Choices:
    """Choices for an environment, made by ``survey`` or by the user; stored in config.json."""

    background: str
    """A key of ``BACKGROUNDS``."""
    background_states: int
    """Most colours that a pixel of the background was found to have."""
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


@dataclass(frozen=True)
class Survey:
    """What was found: choices, background, and some frames with their surprise."""

    choices: Choices
    states: BackgroundStates
    ignored: Bool[np.ndarray, "height width"]
    frames: Frames
    nats: Float[np.ndarray, "batch height width"]
    components: Sequence[Components]

    def model_config(self, **fields: Any) -> LAVAEConfig:
        """The configuration of a model for these frames."""
        choices = self.choices
        names = ("sprite_size", "scales", "max_objects", "background_states")
        chosen: dict[str, Any] = {name: getattr(choices, name) for name in names}
        chosen |= {"networks": "world", "likelihood": "normal", "composition": "over"}
        chosen["peak_window"] = _peak_window(choices.sprite_size)
        return LAVAEConfig(self.frames.shape[3], canvas_size=self.frames.shape[1:3], **chosen, **fields)

    def install(self, model: LAVAECore) -> None:
        """Copy the background into a model of ``model_config``."""
        fill(cast("Pictures", model.background), self.states, self.ignored)


def fill(background: Pictures, states: BackgroundStates, ignored: Bool[np.ndarray, "height width"]) -> None:
    """Copy states and ignored pixels into a background of as many states."""
    background.states.copy_(torch.from_numpy(states.colors).permute(0, 3, 1, 2))
    background.frequency.copy_(torch.from_numpy(states.frequency / states.frequency.sum(0)))
    background.ignored.copy_(torch.from_numpy(ignored))


def survey(
    source: FrameSource,
    episodes: Int[np.ndarray, " offsets"],
    background: str = "states",
    sprite_size: int | None = None,
    max_objects: int | None = None,
    ignore: Sequence[Area] = (),
) -> Survey:
    """Look at some hundred frames of a recording and choose what a model of them needs.

    Args:
        source: frames in the order of time.
        episodes: index of the first frame of each episode, and the number of frames at the end.
        background: a key of ``BACKGROUNDS``.
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
    states = BackgroundStates(np.zeros((1, *source.shape), np.uint8), np.ones((1, height, width)))
    if background != "black":
        states = estimate_background(source, episodes, BACKGROUNDS[background])
    frames = source[np.linspace(0, len(source) - 1, min(_FRAMES, len(source))).round().astype(int)]
    nats = _surprise(frames, states, ignored)
    components = [find_components(each) for each in nats]
    chosen = _choose(components, (height, width), sprite_size, max_objects)
    choices = Choices(background, len(states.colors), ignore=tuple(ignore), **chosen)
    return Survey(choices, states, ignored, frames, nats, components)


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


def _surprise(frames: Frames, states: BackgroundStates, ignored: np.ndarray) -> Float[np.ndarray, "batch height width"]:
    likelihood = Normal(frames.shape[3], LAVAEConfig.pixel_scale)
    pictures = Pictures(len(states.colors), frames.shape[3], (frames.shape[1], frames.shape[2]))
    fill(pictures, states, ignored)
    maps = []
    for start in range(0, len(frames), _BATCH):
        images = pictures.cover(as_images(likelihood.check(frames[start : start + _BATCH], torch.device("cpu"))))
        maps.append(surprise(likelihood, images, pictures(images)).numpy())
    return np.concatenate(maps)
