"""The encoder that all wrappers share: a batch of frames to a batch of observations, with one forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.model import checkpoint
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.perception.tokens import Observations, TokenLayout
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig, track
from lavae_rl.runs.config import CONFIG_FILE, parse, read_json


@dataclass(frozen=True)
class EncoderConfig:
    """The options that the wrappers share. All of them can be recorded, pickled and sent to another process.

    Raises ValueError on options that do not fit together.
    """

    model: str = "multi-dsprites"
    """Bundled name, or folder with config.json and model.safetensors."""
    max_objects: int = 8
    """Number K of slots."""
    flatten: bool = False
    """A flat vector instead of tokens and mask; see ``TokenLayout``."""
    presence: bool = False
    """Append presence to each token."""
    velocity: bool = False
    """Append velocity to each token; needs tracking."""
    tracking: str | TrackingConfig | Mapping[str, Any] | None = None
    """None, "hungarian", or a ``TrackingConfig`` (or its fields, as a dictionary that JSON can hold)."""
    preprocessing: Preprocessing | Mapping[str, Any] | None = None
    """Preprocessing of the frames (or its fields, as above); None is the one stored with the weights."""
    frame_key: str | None = None
    """Key of the frame in dictionary observations; the other keys are kept."""
    device: str = "cpu"
    """Where the model runs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", str(self.model))
        tracking = {} if self.tracking == "hungarian" else self.tracking
        if isinstance(tracking, Mapping):
            object.__setattr__(self, "tracking", TrackingConfig(**tracking))
        if not isinstance(self.preprocessing, Preprocessing | None):
            object.__setattr__(self, "preprocessing", Preprocessing(**self.preprocessing))
        if not isinstance(self.tracking, TrackingConfig | None):
            raise ValueError(f'expected tracking None, "hungarian" or a TrackingConfig, got {self.tracking!r}')
        if self.velocity and self.tracking is None:
            raise ValueError('velocity needs the same object in the same slot: add tracking="hungarian"')


def stored_preprocessing(folder: Path) -> Preprocessing:
    """The preprocessing stored with the weights of a model; the default, which does nothing, if there is none."""
    return parse(Preprocessing, read_json(folder).get("preprocessing") or {}, folder / CONFIG_FILE)


class FrameEncoder:
    """Encoder of the frames of ``num_envs`` environments to object tokens.

    It pickles without weights, which are loaded when they are first used.

    Raises:
        FileNotFoundError: no such model.
        ValueError: frames that do not fit the model; the message names the option that mends it.
    """

    def __init__(self, config: EncoderConfig, frame_space: spaces.Box, num_envs: int = 1) -> None:
        self.config = config
        self._folder = checkpoint.find(config.model)
        self.prepare = cast("Preprocessing", config.preprocessing or stored_preprocessing(self._folder))
        model = checkpoint.read_config(self._folder, LAVAE)
        self.layout = TokenLayout(config.max_objects, model.latents, config.presence, config.velocity, config.flatten)
        self._check(frame_space.shape, model.channels, model.sprite_size)
        tracking = cast("TrackingConfig | None", config.tracking)
        self._trackers = [SlotTracker(config.max_objects, tracking) for _ in range(num_envs)] if tracking else []

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model"}

    @cached_property
    def model(self) -> LAVAE:
        """The model, loaded when it is first used."""
        return LAVAE.from_pretrained(self._folder, self.config.device)

    def _check(self, shape: tuple[int, ...], channels: int, sprite_size: int) -> None:
        *size, given = self.prepare.output_shape(shape)
        if given != channels:
            remedy = f"Preprocessing(channels={channels}) turns grey into RGB and back"
            if self.prepare.layout == "hwc" and shape[0] == channels:
                remedy = 'channel-first frames need Preprocessing(layout="chw")'
            raise ValueError(
                f"model {self.config.model!r} reads {channels} channels, frames of shape {shape} in layout "
                f'"{self.prepare.layout}" have {given}: {remedy}'
            )
        if min(size) < sprite_size:
            raise ValueError(
                f"model {self.config.model!r} needs frames of at least {sprite_size} px a side, got {tuple(size)}: "
                "Preprocessing(resize=(height, width)) enlarges them"
            )

    def find(self, frames: np.ndarray) -> Objects:
        """Find the objects of a batch of frames, NumPy, without their boxes, in ``max_objects`` slots.

        Raises:
            ValueError: frames that are not binary.
        """
        return self.model.encode(self.prepare(frames), self.config.max_objects, boxes=False)

    def reset(self, envs: np.ndarray) -> None:
        """Forget the tracks of the given environments, in which a new episode begins."""
        for index in envs if self._trackers else ():
            self._trackers[index].reset()

    def observe(self, objects: Objects, owners: np.ndarray) -> tuple[Objects, Observations]:
        """Return the objects of a batch, with tracking in the slots that they keep, and the observations.

        ``owners``, (batch,), are the indices of the environments whose next frames hold ``objects``, made by ``find``.
        """
        objects, velocity = track(objects, self._trackers, owners) if self._trackers else (objects, None)
        return objects, self.layout.tokens(objects, velocity)

    def encode(self, frames: np.ndarray, started: np.ndarray, finals: np.ndarray) -> tuple[Observations, Observations]:
        """Compute the observations of the frames of all environments, and in the same pass of final frames.

        ``started`` are the indices of the environments in which ``frames`` begin a new episode, and ``finals`` the last
        frames of their old episodes, or none.
        """
        objects, ended = self.find(np.concatenate([finals, frames])), len(finals)
        _, last = self.observe(objects[:ended], started[:ended])
        self.reset(started)
        _, new = self.observe(objects[ended:], np.arange(len(frames)))
        return new, last
