"""Gymnasium's wrappers against a reference that encodes frame by frame, in every vector mode."""

import json
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env as check_gymnasium_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as check_sb3_env

from lavae_rl.perception.wrappers import LAVAEObservation, VectorLAVAEObservation


def test_a_single_environment_shows_the_tokens_of_its_frames(make_env, slots, reference, assert_same):
    plain, wrapped = make_env(), LAVAEObservation(make_env(), max_objects=slots)
    frame, _ = plain.reset(seed=3)
    tokens, _ = wrapped.reset(seed=3)
    for _ in range(5):
        assert_same(tokens, reference(frame))
        assert wrapped.observation_space.contains(tokens)
        (frame, *rest), (tokens, *rest_wrapped) = plain.step(0), wrapped.step(0)
        assert rest == rest_wrapped


@pytest.mark.slow
@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_vector_encodes_every_observation_and_final_observation(mode, factories, slots, reference, assert_same):
    plain, inner = (SyncVectorEnv(factories, autoreset_mode=mode) for _ in range(2))
    wrapped = VectorLAVAEObservation(inner, max_objects=slots)
    frames, _ = plain.reset(seed=11)
    tokens: Any = wrapped.reset(seed=11)[0]
    finals = 0
    for _ in range(16):
        for i in range(4):
            assert_same({key: value[i] for key, value in tokens.items()}, reference(frames[i]))
        frames, rewards, terminations, truncations, infos = plain.step(np.zeros(4, int))
        tokens, *same, infos_wrapped = wrapped.step(np.zeros(4, int))
        for values, values_wrapped in zip((rewards, terminations, truncations), same, strict=True):
            np.testing.assert_array_equal(values, values_wrapped)
        for k in np.flatnonzero(infos.get("_final_obs", [])):
            finals += 1
            assert_same(infos_wrapped["final_obs"][k], reference(infos["final_obs"][k]))
        done = terminations | truncations
        if mode == AutoresetMode.DISABLED and done.any():
            frames, _ = plain.reset(options={"reset_mask": done})
            tokens, _ = wrapped.reset(options={"reset_mask": done})
    assert finals == (14 if mode == AutoresetMode.SAME_STEP else 0)  # 5 + 4 + 3 + 2 episodes ended


def test_models_loaded_inside_inference_mode_work(make_env, slots):
    with torch.inference_mode():
        env = LAVAEObservation(make_env(), max_objects=slots)
        first, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(first["tokens"], again["tokens"])


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
def test_wrapped_environments_pass_the_environment_checkers(flatten, monkeypatch, make_env, slots):
    entry_point: Any = lambda render_mode=None: make_env()  # noqa: E731
    monkeypatch.setitem(gym.registry, "test/Scene-v0", EnvSpec("test/Scene-v0", entry_point))
    env = gym.make("test/Scene-v0", disable_env_checker=True)
    wrapped = LAVAEObservation(env, max_objects=slots, flatten=flatten, preprocessing={"threshold": 127})
    assert wrapped.spec is not None
    rebuilt = gym.make(wrapped.spec)
    assert rebuilt.has_wrapper_attr("frame_encoder")
    assert rebuilt.observation_space == wrapped.observation_space
    json.dumps(wrapped.spec.additional_wrappers[-1].kwargs)
    check_gymnasium_env(wrapped, skip_render_check=True)
    if flatten:
        check_sb3_env(wrapped, warn=True)
    else:
        with pytest.warns(UserWarning, match="unconventional shape"):
            check_sb3_env(wrapped, warn=True)


def test_a_spec_that_went_through_json_rebuilds_the_wrapper(monkeypatch, slots):
    size = {"screen_height": 64, "screen_width": 64, "n_channels": 3}
    spec = EnvSpec("test/Image-v0", "stable_baselines3.common.envs:FakeImageEnv", kwargs=size)
    monkeypatch.setitem(gym.registry, "test/Image-v0", spec)
    env = gym.make("test/Image-v0")
    wrapped = LAVAEObservation(
        env, max_objects=slots, velocity=True, tracking="hungarian", preprocessing={"threshold": 127}
    )
    assert wrapped.spec is not None
    rebuilt: Any = gym.make(EnvSpec.from_json(wrapped.spec.to_json()))
    assert isinstance(rebuilt, LAVAEObservation)
    assert rebuilt.spec == wrapped.spec
    assert rebuilt.observation_space == wrapped.observation_space
    tokens = rebuilt.observation(np.full((64, 64, 3), 100, np.uint8))  # not binary: the threshold is there
    assert not tokens["mask"].any()


