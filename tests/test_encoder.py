"""Models of frames with a background, and memory of frames, in all wrappers."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl import LAVAEObservation, VectorLAVAEObservation
from lavae_rl.perception.encoder import EncoderConfig, FrameEncoder
from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor, VecLAVAEObservation

GREEN = (20, 200, 30)
SPACE = spaces.Box(0, 255, (40, 50, 3), np.uint8)
TRAIN = "train a model on yours: python pretrain/train_lavae.py --env ID"


class DotEnv(gym.Env):
    """An environment whose object moves three pixels to the right per step, and shows in even steps only."""

    def __init__(self, color_dots, length=6, flickers=False):
        self.dots, self.length, self.flickers = color_dots, length, flickers
        self.observation_space = SPACE
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.clock = 0
        return self._frame(), {}

    def step(self, action):
        self.clock += 1
        return self._frame(), 0.0, False, self.clock == self.length, {}

    def _frame(self):
        shown = not (self.flickers and self.clock % 2)
        self.frame = self.dots(*([(9, 6 + 3 * self.clock, GREEN)] if shown else []))[0]
        return self.frame

    def render(self):
        return self.frame.repeat(4, axis=0).repeat(4, axis=1)


def _columns(tokens):
    """Columns of the objects of one observation, from left to right."""
    x = np.sort(tokens["tokens"][tokens["mask"] > 0][:, 0])
    return np.round((x + 1) / 2 * 49).astype(int).tolist()


def test_all_wrappers_read_frames_in_colour_and_give_the_same_tokens(colored_folder, color_dots):
    options: dict[str, Any] = {"model": colored_folder, "max_objects": 3}
    inner = DotEnv(color_dots)
    single = LAVAEObservation(inner, **options)
    vector = VectorLAVAEObservation(SyncVectorEnv([lambda: DotEnv(color_dots)]), **options)
    venv: Any = VecLAVAEObservation(DummyVecEnv([lambda: DotEnv(color_dots)]), **options)
    extractor = LAVAEFeaturesExtractor(SPACE, **options)
    tokens = [single.reset()[0]["tokens"], vector.reset()[0]["tokens"][0], venv.reset()["tokens"][0]]
    action = np.zeros(1, int)
    for step in range(4):
        features = extractor(torch.from_numpy(inner.frame)[None].float() / 255).detach().numpy()
        for each in (*tokens, features.reshape(3, -1)[:, 1:]):
            np.testing.assert_allclose(each[0, :2], np.array([6 + 3 * step, 9]) / (49, 39) * 2 - 1, atol=1e-5)
            np.testing.assert_allclose(each[0, 2:], np.array(GREEN) / 255, atol=1e-5)
            assert not each[1:].any()
        one, some, others = single.step(0)[0], vector.step(action)[0], venv.step(action)[0]
        tokens = [one["tokens"], some["tokens"][0], others["tokens"][0]]


def test_frames_of_another_size_are_refused_with_both_sizes_and_the_remedy(colored_folder):
    space = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    with pytest.raises(ValueError, match=f"reads frames of 40 x 50 pixels, .*, got 84 x 84 after .*{TRAIN}"):
        FrameEncoder(EncoderConfig(colored_folder), space)
    with pytest.raises(ValueError, match="got 40 x 60 after"):
        FrameEncoder(EncoderConfig(colored_folder, preprocessing={"resize": [40, 60]}), space)
    with pytest.raises(ValueError, match="reads frames of 40 x 50 pixels"):
        LAVAEFeaturesExtractor(space, model=colored_folder)


@pytest.mark.parametrize("preprocessing", [{"resize": [40, 50]}, {"crop": [10, 20, 40, 50]}])
def test_frames_that_preprocessing_makes_fit_are_taken(colored_folder, preprocessing):
    FrameEncoder(EncoderConfig(colored_folder, preprocessing=preprocessing), spaces.Box(0, 255, (80, 100, 3), np.uint8))


def test_grey_frames_are_refused_by_a_model_of_colours_with_a_remedy_that_works(colored_folder):
    space = spaces.Box(0, 255, (40, 50, 1), np.uint8)
    with pytest.raises(ValueError, match=r"Preprocessing\(channels=3\)"):
        FrameEncoder(EncoderConfig(colored_folder), space)
    FrameEncoder(EncoderConfig(colored_folder, preprocessing={"channels": 3}), space)


def test_no_error_proposes_a_threshold_to_an_environment_in_colour(color_dots):
    env = LAVAEObservation(DotEnv(color_dots), model="multi-dsprites")
    with pytest.raises(ValueError, match="train a model on them") as error:
        env.reset()
    assert "threshold" not in str(error.value)


def test_boxes_are_the_last_feature_of_tokens(colored_folder, color_dots):
    env = LAVAEObservation(DotEnv(color_dots), model=colored_folder, presence=True, box=True)
    tokens = env.reset()[0]["tokens"]
    np.testing.assert_allclose(tokens[0, -2:], [2 / 49, 2 / 39], atol=1e-6)
    assert not tokens[1:].any()


@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_objects_are_drawn_on_the_part_of_the_picture_that_is_left(colored_folder, color_dots, layout):
    crop: dict[str, Any] = {"crop": [20, 10, 40, 50], "layout": layout}
    frame = np.pad(color_dots((9, 6, GREEN))[0], ((20, 20), (10, 40), (0, 0)))
    shown = frame.transpose(2, 0, 1) if layout == "chw" else frame
    inner: Any = DotEnv(color_dots)
    inner.observation_space = spaces.Box(0, 255, shown.shape, np.uint8)
    inner.render = lambda: frame.repeat(4, axis=0).repeat(4, axis=1)
    env = LAVAEObservation(inner, model=colored_folder, render_objects=True, preprocessing=crop)
    assert env.observation(shown)["mask"].sum() == 1
    top, left = 4 * (20 + 9), 4 * (10 + 6)
    assert (env.render()[top - 1, left : left + 4] == (255, 160, 0)).all()


FLICKER: dict[str, Any] = {"max_objects": 3, "preprocessing": {"max_frames": 2}}


@pytest.fixture
def flickering(color_dots):
    """Makes the environment whose object shows in even steps only; an episode has seven frames, the last shows it."""
    return lambda: DotEnv(color_dots, flickers=True)


def test_the_maximum_of_two_frames_shows_what_flickers_until_the_episode_ends(colored_folder, flickering):
    env = LAVAEObservation(flickering(), model=colored_folder, **FLICKER)
    columns = [_columns(env.reset()[0])]
    columns += [_columns(env.step(0)[0]) for _ in range(6)]
    assert columns == [[6], [6], [12], [12], [18], [18], [24]]
    assert _columns(env.reset()[0]) == [6]


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_maximum_never_reaches_into_another_episode(mode, colored_folder, flickering):
    env = VectorLAVAEObservation(SyncVectorEnv([flickering] * 2, autoreset_mode=mode), model=colored_folder, **FLICKER)
    env.reset()
    actions = np.zeros(2, int)
    stepped: Any = [env.step(actions) for _ in range(6)]
    tokens, *_, infos = stepped[-1]
    if mode == AutoresetMode.SAME_STEP:
        assert _columns(infos["final_obs"][1]) == [24]
    else:
        assert _columns({key: value[1] for key, value in tokens.items()}) == [24]
    if mode == AutoresetMode.NEXT_STEP:
        tokens, *_ = env.step(actions)
    if mode == AutoresetMode.DISABLED:
        tokens, _ = env.reset(options={"reset_mask": np.ones(2, bool)})
    for _ in range(2):
        assert _columns({key: value[1] for key, value in tokens.items()}) == [6]
        tokens, *_ = env.step(actions)


def test_the_maximum_of_a_vec_env_ends_with_the_episode(colored_folder, flickering):
    venv = VecLAVAEObservation(DummyVecEnv([flickering] * 2), model=colored_folder, **FLICKER)
    venv.reset()
    for _ in range(6):
        tokens, *_, infos = venv.step(np.zeros(2, int))
    assert _columns(infos[1]["terminal_observation"]) == [24]
    assert _columns({key: value[1] for key, value in tokens.items()}) == [6]  # type: ignore[union-attr]


def test_a_policy_cannot_read_the_maximum_of_two_frames(tmp_path, colored):
    colored.save_pretrained(tmp_path, {"preprocessing": {"max_frames": 2}})
    with pytest.raises(ValueError, match=r"wrap the environment in VecLAVAEObservation"):
        LAVAEFeaturesExtractor(SPACE, model=str(tmp_path))
