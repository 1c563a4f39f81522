"""The encoder that all wrappers share: a batch of frames to a batch of observations, with one forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from lavae_rl.data.frame_maximum import FrameMaximum
from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.model import checkpoint
from lavae_rl.model.image.background import SizedBackground
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.options import named_options, option_names
from lavae_rl.perception.binary import BinaryFrames
from lavae_rl.perception.fit import check_frames
from lavae_rl.perception.tokens import Observations, TokenLayout
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig
from lavae_rl.perception.watch import EncoderWatch
from lavae_rl.runs.config import CONFIG_FILE, parse, read_json
from lavae_rl.shapes import Frames

ELSEWHERE = {
    "preprocessing=Preprocessing({}=...)": option_names(Preprocessing),
    "tracking=TrackingConfig({}=...)": option_names(TrackingConfig),
    "LAVAEObservation(..., {}=...), the wrapper of a single environment": ["render_objects"],
}
"""Options that a caller may look for among those of ``EncoderConfig``, by their right place."""


@named_options(ELSEWHERE)
@dataclass(frozen=True)
class EncoderConfig:
    """The options that the wrappers share. All of them can be recorded, pickled and sent to another process.

    Raises ValueError on options that do not fit together, and TypeError on names that are none of them.
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
    """Device of the model."""
    box: bool = False
    """Append width and height of the box of each object to its token."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", str(self.model))
        tracking = {} if self.tracking == "hungarian" else self.tracking
        if isinstance(tracking, Mapping):
            object.__setattr__(self, "tracking", TrackingConfig(**tracking))
        if isinstance(self.preprocessing, Mapping):
            object.__setattr__(self, "preprocessing", Preprocessing(**self.preprocessing))
        if not isinstance(self.preprocessing, Preprocessing | None):
            raise ValueError(f"expected preprocessing None or a Preprocessing, got {self.preprocessing!r}")
        if not isinstance(self.tracking, TrackingConfig | None):
            raise ValueError(f'expected tracking None, "hungarian" or a TrackingConfig, got {self.tracking!r}')
        if self.velocity and self.tracking is None:
            raise ValueError('velocity needs the same object in the same slot: add tracking="hungarian"')


def stored_preprocessing(folder: Path) -> Preprocessing:
    """The preprocessing stored with the weights of a model; the default, which does nothing, if there is none."""
    return parse(Preprocessing, read_json(folder).get("preprocessing") or {}, folder / CONFIG_FILE)


class FrameEncoder:
    """Encoder of the frames of ``num_envs`` environments to object tokens.

    It pickles without weights, which are loaded when they are first used. An ``EncoderWatch`` warns where tokens cannot
    stand for what the frames show.

    Raises:
        FileNotFoundError: no such model.
        ValueError: frames that do not fit the model; the message names the option that mends it.
    """

    def __init__(self, config: EncoderConfig, frame_space: spaces.Box, num_envs: int = 1) -> None:
        self.config = config
        self._folder = checkpoint.find(config.model).resolve()  # weights are loaded later, maybe from elsewhere
        self.prepare = cast("Preprocessing", config.preprocessing or stored_preprocessing(self._folder))
        model = checkpoint.read_config(self._folder, LAVAE)
        options = {name: getattr(config, name) for name in ("presence", "velocity", "box", "flatten")}
        self.layout = TokenLayout(config.max_objects, model.latents, **options)
        check_frames(config.model, model, self.prepare, frame_space.shape)
        tracking = cast("TrackingConfig | None", config.tracking)
        self._tracker = SlotTracker(config.max_objects, tracking, num_envs) if tracking else None
        self.area = _area(self.prepare, frame_space.shape)
        self._maximum = FrameMaximum(num_envs) if self.prepare.max_frames == 2 else None
        self.watch = EncoderWatch(config.model, self.prepare)
        self.binary = BinaryFrames() if model.likelihood == "bernoulli" else None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model"}

    @cached_property
    def model(self) -> LAVAE:
        """The model, loaded when it is first used."""
        return LAVAE.from_pretrained(self._folder, self.config.device)

    def find(self, frames: np.ndarray, owners: np.ndarray | None = None) -> Objects:
        """Find the objects of a batch of frames, NumPy, in ``max_objects`` slots.

        ``owners``, (batch,), are the indices of the environments whose next frames they are, by default 0, 1, ...

        Raises:
            ValueError: the first frames are not binary, of a model that reads binary frames; see ``BinaryFrames``.
        """
        return self._find(self._latest(frames, np.arange(len(frames)) if owners is None else owners))

    def prepared(self, frames: np.ndarray) -> Frames:
        """Frames as the model reads them: preprocessed, and for a model of binary frames as ``BinaryFrames`` gives."""
        frames = self.prepare(frames)
        return frames if self.binary is None else self.binary(frames)

    def _latest(self, frames: np.ndarray, owners: np.ndarray) -> np.ndarray:
        return frames if self._maximum is None else self._maximum.update(frames, owners)

    def _find(self, frames: np.ndarray) -> Objects:
        prepared = self.prepared(frames)
        # Boxes cost another pass, and overlays of models without a background draw crosses.
        boxes = self.config.box or isinstance(self.model.background, SizedBackground)
        objects = self.model.encode(prepared, self.config.max_objects, boxes)
        self.watch.look(self.model, frames, prepared)
        return objects

    def reset(self, envs: np.ndarray) -> None:
        """Forget tracks and last frames of the given environments, in which a new episode begins."""
        self._forget_tracks(envs)
        if self._maximum is not None:
            self._maximum.reset(envs)

    def _forget_tracks(self, envs: np.ndarray) -> None:
        if self._tracker is not None:
            self._tracker.reset(envs)

    def observe(self, objects: Objects, owners: np.ndarray) -> tuple[Objects, Observations]:
        """Return the objects of a batch, with tracking in the slots that they keep, and the observations.

        ``owners``, (batch,), are the indices of the environments whose next frames hold ``objects``, made by ``find``.
        """
        objects, velocity = (objects, None) if self._tracker is None else self._tracker.track(objects, owners)
        return objects, self.layout.tokens(objects, velocity)

    def encode(self, frames: np.ndarray, started: np.ndarray, finals: np.ndarray) -> tuple[Observations, Observations]:
        """Compute the observations of the frames of all environments, and in the same pass of final frames.

        ``started`` are the indices of the environments in which ``frames`` begin a new episode, and ``finals`` the last
        frames of their old episodes, or none.
        """
        ended, everyone = started[: len(finals)], np.arange(len(frames))
        finals = self._latest(finals, ended)
        if self._maximum is not None:
            self._maximum.reset(started)
        objects = self._find(np.concatenate([finals, self._latest(frames, everyone)]))
        _, last = self.observe(objects[: len(ended)], ended)
        self._forget_tracks(started)
        _, new = self.observe(objects[len(ended) :], everyone)
        return new, last


def _area(prepare: Preprocessing, shape: tuple[int, ...]) -> Sequence[float]:
    """(top, left, height, width) of what is left of frames, as shares of their sides."""
    if prepare.crop is None:
        return (0.0, 0.0, 1.0, 1.0)
    sides = shape[1:] if prepare.layout == "chw" else shape[:2]
    return tuple(pixels / side for pixels, side in zip(prepare.crop, (*sides, *sides), strict=True))