def test_observations_never_share_memory(make_env, factories, slots):
    env = LAVAEObservation(make_env(), max_objects=slots)
    first, _ = env.reset(seed=0)
    second, *_ = env.step(0)
    vector = VectorLAVAEObservation(SyncVectorEnv(factories), max_objects=slots)
    third, _ = vector.reset(seed=0)
    fourth, *_ = vector.step(np.zeros(4, int))
    for one, other in ((first, second), (third, fourth)):
        assert not any(np.shares_memory(one[key], other[key]) for key in one)


def test_a_wrapped_environment_pickles_without_weights(make_env, slots):
    env = LAVAEObservation(make_env(), max_objects=slots)
    expected, _ = env.reset(seed=1)
    env.__dict__["env"] = None  # the bank of the environment is larger than what is measured here
    assert len(cloudpickle.dumps(env)) < 100_000
    pickled = cloudpickle.dumps(env.frame_encoder)
    copy = cloudpickle.loads(pickled)
    frame, _ = make_env().reset(seed=1)
    _, tokens = copy.observe(copy.find(frame[None]), np.array([0]))
    np.testing.assert_array_equal(tokens["tokens"][0], expected["tokens"])


@pytest.mark.slow
def test_workers_never_load_torch_when_the_wrapper_stands_outside(factories, slots):
    vector = VectorLAVAEObservation(AsyncVectorEnv(factories[:2], context="spawn"), max_objects=slots)
    tokens, infos = vector.reset(seed=0)
    vector.close()
    assert tokens["tokens"].shape == (2, slots, vector.frame_encoder.layout.width)
    assert infos["torch"].tolist() == [False, False]


def test_dictionary_observations_keep_their_other_keys(make_env, slots):
    env = LAVAEObservation(make_env(dictionary=True), max_objects=slots, frame_key="frame")
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"clock", "tokens", "mask"}
    assert env.observation_space.contains(observation)
    with pytest.raises(ValueError, match="key 'picture'"):
        LAVAEObservation(make_env(dictionary=True), frame_key="picture")
    with pytest.raises(TypeError, match="frame_key"):
        LAVAEObservation(make_env(dictionary=True))


def test_rendering_is_untouched_unless_objects_are_asked_for(make_env, slots):
    plain, wrapped = make_env(), LAVAEObservation(make_env(), max_objects=slots)
    drawn = LAVAEObservation(make_env(), max_objects=slots, render_objects=True)
    for env in (plain, wrapped, drawn):
        env.reset(seed=4)
    np.testing.assert_array_equal(plain.render(), wrapped.render())
    picture = drawn.render()
    assert picture.shape == (256 + 2 * 48, 256, 3)
    assert (picture[:256] != plain.render()).any()


@pytest.mark.parametrize(
    ("space", "options", "error", "message"),
    [
        (gym.spaces.Box(-1, 1, (4,), np.float32), {}, TypeError, "AddRenderObservation"),
        (gym.spaces.Box(0, 255, (64, 64, 1), np.uint8), {}, ValueError, r"have 1: Preprocessing\(channels=3\)"),
        (gym.spaces.Box(0, 255, (3, 64, 64), np.uint8), {}, ValueError, r'Preprocessing\(layout="chw"\)'),
        (gym.spaces.Box(0, 255, (16, 16, 3), np.uint8), {}, ValueError, r"Preprocessing\(resize="),
        (
            gym.spaces.Box(0, 255, (64, 64, 12), np.uint8),
            {},
            ValueError,
            r"have 12: .*flatten=True here, then VecFrameStack",
        ),
        (
            gym.spaces.Box(0, 255, (64, 64, 12), np.uint8),
            {"preprocessing": {"channels": 3}},
            ValueError,
            r"got 12 channels .*flatten=True here, then VecFrameStack",
        ),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"model": "multi-cats"}, FileNotFoundError, "bundled"),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"max_objects": 0}, ValueError, "max_objects"),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"velocity": True}, ValueError, 'add tracking="hungarian"'),
        (gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), {"tracking": "sort"}, ValueError, "expected tracking"),
    ],
    ids=[
        "state",
        "grey",
        "channel first",
        "small",
        "stacked",
        "stacked and to be converted",
        "model",
        "slots",
        "velocity",
        "tracking",
    ],
)
def test_frames_and_options_that_do_not_fit_are_refused_with_the_remedy(space, options, error, message, make_env):
    env = make_env()
    env.observation_space = space
    with pytest.raises(error, match=message):
        LAVAEObservation(env, **options)


