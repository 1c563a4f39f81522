"""Checks that observations are frames that a model can read; the errors say what would make them so."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
from gymnasium import spaces

from lavae_rl.data.preprocessing import LAYOUTS, Preprocessing
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.runs.programs import as_typed

_STACK = (
    "if they are stacked frames, give single ones, and stack tokens instead: flatten=True here, then VecFrameStack of "
    "Stable-Baselines3 or gymnasium.wrappers.FrameStackObservation around it"
)
_RENDER = (
    'make the environment with render_mode="rgb_array" and wrap it in gymnasium.wrappers.AddRenderObservation, which '
    "observes what it renders"
)


def frame_space(space: "spaces.Space[Any]", frame_key: str | None = None) -> spaces.Box:
    """The space of the frames in a space of observations: the space itself, or under ``frame_key`` in a dictionary.

    Raises:
        TypeError: it holds no frames, uint8.
        ValueError: there is no such key.
    """
    found: Any = space
    if frame_key is not None:
        expected = f"expected a dictionary observation with a key {frame_key!r}"
        if not isinstance(space, spaces.Dict):
            raise ValueError(f"{expected}, got {space}: leave frame_key out")
        if frame_key not in space.spaces:
            raise ValueError(f"{expected}, got one with {', '.join(map(repr, space.spaces))}: name one of these")
        found = space.spaces[frame_key]
    if not isinstance(found, spaces.Box) or found.dtype != np.uint8:
        raise TypeError(f"expected frames as a uint8 Box, got {found}: {_to_frames(found, frame_key)}")
    return found


def _to_frames(space: "spaces.Space[Any]", frame_key: str | None) -> str:
    """Code that gives frames where a space holds none."""
    if isinstance(space, spaces.Dict):
        keys = [name for name, part in space.spaces.items() if isinstance(part, spaces.Box) and part.dtype == np.uint8]
        return f"name the key of the frame, {' or '.join(f'frame_key={key!r}' for key in keys)}" if keys else _RENDER
    if not isinstance(space, spaces.Box | spaces.MultiBinary) or len(space.shape or ()) < 2:
        return _RENDER
    low, high = (0, 1) if isinstance(space, spaces.MultiBinary) else (float(space.low.min()), float(space.high.max()))
    if low < 0 or high > 255:
        return _RENDER
    frame = "frame" if frame_key is None else f"frame[{frame_key!r}]"
    value = f"({frame} * 255.0).round().astype(numpy.uint8)" if high <= 1 else f"{frame}.astype(numpy.uint8)"
    box = f"gymnasium.spaces.Box(0, 255, {space.shape}, numpy.uint8)"
    if frame_key is not None:
        value = f"{{**frame, {frame_key!r}: {value}}}"
        box = f"gymnasium.spaces.Dict({{**env.observation_space.spaces, {frame_key!r}: {box}}})"
    return f"wrap each environment in gymnasium.wrappers.TransformObservation(env, lambda frame: {value}, {box})"


def check_frames(name: str, model: LAVAEConfig, prepare: Preprocessing, shape: tuple[int, ...]) -> None:
    """Raise ValueError, with a remedy, if a model cannot read the frames of an environment.

    Args:
        name: of the model.
        model: its configuration.
        prepare: preprocessing of the frames.
        shape: of the environment's frames.
    """
    if (fault := _fault(model, prepare, shape)) is not None:
        fitting = (written(other) for other in _others(model, prepare) if _fault(model, other, shape) is None)
        remedy = next(fitting, None) or _single_frames(prepare, shape)
        raise ValueError(f"model {name!r} reads {model.channels} channels, {fault}{remedy and f': {remedy}'}")
    height, width, _ = prepare.output_shape(shape)
    if model.canvas_size is not None and (height, width) != tuple(model.canvas_size):
        train = as_typed("python pretrain/train_lavae.py --env ID")
        expected = f"{model.canvas_size[0]} x {model.canvas_size[1]}"
        raise ValueError(
            f"model {name!r} reads frames of {expected} pixels, the size of its background, got {height} x {width} "
            "after preprocessing: use the frames that it was trained on, without wrappers or options that resize or "
            f"crop them, or train a model on yours: {train}"
        )
    if min(height, width) < model.sprite_size:
        times = math.ceil(model.sprite_size / min(height, width))
        larger = replace(prepare, resize=(times * height, times * width))
        raise ValueError(
            f"model {name!r} needs frames of at least {model.sprite_size} px a side, got {(height, width)}: "
            f"{written(larger)} enlarges them"
        )


def written(prepare: Preprocessing) -> str:
    """A preprocessing as Python code, without the fields that have their default."""
    values = {entry.name: getattr(prepare, entry.name) for entry in fields(prepare)}
    default = Preprocessing()
    given = [
        f'{name}="{value}"' if isinstance(value, str) else f"{name}={value!r}"
        for name, value in values.items()
        if value != getattr(default, name)
    ]
    return f"Preprocessing({', '.join(given)})"


def _fault(model: LAVAEConfig, prepare: Preprocessing, shape: tuple[int, ...]) -> str | None:
    """Reason why a model cannot read frames of a shape, their size aside."""
    try:
        channels = prepare.output_shape(shape)[2]
    except ValueError as error:
        return str(error)
    if channels != model.channels:
        return f'frames of shape {shape} in layout "{prepare.layout}" have {channels}'
    return None


def _others(model: LAVAEConfig, prepare: Preprocessing) -> Iterator[Preprocessing]:
    """Preprocessings that read another layout or number of channels, the least changed first."""
    for layout in (prepare.layout, *LAYOUTS):
        for channels in (prepare.channels, model.channels):
            if layout != "hw" or prepare.palette is None:
                yield replace(prepare, layout=layout, channels=channels)


def _single_frames(prepare: Preprocessing, shape: tuple[int, ...]) -> str:
    """Remedy that makes single frames of those whose channels are neither grey nor RGB; empty if they are."""
    rank = len(shape)
    channels = (shape[0] if prepare.layout == "chw" else shape[-1]) if rank == 3 else 0
    if channels in (1, 3):
        return ""
    if channels not in (2, 4):
        return _STACK
    kept, what = (1, "grey and alpha") if channels == 2 else (3, "RGB and alpha")
    first = prepare.layout == "chw"
    cut = f"frame[:{kept}]" if first else f"frame[..., :{kept}]"
    box = f"gymnasium.spaces.Box(0, 255, {(kept, *shape[1:]) if first else (*shape[:-1], kept)}, numpy.uint8)"
    return (
        f"{_STACK}; if they are {what}, wrap each environment in "
        f"gymnasium.wrappers.TransformObservation(env, lambda frame: {cut}, {box})"
    )
