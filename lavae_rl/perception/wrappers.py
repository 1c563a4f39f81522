"""Gymnasium's wrappers: frames become object tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space, create_empty_array

from lavae_rl.actions import check_shape
from lavae_rl.model.objects import Objects
from lavae_rl.perception.encoder import EncoderConfig, FrameEncoder
from lavae_rl.perception.finals import MissingFinals, as_gymnasium, final_observations
from lavae_rl.perception.fit import frame_space
from lavae_rl.perception.overlay import draw_objects
from lavae_rl.perception.tokens import Observations

Encode = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[Observations, Observations]]
"""Compute observations of frames and of final frames; see ``FrameEncoder.encode``."""


class ObservationPort:
    """The place of the frame in an observation, where what an encoder computes replaces it.

    Raises ValueError if there is no such place, and TypeError if it holds no frame.
    """

    def __init__(self, space: "spaces.Space[Any]", frame_key: str | None = None) -> None:
        self.frame_space = frame_space(space, frame_key)
        self._key, self._others = frame_key, None
        if isinstance(space, spaces.Dict):
            self._others = {key: part for key, part in space.spaces.items() if key != frame_key}

    def space(self, tokens: "spaces.Space[Any]") -> "spaces.Space[Any]":
        """The new observation space: that of the tokens, beside the other keys; equal keys raise ValueError."""
        if self._others is None:
            return tokens
        added = dict(tokens.items()) if isinstance(tokens, spaces.Dict) else {"tokens": tokens}
        if taken := added.keys() & self._others.keys():
            raise ValueError(f"the observation has keys {sorted(taken)} already; rename them")
        return spaces.Dict({**self._others, **added})

    def frames(self, observation: Any) -> np.ndarray:
        """The frame, or the batch of frames, of an observation."""
        frames = np.asarray(observation if self._key is None else observation[self._key])
        return frames.astype(np.uint8) if frames.dtype == object else frames  # rows of an array of objects

    def observation(self, observation: Any, tokens: Any) -> Any:
        """The observation with tokens in place of the frame."""
        if self._others is None:
            return tokens
        added = tokens if isinstance(tokens, dict) else {"tokens": tokens}
        return {**{key: observation[key] for key in self._others}, **added}

    def encode(
        self, encode: Encode, observations: Any, started: np.ndarray, finals: Sequence[Any] = ()
    ) -> tuple[Observations, list[Any]]:
        """Tokens of all environments, and the final observations, with tokens too, of those that ``started`` anew.

        ``finals`` are those of ``started``, None where one is missing, or none at all.
        """
        frames, last_frames = self.frames(observations), {}
        for env, final in zip(started, finals, strict=False):
            if final is not None:
                last_frames[env] = self.frames(final)
        ended = np.array(list(last_frames), int)
        # An encoder takes the environments with a last frame first.
        order = np.concatenate([ended, np.setdiff1d(started, ended)])
        tokens, last = encode(frames, order, np.stack([*last_frames.values()]) if last_frames else frames[:0])
        encoded = {env: take(last, i) for i, env in enumerate(last_frames)}
        pairs = zip(started, finals, strict=False)
        return tokens, [None if final is None else self.observation(final, encoded[env]) for env, final in pairs]


def take(tokens: Any, index: int | slice) -> Any:
    """Copy one observation, or some, out of a batch: no observation shares memory with an earlier one."""
    if isinstance(tokens, Mapping):
        return {key: np.array(value[index]) for key, value in tokens.items()}
    return np.array(tokens[index])


class LAVAEObservation(gym.ObservationWrapper, RecordConstructorArgs):
    """Replace the frames of an environment by a set of object tokens.

    Observations become ``{"tokens": (K, 2 + D) float32, "mask": (K,) int8}``; ``TokenLayout`` lists what a token holds.
    ``VectorLAVAEObservation`` encodes the frames of many environments in one pass: use it for training.

    Args:
        env: has uint8 frames as observations (see ``gymnasium.wrappers.AddRenderObservation``).
        model: bundled name, or folder of a model.
        max_objects: number K of slots.
        render_objects: draw centres, boxes, slots and decoded sprites on what ``render`` returns as "rgb_array".
        options: further fields of ``EncoderConfig``: ``flatten``, ``presence``, ``velocity``, ``box``, ``tracking``,
            ``preprocessing``, ``frame_key``, ``device``.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        model: str = "multi-dsprites",
        max_objects: int = 8,
        render_objects: bool = False,
        **options: Any,
    ) -> None:
        encoding = {"model": model, "max_objects": max_objects, **options}
        RecordConstructorArgs.__init__(self, render_objects=render_objects, **encoding)
        gym.ObservationWrapper.__init__(self, env)
        config = EncoderConfig(**encoding)
        self._port = ObservationPort(env.observation_space, config.frame_key)
        self.frame_encoder = FrameEncoder(config, self._port.frame_space)
        self.observation_space = self._port.space(self.frame_encoder.layout.space())
        self._render_objects = render_objects
        self._objects: Objects | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment, and forget tracks and frames of the last episode."""
        self.frame_encoder.reset(np.array([0]))
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Any) -> Any:
        """Replace the frame of an observation by tokens."""
        only = np.array([0])
        objects = self.frame_encoder.find(self._port.frames(observation)[None], only)
        self._objects, tokens = self.frame_encoder.observe(objects, only)
        return self._port.observation(observation, take(tokens, 0))

    def render(self) -> Any:
        """Render the environment; with ``render_objects``, its objects are drawn over the picture."""
        picture = self.env.render()
        if not self._render_objects or self._objects is None or not isinstance(picture, np.ndarray):
            return picture
        return draw_objects(picture, self._objects, self.frame_encoder.model, self.frame_encoder.area)


class VectorLAVAEObservation(VectorWrapper):
    """Replace the frames of a vector environment by object tokens, all environments in one pass.

    It works in every autoreset mode; with SAME_STEP, ``infos["final_obs"]`` is encoded in the same pass. Whatever
    container it comes in, it becomes an array of objects with a mask, as Gymnasium's own vector environments give it;
    where it is missing, a warning is issued once.

    ``env`` has uint8 frames as observations; the other arguments are those of ``LAVAEObservation``.
    """

    def __init__(self, env: VectorEnv, model: str = "multi-dsprites", max_objects: int = 8, **options: Any) -> None:
        super().__init__(env)
        config = EncoderConfig(model=model, max_objects=max_objects, **options)
        self._port = ObservationPort(env.single_observation_space, config.frame_key)
        self.frame_encoder = FrameEncoder(config, self._port.frame_space, env.num_envs)
        tokens = self.frame_encoder.layout.space()
        self.single_observation_space = self._port.space(tokens)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self._missing = MissingFinals("final_obs")
        self._resetting = np.zeros(env.num_envs, bool)
        self._latest: Any = create_empty_array(tokens, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset all environments, or, with ``options={"reset_mask": ...}``, those that it names."""
        # Gymnasium takes the mask out of the dictionary that it is given.
        observations, infos = self.env.reset(seed=seed, options=None if options is None else dict(options))
        started = np.flatnonzero((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        self._resetting[started] = False
        # The others have not moved: their tokens stand, and the encoder must not read the same frame twice.
        self.frame_encoder.reset(started)
        objects = self.frame_encoder.find(self._port.frames(observations)[started], started)
        _, tokens = self.frame_encoder.observe(objects, started)
        for key in tokens if isinstance(tokens, Mapping) else [...]:
            self._latest[key][started] = tokens[key]
        return self._port.observation(observations, take(self._latest, slice(None))), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all environments; new and final observations are encoded together.

        Raises:
            ValueError: actions of another shape than the space's.
        """
        check_shape(actions, self.single_action_space, self.num_envs)
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        done, same_step = np.logical_or(terminations, truncations), self._mode == AutoresetMode.SAME_STEP
        # In NEXT_STEP, an environment that was done at the last step begins a new episode in this one.
        started = np.flatnonzero(done if same_step else self._resetting)
        self._resetting = done & (self._mode == AutoresetMode.NEXT_STEP)
        finals = final_observations(infos, self.env, started) if same_step else []
        self._missing.look(finals)
        tokens, last = self._port.encode(self.frame_encoder.encode, observations, started, finals)
        if any(final is not None for final in last):
            infos = {**infos, **as_gymnasium(last, started, self.num_envs)}
        self._latest = tokens
        observations = self._port.observation(observations, take(tokens, slice(None)))
        return observations, rewards, terminations, truncations, infos
