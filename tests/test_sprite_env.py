"""Single and vector environments: that they agree, and keep what Gymnasium promises of them."""

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_sb3_env

from lavae_rl.data.scenes import render_scenes
from lavae_rl.envs import ObjectGoalVectorEnv, sprite_env
from lavae_rl.registration import TASKS

NUM_ENVS = 3


def _make(task, **options) -> Any:
    return gym.make(f"LAVAE/{task}-v0", **options).unwrapped


def _same(one, other):
    return data_equivalence(one, other, exact=True)


def _arrays(observation):
    return list(observation.values()) if isinstance(observation, dict) else [observation]


def _many(task, mode, **options) -> Any:
    """Some single environments side by side, as Gymnasium does it."""
    return gym.make_vec(
        f"LAVAE/{task}-v0",
        NUM_ENVS,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("view", ["pixels", "both"])
@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("task", TASKS)
def test_the_vector_environment_equals_as_many_single_ones(task, mode, view):
    options: dict[str, Any] = {"observation": view, "reward": "shaped", "max_episode_steps": 5, "num_objects": (3, 5)}
    many = _many(task, mode, **options)
    one: Any = gym.make_vec(f"LAVAE/{task}-v0", NUM_ENVS, autoreset_mode=mode, **options)
    assert isinstance(one, sprite_env.SpriteVectorEnv)
    assert one.metadata["autoreset_mode"] == mode
    assert (one.observation_space, one.action_space) == (many.observation_space, many.action_space)
    assert _same(many.reset(seed=3), one.reset(seed=3))
    one.action_space.seed(1)
    ended = 0
    for step in range(14):
        actions = one.action_space.sample()
        expected, said = many.step(actions), one.step(actions)
        for name, ours, theirs in zip(
            ("observations", "rewards", "terminations", "truncations", "infos"), said, expected, strict=True
        ):
            assert _same(ours, theirs), f"{name} of step {step}: {ours} is not {theirs}"
        done = said[2] | said[3]
        ended += done.sum()
        if mode == AutoresetMode.DISABLED and done.any():
            # Gymnasium takes the mask out of the dictionary it is given.
            assert _same(many.reset(options={"reset_mask": done}), one.reset(options={"reset_mask": done}))
    assert ended >= 6
    if view == "pixels":
        assert len({frames.tobytes() for frames in said[0]}) == NUM_ENVS


def test_some_of_the_environments_can_be_seeded_anew():
    many, one = _many("ObjectGoal", AutoresetMode.DISABLED), ObjectGoalVectorEnv(NUM_ENVS, autoreset_mode="Disabled")
    seeds = [7, None, 8]
    first, mask = np.ones(NUM_ENVS, bool), np.array([True, True, False])
    assert _same(many.reset(seed=1), one.reset(seed=1))
    for reset in (first, mask, mask):
        expected = many.reset(seed=seeds, options={"reset_mask": reset.copy()})
        assert _same(expected, one.reset(seed=seeds, options={"reset_mask": reset.copy()}))


def test_stepping_a_done_environment_is_refused_without_autoreset():
    env = ObjectGoalVectorEnv(3, max_episode_steps=2, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.zeros(3, int))
    with pytest.raises(ValueError, match=r"environments \[0, 1, 2\] are done: reset them with reset_mask"):
        env.step(np.zeros(3, int))
    env.reset(options={"reset_mask": np.array([True, False, True])})
    with pytest.raises(ValueError, match=r"environments \[1\] are done"):
        env.step(np.zeros(3, int))
    env.reset(options={"reset_mask": np.array([False, True, False])})
    assert not env.step(np.zeros(3, int))[3].any()


@pytest.mark.parametrize(
    "mask",
    [[True, False, True], np.array([1, 0, 1]), np.ones(2, bool), np.zeros(3, bool), np.ones((3, 1), bool)],
    ids=["list", "integers", "short", "nobody", "two axes"],
)
def test_an_invalid_reset_mask_is_refused(mask):
    env = ObjectGoalVectorEnv(3)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected reset_mask as a bool array \(3,\), not all False, got"):
        env.reset(options={"reset_mask": mask})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs of at least 1, got 0"),
        ({"render_mode": "human"}, "for a window make a single environment"),
        ({"render_mode": "ansi"}, "render_mode None or one of human, rgb_array, got 'ansi'"),
        ({"autoreset_mode": "Never"}, "'Never' is not a valid AutoresetMode"),
    ],
    ids=str,
)
def test_options_of_a_vector_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ObjectGoalVectorEnv(**options)


@pytest.mark.parametrize("seeds", [[1, 2], [1, 2, 3, 4]], ids=str)
def test_a_wrong_number_of_seeds_is_refused(seeds):
    with pytest.raises(ValueError, match=f"expected one seed per environment, 3, got {len(seeds)}"):
        ObjectGoalVectorEnv(3).reset(seed=seeds)


def test_environments_without_a_seed_differ():
    frames, _ = ObjectGoalVectorEnv(4).reset()
    assert len({frame.tobytes() for frame in frames}) == 4


