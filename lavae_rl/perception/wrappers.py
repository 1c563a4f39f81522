"""Gymnasium's wrappers: frames become object tokens."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from lavae_rl.model.objects import Objects
from lavae_rl.perception.encoder import EncoderConfig, FrameEncoder
from lavae_rl.perception.overlay import draw_objects


class ObservationPort:
    """Where the frame is in an observation, and where the tokens go."""

    def __init__(self, space: "spaces.Space[Any]", frame_key: str | None) -> None:
        if frame_key is None:
            self.frame_space, self._others = space, None
        elif isinstance(space, spaces.Dict) and frame_key in space.spaces:
            self._others = {key: value for key, value in space.items() if key != frame_key}
            self.frame_space = space[frame_key]
        else:
            raise ValueError(f"expected a dictionary observation with a key {frame_key!r}, got {space}")
        self._key = frame_key

    def space(self, tokens: "spaces.Space[Any]") -> "spaces.Space[Any]":
        """The new observation space: the tokens', beside what else is observed."""
        if self._others is None:
            return tokens
        added = dict(tokens.items()) if isinstance(tokens, spaces.Dict) else {"tokens": tokens}
        if taken := added.keys() & self._others.keys():
            raise ValueError(f"the observation has keys {sorted(taken)} already; rename them")
        return spaces.Dict({**self._others, **added})

    def frames(self, observation: Any) -> np.ndarray:
        """The frame, or the batch of frames, of an observation."""
        return np.asarray(observation if self._key is None else observation[self._key])

    def observation(self, observation: Any, tokens: Any) -> Any:
        """The observation with tokens in place of the frame."""
        if self._others is None:
            return tokens
        added = tokens if isinstance(tokens, dict) else {"tokens": tokens}
        return {**{key: observation[key] for key in self._others}, **added}


def take(tokens: Any, index: int | slice) -> Any:
    """One observation, or some, of a batch; copied, for nobody may share memory with an earlier observation."""
    if isinstance(tokens, Mapping):
        return {key: np.array(value[index]) for key, value in tokens.items()}
    return np.array(tokens[index])


def replace(tokens: Any, index: np.ndarray, new: Any) -> Any:
    """A copy of a batch of observations with those at ``index`` replaced."""
    result = take(tokens, slice(None))
    if isinstance(result, Mapping):
        for key, value in new.items():
            result[key][index] = value
    else:
        result[index] = new
    return result


class LAVAEObservation(gym.ObservationWrapper, RecordConstructorArgs):
    """Turns the frames of an environment into a set of object tokens.

    Observations become ``{"tokens": (K, 2 + D) float32, "mask": (K,) int8}``; ``TokenLayout`` says what is in a token.
    A vector version exists: ``VectorLAVAEObservation``; it encodes all environments in one pass and is the one to
    train with.

    Args:
        env: has uint8 frames as observations (see ``gymnasium.wrappers.AddRenderObservation``).
        model: bundled name, or folder of a model.
        max_objects: number K of slots.
        render_objects: draw centres, slots and decoded sprites on what ``render`` returns as "rgb_array".
        options: further fields of ``EncoderConfig``: ``flatten``, ``presence``, ``velocity``, ``tracking``,
            ``preprocessing``, ``frame_key``, ``device``.

    Raises:
        TypeError: observations that are not frames.
        ValueError: frames that do not fit the model; the message names the option that mends it.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        model: str = "multi-dsprites",
        max_objects: int = 8,
        render_objects: bool = False,
        **options: Any,
    ) -> None:
        RecordConstructorArgs.__init__(
            self, model=model, max_objects=max_objects, render_objects=render_objects, **options
        )
        gym.ObservationWrapper.__init__(self, env)
        config = EncoderConfig(model=model, max_objects=max_objects, **options)
        self._port = ObservationPort(env.observation_space, config.frame_key)
        self.frame_encoder = FrameEncoder(config, self._port.frame_space)
        self.observation_space = self._port.space(self.frame_encoder.layout.space())
        self._render_objects = render_objects
        self._objects: Objects | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment, and forgets the tracks of the last episode."""
        self.frame_encoder.reset(np.array([0]))
        return super().reset(seed=seed, options=options)

    def observation(self, observation: Any) -> Any:
        """Tokens of a frame."""
        objects = self.frame_encoder.find(self._port.frames(observation)[None])
        self._objects, tokens = self.frame_encoder.observe(objects, np.array([0]))
        return self._port.observation(observation, take(tokens, 0))

    def render(self) -> Any:
        """What the environment renders; with ``render_objects``, what the agent sees is drawn over it."""
        picture = self.env.render()
        if not self._render_objects or self._objects is None or not isinstance(picture, np.ndarray):
            return picture
        return draw_objects(picture, self._objects, self.frame_encoder.model)


