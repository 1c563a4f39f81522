"""Frames that are not binary: refused at first, made binary and counted once a training is under way."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl import LAVAEObservation
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.perception.binary import BinaryFrames
from lavae_rl.perception.encoder import EncoderConfig, FrameEncoder
from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor, VecLAVAEObservation
from lavae_rl.perception.vae_vector import VecVAEObservation

BLACK = np.zeros((2, 8, 8, 3), np.uint8)
WHITE, GREY = BLACK + np.uint8(255), BLACK + np.uint8(130)


def test_frames_that_are_not_binary_pass_unchanged_until_binary_ones_have_shown_something():
    binary = BinaryFrames()
    for frames in (GREY, BLACK, GREY, np.concatenate([WHITE, GREY])):  # the model refuses what is grey
        np.testing.assert_array_equal(binary(frames), frames)
    assert binary.num_mended == 0


def test_later_ones_are_made_binary_counted_and_warned_about_once():
    binary = BinaryFrames()
    binary(WHITE)
    with pytest.warns(UserWarning, match=r"pixels other than 0 and 255, .*Preprocessing\(threshold=127\) does this"):
        mended = binary(np.concatenate([GREY, WHITE, BLACK]))
    np.testing.assert_array_equal(mended, np.concatenate([WHITE, WHITE, BLACK]))
    np.testing.assert_array_equal(binary(GREY[:1] - np.uint8(10)), BLACK[:1])
    assert binary.num_mended == 3
    assert binary(BLACK[:0]).shape == (0, 8, 8, 3)


@pytest.fixture
def flash(make_env):
    """An environment whose third frame is grey."""

    def make():
        env = make_env(8)
        step = env.step

        def flashing(action):
            frame, *rest = step(action)
            return (frame // 2 if env.clock == 2 else frame), *rest

        env.step = flashing
        return env

    return make


def test_a_flash_does_not_end_a_training(flash):
    env: Any = LAVAEObservation(flash(), max_objects=6)
    venv: Any = VecLAVAEObservation(DummyVecEnv([flash] * 2), max_objects=6)
    env.reset(seed=0)
    venv.seed(0)
    venv.reset()
    with pytest.warns(UserWarning, match="the model reads binary frames"):
        [env.step(0) for _ in range(4)]
    with pytest.warns(UserWarning, match="the model reads binary frames"):
        [venv.step(np.zeros(2, int)) for _ in range(4)]
    assert (env.frame_encoder.binary.num_mended, venv.frame_encoder.binary.num_mended) == (1, 2)


def test_a_flash_is_no_fault_where_a_threshold_is_declared(flash):
    env: Any = LAVAEObservation(flash(), max_objects=6, preprocessing={"threshold": 127})
    env.reset(seed=0)
    for _ in range(4):
        env.step(0)
    assert env.frame_encoder.binary.num_mended == 0


def test_models_that_read_any_frames_leave_them_alone(colored_folder, color_dots):
    encoder = FrameEncoder(EncoderConfig(colored_folder), spaces.Box(0, 255, (40, 50, 3), np.uint8))
    assert encoder.binary is None
    np.testing.assert_array_equal(encoder.prepared(color_dots((9, 6, (1, 2, 3)))), color_dots((9, 6, (1, 2, 3))))


def test_features_extractors_and_vectors_of_a_vae_go_on_too(tmp_path, flash, make_env):
    extractor = LAVAEFeaturesExtractor(spaces.Box(0, 255, (64, 64, 3), np.uint8), max_objects=6)
    frame = torch.from_numpy(make_env().reset(seed=0)[0])[None].float() / 255
    extractor(frame)
    with pytest.warns(UserWarning, match="the model reads binary frames"):
        extractor(frame * 0.6)
    ConvVAE(BaselineConfig(latents=2)).save_pretrained(tmp_path)
    venv = VecVAEObservation(DummyVecEnv([flash] * 2), str(tmp_path))
    venv.seed(0)
    venv.reset()
    with pytest.warns(UserWarning, match="the model reads binary frames"):
        [venv.step(np.zeros(2, int)) for _ in range(4)]
