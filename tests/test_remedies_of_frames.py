"""Every remedy that an error about frames proposes is executed here, and then works."""

import re
from typing import Any

import gymnasium
import gymnasium as gym
import numpy
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

import lavae_rl  # noqa: F401  # named in messages, which are evaluated here
from lavae_rl import LAVAE, LAVAEConfig, LAVAEObservation, Preprocessing
from lavae_rl.byte_frames import to_bytes
from lavae_rl.perception.fit import check_frames, frame_space
from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor, VecLAVAEObservation

GREY, RGB = LAVAEConfig(channels=1), LAVAEConfig(channels=3)


class Screen(gym.Env):
    """Black frames of any space; what it renders is black, too."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    action_space = spaces.Discrete(2)

    observation_space: Any

    def __init__(self, space, render_mode="rgb_array"):
        self.observation_space, self.render_mode = space, render_mode

    def _observation(self):
        zero = {
            name: np.zeros(part.shape, part.dtype)
            for name, part in getattr(self.observation_space, "spaces", {}).items()
        }
        return zero or np.zeros(self.observation_space.shape, self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action):
        return self._observation(), 0.0, False, False, {}

    def render(self):
        return np.zeros((64, 64, 3), np.uint8)


def box(*shape, dtype=np.uint8, high=255):
    return spaces.Box(0, high, shape, dtype)


def proposed(message, name):
    """The call of ``name`` in a message, evaluated; ``env`` is what it is applied to."""
    start = message.index(f"{name}(")
    depth, end = 0, start
    for end in range(start, len(message)):
        depth += {"(": 1, ")": -1}.get(message[end], 0)
        if depth == 0 and message[end] == ")":
            break
    return message[start : end + 1]


@pytest.mark.parametrize(
    ("model", "prepare", "shape"),
    [
        (RGB, Preprocessing(), (64, 64, 1)),
        (RGB, Preprocessing(), (64, 64)),
        (RGB, Preprocessing(), (3, 64, 64)),
        (RGB, Preprocessing(), (1, 64, 64)),
        (RGB, Preprocessing(layout="chw"), (64, 64, 3)),
        (RGB, Preprocessing(layout="chw"), (64, 64, 1)),
        (RGB, Preprocessing(layout="hw"), (64, 64, 3)),
        (RGB, Preprocessing(layout="hw"), (64, 64)),
        (RGB, Preprocessing(channels=1), (64, 64, 3)),
        (RGB, Preprocessing(threshold=9), (210, 160)),
        (RGB, Preprocessing(crop=(10, 10, 40, 40)), (50, 50)),
        (RGB, Preprocessing(crop=(10, 10, 40, 40)), (3, 50, 50)),
        (GREY, Preprocessing(), (64, 64, 3)),
        (GREY, Preprocessing(), (64, 64)),
        (GREY, Preprocessing(), (1, 64, 64)),
        (GREY, Preprocessing(), (3, 64, 64)),
        (GREY, Preprocessing(channels=3), (64, 64, 3)),
        (RGB, Preprocessing(palette=[((1, 2, 3), (255, 0, 0))]), (3, 64, 64)),
        (RGB, Preprocessing(), (16, 17, 3)),
        (RGB, Preprocessing(threshold=7), (8, 40, 3)),
    ],
    ids=str,
)
def test_a_preprocessing_that_an_error_proposes_fits(model, prepare, shape):
    with pytest.raises(ValueError, match=r"Preprocessing\(") as error:
        check_frames("model", model, prepare, shape)
    fitting = eval(proposed(str(error.value), "Preprocessing"))
    check_frames("model", model, fitting, shape)
    prepared = fitting(np.zeros((2, *shape), np.uint8))
    assert prepared.shape[3] == model.channels
    assert (fitting.threshold, fitting.crop, fitting.palette) == (prepare.threshold, prepare.crop, prepare.palette)


@pytest.mark.parametrize("channels", [2, 4, 6, 12])
@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_no_error_proposes_to_convert_what_is_neither_grey_nor_rgb(channels, layout):
    shape = (64, 64, channels) if layout == "hwc" else (channels, 64, 64)
    for model in (GREY, RGB):
        with pytest.raises(ValueError, match=r"flatten=True here, then VecFrameStack") as error:
            check_frames("model", model, Preprocessing(layout=layout), shape)
        assert "Preprocessing(" not in str(error.value)
        with pytest.raises(ValueError, match="expected grey or RGB"):
            check_frames("model", model, Preprocessing(layout=layout, channels=3), shape)


def test_tokens_are_stacked_where_stacked_frames_are_refused(make_env):
    with pytest.raises(ValueError, match="flatten=True here, then VecFrameStack"):
        VecLAVAEObservation(VecFrameStack(DummyVecEnv([make_env] * 2), 4))
    venv: Any = VecFrameStack(VecLAVAEObservation(DummyVecEnv([make_env] * 2), flatten=True), 4)
    assert venv.reset().shape == (2, 4 * 8 * 14)
    stack = gym.wrappers.FrameStackObservation
    with pytest.raises(ValueError, match=r"gymnasium\.wrappers\.FrameStackObservation around it"):
        LAVAEObservation(stack(make_env(), 4))
    env = stack(LAVAEObservation(make_env(), flatten=True), 4)
    assert env.reset(seed=0)[0].shape == (4, 8 * 14)


@pytest.mark.parametrize("shape", [(64, 64, 4), (64, 64, 2), (4, 64, 64), (2, 64, 64)], ids=str)
def test_alpha_is_cut_off_by_the_wrapper_that_an_error_proposes(shape):
    env, layout = Screen(box(*shape)), "hwc" if shape[0] == 64 else "chw"
    channels = 3 if 4 in shape else 1
    fitting = Preprocessing(layout=layout)
    with pytest.raises(ValueError, match="and alpha, wrap each environment") as error:
        LAVAEObservation(env, preprocessing=fitting)
    cut = eval(proposed(str(error.value), "gymnasium.wrappers.TransformObservation"))
    assert cut.observation_space.contains(cut.reset()[0])
    options = Preprocessing(layout=layout, channels=3) if channels == 1 else fitting
    assert not LAVAEObservation(cut, preprocessing=options).reset()[0]["mask"].any()


@pytest.mark.parametrize(
    "space",
    [
        box(64, 64, 3, dtype=bool, high=1),
        spaces.MultiBinary((64, 64, 3)),
        box(64, 64, 3, dtype=np.float32, high=1),
        box(64, 64, 3, dtype=np.float32),
        box(64, 64, 3, dtype=np.int64),
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [None, "image"])
def test_frames_of_other_types_are_converted_by_the_wrapper_that_an_error_proposes(space, key):
    env = Screen(space if key is None else spaces.Dict({"image": space, "clock": box(1)}))
    with pytest.raises(TypeError, match="expected frames as a uint8 Box, got") as error:
        LAVAEObservation(env, frame_key=key)
    converted = eval(proposed(str(error.value), "gymnasium.wrappers.TransformObservation"))
    observation, _ = LAVAEObservation(converted, frame_key=key).reset(seed=0)
    assert not observation["mask"].any()
    assert ("clock" in observation) == (key is not None)
    ones = converted.observation(
        {"image": np.ones(space.shape, space.dtype)} if key else np.ones(space.shape, space.dtype)
    )
    assert (ones if key is None else ones["image"]).max() == (255 if frame_space_high(space) == 1 else 1)


def frame_space_high(space):
    return 1 if isinstance(space, spaces.MultiBinary) else space.high.max()


@pytest.mark.parametrize(
    "space",
    [
        box(4, dtype=np.float32),
        spaces.Discrete(16),
        spaces.Dict({"position": box(2, dtype=np.float32)}),
        spaces.Box(-np.inf, np.inf, (8, 8)),
    ],
    ids=str,
)
def test_states_are_rendered_as_an_error_proposes(space):
    with pytest.raises(TypeError, match=r'render_mode="rgb_array" and .*gymnasium\.wrappers\.AddRenderObservation'):
        LAVAEObservation(Screen(space))
    env = LAVAEObservation(gymnasium.wrappers.AddRenderObservation(Screen(space)))
    assert env.reset()[0]["tokens"].shape == (8, 13)


def test_the_key_of_a_frame_is_named_by_the_error():
    space = spaces.Dict({"clock": box(1, dtype=np.float32), "image": box(64, 64, 3)})
    with pytest.raises(TypeError, match="frame_key='image'"):
        frame_space(space)
    with pytest.raises(ValueError, match="key 'picture', got one with 'clock', 'image': name one of these"):
        frame_space(space, "picture")
    with pytest.raises(ValueError, match="leave frame_key out"):
        frame_space(box(64, 64, 3), "image")
    assert frame_space(space, "image").shape == frame_space(box(64, 64, 3)).shape == (64, 64, 3)


def test_keys_that_are_taken_are_renamed():
    frame = {"mask": box(64, 64, 3)}
    env = Screen(spaces.Dict({**frame, "tokens": box(1)}))
    with pytest.raises(ValueError, match=r"keys \['tokens'\] already; rename them"):
        LAVAEObservation(env, frame_key="mask")
    renamed = gymnasium.wrappers.TransformObservation(
        env, lambda given: {"mask": given["mask"], "others": given["tokens"]}, spaces.Dict({**frame, "others": box(1)})
    )
    assert set(LAVAEObservation(renamed, frame_key="mask").reset()[0]) == {"tokens", "mask", "others"}


FRAMES = np.full((2, 64, 64, 3), 255, np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(
    "frames",
    [
        FRAMES,
        FRAMES[..., :1],
        FRAMES[0],
        FRAMES[0, ..., 0],
        FRAMES[..., 0],
        FRAMES.transpose(0, 3, 1, 2),
        FRAMES[..., :1].transpose(0, 3, 1, 2),
        FRAMES[0].transpose(2, 0, 1),
        FRAMES > 0,
        FRAMES.astype(np.float32) / 255,
        FRAMES.astype(np.int64),
        FRAMES.astype(np.float64)[0] / 255,
    ],
    ids=lambda frames: f"{frames.dtype}{frames.shape}",
)
def test_arrays_are_frames_after_what_errors_propose(frames, channels, library):
    model = LAVAE(LAVAEConfig(channels=channels))
    frames = frames if library == "numpy" else torch.from_numpy(np.ascontiguousarray(frames))
    for _ in range(3):
        try:
            checked = model.check(frames)
            break
        except (TypeError, ValueError) as error:
            code = re.split(r"give it |needs? |: ", str(error))[-1].split(" for values")[0]
            frames = eval(code, {**globals(), "frame": frames, "frames": frames})
    assert checked.shape[1:] == (64, 64, channels)
    assert (checked == 255).all()


def test_a_list_of_frames_is_read_as_an_array():
    assert to_bytes("list") == "numpy.asarray(frames, numpy.uint8) for values of 0 to 255"
    LAVAE(RGB).check(numpy.asarray(list(FRAMES), numpy.uint8))


@pytest.mark.parametrize("dtype", [bool, np.float32, np.int64])
def test_preprocessing_reads_what_its_error_proposes(dtype):
    frames = np.ones((1, 4, 4, 3), dtype)
    with pytest.raises(TypeError, match=r"expected frames as uint8 .*: .*astype\(numpy\.uint8\)") as error:
        Preprocessing()(frames)
    code = str(error.value).partition(f"{frames.dtype}: ")[2].split(" for values")[0]
    assert Preprocessing()(eval(code)).max() == (1 if dtype == np.int64 else 255)


def test_sprites_on_black_are_made_binary_as_the_error_proposes():
    grey = FRAMES // 2 + 10
    with pytest.raises(ValueError, match=re.escape("(frames > 127) * np.uint8(255) makes them binary")):
        LAVAE(RGB).check(grey)
    LAVAE(RGB).check((grey > 127) * np.uint8(255))


def test_policies_normalise_images_where_the_extractor_asks_for_it(make_env):
    venv = DummyVecEnv([make_env] * 2)
    policy = {"features_extractor_class": LAVAEFeaturesExtractor}
    raw = PPO("CnnPolicy", venv, n_steps=4, batch_size=8, policy_kwargs={**policy, "normalize_images": False})
    with pytest.raises(ValueError, match="the policy needs normalize_images=True"):
        raw.predict(np.asarray(venv.reset()))
    agent = PPO("CnnPolicy", venv, n_steps=4, batch_size=8, policy_kwargs={**policy, "normalize_images": True})
    agent.predict(np.asarray(venv.reset()))