class VectorLAVAEObservation(VectorWrapper):
    """Turns the frames of a vector environment into object tokens, all environments in one pass.

    Works in every autoreset mode; with SAME_STEP, ``infos["final_obs"]`` holds tokens too, encoded in the same pass.

    Args:
        env: a vector environment with uint8 frames as observations.
        model: bundled name, or folder of a model.
        max_objects: number K of slots.
        options: further fields of ``EncoderConfig``, see ``LAVAEObservation``.

    Raises:
        TypeError, ValueError: see ``LAVAEObservation``.
    """

    def __init__(self, env: VectorEnv, model: str = "multi-dsprites", max_objects: int = 8, **options: Any) -> None:
        super().__init__(env)
        config = EncoderConfig(model=model, max_objects=max_objects, **options)
        self._port = ObservationPort(env.single_observation_space, config.frame_key)
        self.frame_encoder = FrameEncoder(config, self._port.frame_space, env.num_envs)
        self.single_observation_space = self._port.space(self.frame_encoder.layout.space())
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._everyone = np.arange(env.num_envs)
        self._resetting = np.zeros(env.num_envs, bool)
        self._latest: Any = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets all environments, or, with ``options={"reset_mask": ...}``, those that it names."""
        mask = None if options is None else options.get("reset_mask")
        # Gymnasium takes the mask out of the dictionary it is given.
        observations, infos = self.env.reset(seed=seed, options=None if options is None else dict(options))
        started = self._everyone if mask is None else np.flatnonzero(mask)
        self.frame_encoder.reset(started)
        self._resetting[started] = False
        if mask is None or self._latest is None:
            return self._encode(observations), infos
        # The others have not moved: their tokens stand, and their tracks must not see the same frame twice.
        objects = self.frame_encoder.find(self._port.frames(observations)[started])
        _, tokens = self.frame_encoder.observe(objects, started)
        return self._port.observation(observations, self._remember(replace(self._latest, started, tokens))), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Steps all environments; new and final observations are encoded together."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        done = np.logical_or(terminations, truncations)
        if self._mode == AutoresetMode.NEXT_STEP:
            # An environment that was done at the last step begins a new episode in this one.
            self.frame_encoder.reset(np.flatnonzero(self._resetting))
            self._resetting = done
        if self._mode == AutoresetMode.SAME_STEP and done.any():
            return self._encode_final(observations, done, infos), rewards, terminations, truncations, infos
        return self._encode(observations), rewards, terminations, truncations, infos

    def _encode(self, observations: Any) -> Any:
        objects = self.frame_encoder.find(self._port.frames(observations))
        _, tokens = self.frame_encoder.observe(objects, self._everyone)
        return self._port.observation(observations, self._remember(tokens))

    def _remember(self, tokens: Any) -> Any:
        """Keeps a copy for a partial reset, which only this mode has."""
        if self._mode == AutoresetMode.DISABLED:
            self._latest = take(tokens, slice(None))
        return tokens

    def _encode_final(self, observations: Any, done: np.ndarray, infos: dict[str, Any]) -> Any:
        """Final observations belong to the old episode, and the others of a done environment to the new one."""
        envs = np.flatnonzero(done)
        finals = [infos["final_obs"][i] for i in envs]
        new, last = encode_with_finals(
            self.frame_encoder, self._port.frames(observations), [self._port.frames(final) for final in finals], envs
        )
        replaced = infos["final_obs"].copy()
        for i, final, tokens in zip(envs, finals, last, strict=True):
            replaced[i] = self._port.observation(final, tokens)
        infos["final_obs"] = replaced
        return self._port.observation(observations, self._remember(new))


def encode_with_finals(
    encoder: FrameEncoder, frames: np.ndarray, finals: list[np.ndarray], envs: np.ndarray
) -> tuple[Any, list[Any]]:
    """Encodes a batch of frames and, in the same pass, the final frames of the environments whose episode ended.

    Returns:
        Observations of all environments, and the final observation of each of ``envs``.
    """
    objects = encoder.find(np.concatenate([np.stack(finals), frames]) if finals else frames)
    split = len(finals)
    _, last = encoder.observe(objects[:split], envs)
    encoder.reset(envs)
    _, new = encoder.observe(objects[split:], np.arange(len(frames)))
    return new, [take(last, i) for i in range(split)]