def test_frames_that_are_not_binary_are_refused_with_the_remedy(make_env):
    env = LAVAEObservation(make_env())
    with pytest.raises(ValueError, match=r"train_lavae\.py --env ID"):
        env.observation(np.full((64, 64, 3), 100, np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("mode", AutoresetMode)
def test_tracks_end_with_their_episode_in_every_mode(mode, factories, tracked, references, assert_same):
    plain, inner = (SyncVectorEnv(factories, autoreset_mode=mode) for _ in range(2))
    wrapped = VectorLAVAEObservation(inner, **tracked)
    frames, _ = plain.reset(seed=11)
    tokens: Any = wrapped.reset(seed=11)[0]
    expected = [reference.start(frame) for reference, frame in zip(references, frames, strict=True)]
    done = np.zeros(4, bool)
    for _ in range(14):
        for i in range(4):
            assert_same({key: value[i] for key, value in tokens.items()}, expected[i])
        resetting = done
        frames, _, terminations, truncations, infos = plain.step(np.zeros(4, int))
        tokens, *_, infos_wrapped = wrapped.step(np.zeros(4, int))
        done = terminations | truncations
        for i, reference in enumerate(references):
            if mode == AutoresetMode.SAME_STEP and done[i]:
                assert_same(infos_wrapped["final_obs"][i], reference(infos["final_obs"][i]))
                expected[i] = reference.start(frames[i])
            elif mode == AutoresetMode.NEXT_STEP and resetting[i]:
                expected[i] = reference.start(frames[i])
            else:
                expected[i] = reference(frames[i])
        if mode == AutoresetMode.DISABLED and done.any():
            frames, _ = plain.reset(options={"reset_mask": done})
            options = {"reset_mask": done}
            tokens, _ = wrapped.reset(options=options)
            assert options == {"reset_mask": done}
            for k in np.flatnonzero(done):
                expected[k] = references[k].start(frames[k])


def test_tracked_objects_keep_slot_and_velocity_until_the_episode_ends(make_env, slots):
    env = LAVAEObservation(make_env(), max_objects=slots, tracking="hungarian", velocity=True)
    env.reset(seed=0)

    def frame(*squares):
        picture = np.zeros((64, 64, 3), np.uint8)
        for (row, column), color in squares:
            picture[row - 4 : row + 5, column - 4 : column + 5] = color
        return picture

    red, blue = (255, 0, 0), (0, 0, 255)
    env.frame_encoder.reset(np.array([0]))
    first = env.observation(frame(((20, 20), red), ((40, 40), blue)))
    second = env.observation(frame(((20, 22), red), ((38, 40), blue)))
    moved = second["tokens"][:, :2] - first["tokens"][:, :2]
    np.testing.assert_allclose(second["tokens"][:, -2:], moved, atol=1e-5)
    assert sorted(np.abs(moved).sum(1)[:2].round(3).tolist()) == pytest.approx([2 * 2 / 63] * 2, abs=1e-3)
    after, _ = env.reset(seed=1)
    assert not after["tokens"][:, -2:].any()


@pytest.fixture
def small_env(make_env):
    """An environment that declares frames of 32 x 32 pixels."""
    env = make_env()
    env.observation_space = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    return env


def test_preprocessing_stored_with_the_weights_is_applied(prepared_model, small_env, dim_square, slots, reference):
    env = LAVAEObservation(small_env, model=prepared_model, max_objects=slots)
    tokens = env.observation(dim_square)
    binary = (dim_square > 99).repeat(2, axis=0).repeat(2, axis=1) * np.uint8(255)
    np.testing.assert_allclose(tokens["tokens"], reference(binary)["tokens"], atol=1e-5)
    assert tokens["mask"].sum() == 1
    rebuilt = cloudpickle.loads(cloudpickle.dumps(env.frame_encoder))
    assert rebuilt.prepare == env.frame_encoder.prepare


def test_a_wrapper_option_overrides_the_stored_preprocessing_as_a_whole(prepared_model, small_env, dim_square):
    env = LAVAEObservation(small_env, model=prepared_model, preprocessing={"threshold": 100})
    objects = env.frame_encoder.find(dim_square[None])
    assert (objects.canvas_size, objects.count.tolist()) == ((32, 32), [0])
    env = LAVAEObservation(small_env, model=prepared_model, preprocessing={})
    with pytest.raises(ValueError, match="expected pixel values 0 and 255 only, got 100"):
        env.observation(dim_square)


def test_objects_of_preprocessed_frames_are_drawn_where_the_picture_shows_them(prepared_model, small_env, dim_square):
    env = LAVAEObservation(small_env, model=prepared_model, render_objects=True)
    env.observation(dim_square)
    small_env.frame = dim_square
    picture = env.render()
    assert picture.shape[1] == 4 * 32
    marked = (picture[: 4 * 32] == (255, 160, 0)).all(axis=2)
    assert marked[4 * 10 : 4 * 11, 4 * 20 : 4 * 21].any()