@pytest.mark.slow
@pytest.mark.parametrize("num_objects", [None, (2, 5)], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_all_observations_show_one_state_and_share_no_memory(task, num_objects):
    pixels, oracle, both = (
        _make(task, observation=view, num_objects=num_objects if "Odd" not in task or num_objects is None else (3, 5))
        for view in ("pixels", "oracle", "both")
    )
    scenes = both.simulation.world.scenes
    pixels.action_space.seed(0)
    views = [env.reset(seed=4)[0] for env in (pixels, oracle, both)]
    for _ in range(15):
        frame, tokens, seen = views
        assert set(seen) == {"frame", "tokens", "mask"}
        assert _same(frame, seen["frame"])
        assert _same(tokens, {"tokens": seen["tokens"], "mask": seen["mask"]})
        assert _same(frame, render_scenes(scenes, both.simulation.task.bank)[0])
        xy = tokens["tokens"][tokens["mask"] == 1, :2]
        places = np.rint((xy[:, ::-1] + 1) / 2 * 63).astype(int)
        assert sorted(places.tolist()) == sorted(scenes.location[0, : scenes.count[0]].tolist())
        for env, view in zip((pixels, oracle, both), views, strict=True):
            assert env.observation_space.contains(view)
        action = pixels.action_space.sample()
        steps = [env.step(action) for env in (pixels, oracle, both)]
        if steps[0][2]:
            steps = [env.reset() for env in (pixels, oracle, both)]
        after = [step[0] for step in steps]
        for old, new in zip(views, after, strict=True):
            assert not any(np.shares_memory(a, b) for a in _arrays(old) for b in _arrays(new))
        views = after


@pytest.mark.parametrize("mode", AutoresetMode)
def test_batches_of_observations_never_share_memory(mode):
    env = ObjectGoalVectorEnv(3, max_episode_steps=4, observation="both", autoreset_mode=mode)
    seen = [env.reset(seed=0)[0]]
    for _ in range(4):
        observation, *_, infos = env.step(np.zeros(3, int))
        seen += [observation, *infos.get("final_obs", [])]
    assert len(seen) == (8 if mode == AutoresetMode.SAME_STEP else 5)
    for i, one in enumerate(seen):
        for other in seen[:i]:
            assert not any(np.shares_memory(one[key], other[key]) for key in one)


@pytest.mark.parametrize("view", ["oracle", "both"])
@pytest.mark.parametrize("task", ["OddOneOut", "MatchDigit"])
def test_stable_baselines_accepts_the_true_state_as_well(task, view):
    with pytest.warns(UserWarning, match="unconventional shape"):
        check_sb3_env(_make(task, observation=view), warn=True)


@pytest.mark.parametrize("task", TASKS)
def test_a_step_returns_plain_python_numbers(task):
    env = _make(task)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert [type(value) for value in (reward, terminated, truncated, info["is_success"])] == [float, bool, bool, bool]
    assert list(info) == ["is_success"]
    assert type(env.chance) is float


@pytest.mark.parametrize("task", ["ObjectGoal", "MatchDigit"])
@pytest.mark.parametrize(("canvas_size", "block"), [((64, 64), 6), ((48, 80), 4), ((80, 64), 4)], ids=str)
def test_pictures_show_each_pixel_as_a_block(task, canvas_size, block):
    env = _make(task, render_mode="rgb_array", canvas_size=canvas_size)
    frame, _ = env.reset(seed=0)
    assert frame.shape[:2] == canvas_size
    picture = env.render()
    assert picture.dtype == np.uint8
    assert picture.shape == (canvas_size[0] * block, canvas_size[1] * block, 3)
    for row in range(block):
        for column in range(block):
            expected = np.broadcast_to(frame, (*canvas_size, 3))
            np.testing.assert_array_equal(picture[row::block, column::block], expected)


def test_a_vector_renders_a_picture_for_each_environment():
    env = ObjectGoalVectorEnv(3, render_mode="rgb_array")
    frames, _ = env.reset(seed=0)
    pictures = env.render()
    assert isinstance(pictures, tuple)
    for frame, picture in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(picture[::6, ::6], frame)
    assert ObjectGoalVectorEnv(3).render() is None


def test_without_a_render_mode_there_is_no_picture():
    env = _make("ObjectGoal")
    env.reset(seed=0)
    assert env.render() is None


def test_without_a_screen_one_warning_is_logged_and_closing_is_harmless(monkeypatch, caplog):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sprite_env, "_warned", [])
    env = _make("ObjectGoal", render_mode="human")
    env.close()
    env.reset(seed=0)
    with caplog.at_level(logging.WARNING):
        env.step(0)
        env.step(0)
    assert env.render() is None
    env.close()
    env.close()
    assert [record.message for record in caplog.records] == [
        'there is no screen (DISPLAY is not set): render_mode "human" shows nothing; use render_mode="rgb_array" for '
        "pictures"
    ]


def test_a_window_shows_every_frame_in_the_colours_of_opencv(monkeypatch):
    shown, closed = [], []
    monkeypatch.setattr(sprite_env, "has_screen", lambda: True)
    monkeypatch.setattr(sprite_env, "_warned", [])
    monkeypatch.setattr(sprite_env.cv2, "imshow", lambda title, picture: shown.append((title, picture)))
    monkeypatch.setattr(sprite_env.cv2, "waitKey", lambda delay: -1)
    monkeypatch.setattr(sprite_env.cv2, "destroyAllWindows", lambda: closed.append(True))
    env = _make("ObjectGoal", render_mode="human")
    frames = [env.reset(seed=0)[0], env.step(1)[0], env.step(4)[0]]
    env.close()
    assert closed == [True]
    assert [title for title, _ in shown] == ["LAVAE/ObjectGoal-v0"] * 3
    for frame, (_, picture) in zip(frames, shown, strict=True):
        np.testing.assert_array_equal(picture[::6, ::6, ::-1], frame)


def test_stepping_a_vector_before_its_first_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded, match="call reset first"):
        gym.make_vec("LAVAE/OddOneOut-v0", 2).step(np.zeros(2, int))
