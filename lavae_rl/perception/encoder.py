"""The core of all fronts: a batch of frames to a batch of observations, with one forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from lavae_rl.model import pretrained
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Objects
from lavae_rl.perception.preprocessing import Preprocessing
from lavae_rl.perception.tokens import Observations, TokenLayout
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig, track


@dataclass(frozen=True)
class EncoderConfig:
    """What the fronts have in common. All of it can be recorded, pickled and sent to another process."""

    model: str = "multi-dsprites"
    """Bundled name, or folder with config.json and model.safetensors."""
    max_objects: int = 8
    """Number of slots."""
    flatten: bool = False
    """A flat vector instead of tokens and mask; see ``TokenLayout``."""
    presence: bool = False
    """Append presence to each token."""
    velocity: bool = False
    """Append velocity to each token; needs tracking."""
    tracking: str | TrackingConfig | Mapping[str, Any] | None = None
    """None, "hungarian", or a ``TrackingConfig`` (or its fields, as a dictionary that JSON can hold)."""
    preprocessing: Preprocessing | Mapping[str, Any] = field(default_factory=Preprocessing)
    """How frames become what the model reads (or its fields, as a dictionary that JSON can hold)."""
    frame_key: str | None = None
    """Key of the frame in dictionary observations; the other keys are kept."""
    device: str = "cpu"
    """Where the model runs."""

    def __post_init__(self) -> None:
        if isinstance(self.tracking, str) and self.tracking != "hungarian":
            raise ValueError(f'expected tracking None, "hungarian" or a TrackingConfig, got {self.tracking!r}')
        if self.tracking == "hungarian" or isinstance(self.tracking, Mapping):
            fields = self.tracking if isinstance(self.tracking, Mapping) else {}
            object.__setattr__(self, "tracking", TrackingConfig(**fields))
        if isinstance(self.preprocessing, Mapping):
            object.__setattr__(self, "preprocessing", Preprocessing(**self.preprocessing))
        if self.velocity and self.tracking is None:
            raise ValueError('velocity needs to know which object is which: add tracking="hungarian"')


class FrameEncoder:
    """Encodes the frames of ``num_envs`` environments. Pickles without weights: they are loaded again when needed."""

    def __init__(self, config: EncoderConfig, frame_space: "spaces.Space[Any]", num_envs: int = 1) -> None:
        self.config = config
        model = pretrained.read_config(pretrained.find(config.model))
        self.layout = TokenLayout(config.max_objects, model.latents, config.presence, config.velocity, config.flatten)
        self.canvas_size = self._check(frame_space, model.channels, model.sprite_size)
        tracking = cast("TrackingConfig | None", config.tracking)
        self._trackers = [SlotTracker(config.max_objects, tracking) for _ in range(num_envs)] if tracking else None
        self._model: LAVAE | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_model": None}

    @property
    def model(self) -> LAVAE:
        """The model, loaded when it is first used."""
        if self._model is None:
            self._model = LAVAE.from_pretrained(self.config.model, self.config.device)
        return self._model

    def _check(self, frame_space: "spaces.Space[Any]", channels: int, sprite_size: int) -> tuple[int, int]:
        """Refuses environments whose frames cannot fit the model, with the option that mends it."""
        if not isinstance(frame_space, spaces.Box) or frame_space.dtype != np.uint8:
            raise TypeError(
                f"expected frames as a uint8 Box, got {frame_space}; for dictionary observations name the frame's "
                "key with frame_key, for state observations add gymnasium.wrappers.AddRenderObservation first"
            )
        prepare = cast("Preprocessing", self.config.preprocessing)
        size = prepare.canvas_size(frame_space.shape)
        given = {"hwc": frame_space.shape[-1], "chw": frame_space.shape[0], "hw": 1}[prepare.layout]
        given = 1 if prepare.grey else given
        if given != channels:
            remedy = (
                "Preprocessing(grey=True) turns RGB into grey"
                if (given, channels) == (3, 1)
                else 'channel-first frames need Preprocessing(layout="chw"), or choose another model'
            )
            raise ValueError(
                f"model {self.config.model!r} reads {channels} channels, frames of shape {frame_space.shape} in layout "
                f'"{prepare.layout}" have {given}: {remedy}'
            )
        if min(size) < sprite_size:
            raise ValueError(
                f"model {self.config.model!r} needs frames of at least {sprite_size} px a side, got {size}: "
                "Preprocessing(resize=(height, width)) enlarges them"
            )
        return size

    def find(self, frames: np.ndarray) -> Objects:
        """Objects of a batch of frames of the environment, NumPy, in ``max_objects`` slots.

        Raises:
            ValueError: frames that are not binary, with the option that mends it.
        """
        frames = cast("Preprocessing", self.config.preprocessing)(frames)
        if frames.size and (frames + np.uint8(1)).max() > 1:  # in uint8, 255 + 1 is 0
            raise ValueError(
                f"the model reads pixel values 0 and 255 only, got values up to {frames.max()}: "
                "Preprocessing(threshold=127) or Preprocessing(palette=[...]) makes frames binary"
            )
        return self.model.encode(frames, self.config.max_objects)

    def reset(self, envs: np.ndarray) -> None:
        """Begins a new episode in the given environments: their tracks are forgotten."""
        if self._trackers is not None:
            for index in envs:
                self._trackers[index].reset()

    def observe(self, objects: Objects, owners: np.ndarray) -> Observations:
        """Observations of a batch of frames; with tracking, each is the next frame of its environment."""
        velocity = np.zeros((*objects.mask.shape, 2))
        if self._trackers is not None:
            track(objects, self._trackers, owners, velocity)
        return self.layout.tokens(objects, velocity if self.config.velocity else None)
