import warnings

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl import LAVAEObservation, VectorLAVAEObservation
from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.model.explained import FrameSurprise
from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor, VecLAVAEObservation
from lavae_rl.perception.watch import JUDGED, EncoderWatch

GREEN, BLUE, WHITE = (20, 200, 30), (30, 40, 230), (255, 255, 255)
LITTLE = "explain .*% of what these frames show .* train a model on frames of this environment"
TASKS = ("Collect", "DigitOrder", "Largest", "MatchDigit", "ObjectGoal", "OddOneOut", "OddOneOutProperty", "Push")


@pytest.fixture
def blob(color_dots):
    """A frame with a square of 36 pixels, of which the model ``colored`` explains one."""
    return color_dots(*((row, column, GREEN) for row in range(10, 16) for column in range(10, 16)))


@pytest.fixture
def watch():
    """A watch over a model of frames as they are."""
    return EncoderWatch("colored", Preprocessing())


class FrameEnv(gym.Env):
    """An environment that shows one frame after the other, in episodes of 50."""

    def __init__(self, frames):
        self.frames, self.clock = frames, 0
        self.observation_space = gym.spaces.Box(0, 255, frames.shape[1:], np.uint8)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._frame(), {}

    def step(self, action):
        self.clock += 1
        return self._frame(), 0.0, False, self.clock % 50 == 0, {}

    def _frame(self):
        return self.frames[self.clock % len(self.frames)].copy()


def _look(watch, model, frames, times=1):
    for _ in range(times):
        watch.look(model, frames, frames)


def _play(env, steps=20):
    env.reset()
    for _ in range(steps):
        env.step(0)


def test_frames_that_objects_explain_are_no_reason_to_warn(colored, color_dots, watch):
    _look(watch, colored, color_dots((9, 9, GREEN), (20, 30, BLUE)), 50)


def test_frames_that_objects_do_not_explain_are_warned_of_once_when_enough_were_seen(colored, blob, watch):
    _look(watch, colored, blob, JUDGED - 1)
    with pytest.warns(UserWarning, match=f"model 'colored' finds {LITTLE}"):
        _look(watch, colored, blob)
    _look(watch, colored, blob, 50)


def test_frames_that_go_bad_later_are_warned_of(colored, color_dots, blob, watch):
    _look(watch, colored, color_dots((9, 9, GREEN)), 100)
    with pytest.warns(UserWarning, match=LITTLE):
        _look(watch, colored, blob, 900)


def test_a_few_bad_frames_are_no_reason_to_warn(colored, color_dots, blob, watch):
    for frame in (blob, *[color_dots((9, 9, GREEN))] * 6, blob, *[color_dots((9, 9, GREEN))] * 50):
        _look(watch, colored, frame)


def test_empty_frames_are_no_reason_to_warn(colored, color_dots, watch):
    _look(watch, colored, color_dots(), 50)
    _look(watch, colored, color_dots()[:0], 50)


def test_ever_fewer_batches_are_watched_and_few_frames_of_each(colored, color_dots, watch, monkeypatch):
    seen: list[int] = []

    def count(_, frames):
        seen.append(len(frames))
        return FrameSurprise(np.zeros(len(frames)), np.zeros(len(frames)))

    monkeypatch.setattr("lavae_rl.perception.watch.frame_surprise", count)
    frames = color_dots().repeat(9, axis=0)
    _look(watch, colored, frames, 8)
    assert len(seen) == 8
    assert max(seen) <= 4
    _look(watch, colored, frames, 992)
    assert len(seen) < 32


def test_all_wrappers_warn_at_the_line_that_steps(colored_folder, blob):
    make = lambda: FrameEnv(blob)  # noqa: E731
    actions = np.zeros(2, int)
    single = LAVAEObservation(make(), model=colored_folder)
    vector = VectorLAVAEObservation(SyncVectorEnv([make] * 2), model=colored_folder)
    venv = VecLAVAEObservation(DummyVecEnv([make] * 2), model=colored_folder)
    for env, step in (
        (single, lambda: single.step(0)),
        (vector, lambda: vector.step(actions)),
        (venv, lambda: venv.step(actions)),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            env.reset()
            for _ in range(20):
                step()
        assert len(caught) == 1
        assert "tokens say little" in str(caught[0].message)
        assert caught[0].filename == __file__


def test_an_extractor_warns_too(colored_folder, blob):
    space = gym.spaces.Box(0, 255, blob.shape[1:], np.uint8)
    extractor, images = LAVAEFeaturesExtractor(space, model=colored_folder), torch.from_numpy(blob).float() / 255
    with pytest.warns(UserWarning, match=LITTLE):
        [extractor(images) for _ in range(JUDGED)]


def test_a_pickled_encoder_goes_on(colored_folder, blob):
    env = LAVAEObservation(FrameEnv(blob), model=colored_folder)
    env.reset()
    for _ in range(JUDGED - 2):
        env.step(0)
    copy = cloudpickle.loads(cloudpickle.dumps(env.frame_encoder))
    with pytest.warns(UserWarning, match=LITTLE):
        copy.find(blob)
    again = cloudpickle.loads(cloudpickle.dumps(copy))
    again.find(blob.repeat(40, axis=0))


def test_more_objects_than_slots_are_warned_of_at_the_line_that_resets(colored_folder, color_dots):
    dots = color_dots(*((row, column, GREEN) for row in (8, 18, 28) for column in (8, 18, 28, 38)))
    env = LAVAEObservation(FrameEnv(dots), model=colored_folder, max_objects=8)
    with pytest.warns(
        UserWarning, match="12 objects, and max_objects=8 keeps .*: pass max_objects=12 or more"
    ) as caught:
        env.reset()
    assert caught[0].filename == __file__
    for _ in range(20):
        env.step(0)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_bundled_models_are_never_warned_of_in_their_tasks(task):
    model = "multi-mnist-10k" if "Digit" in task else "multi-dsprites"
    env = LAVAEObservation(gym.make(f"LAVAE/{task}-v0"), model=model, max_objects=10)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(200):
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()


def test_what_is_no_sprite_is_warned_of():
    stripes = np.zeros((40, 64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    env = LAVAEObservation(FrameEnv(stripes), model="multi-dsprites", max_objects=64)
    with pytest.warns(UserWarning, match=LITTLE):
        _play(env)


def test_a_palette_that_lacks_what_moves_is_warned_of_with_the_colour():
    court = np.full((34, 64, 64, 3), (144, 72, 17), np.uint8)
    court[:, :2] = WHITE
    for i, frame in enumerate(court):
        frame[10 + i : 13 + i, 20 + i] = WHITE
        frame[5 + i : 15 + i, 56:62] = GREEN
    palette = {"palette": [(GREEN, (0, 255, 0))]}
    env = LAVAEObservation(FrameEnv(court), preprocessing=palette)
    with pytest.warns(UserWarning, match=r"colours \(255, 255, 255\) move in these frames, and the palette") as caught:
        _play(env)
    assert len([each for each in caught if "palette" in str(each.message)]) == 1
