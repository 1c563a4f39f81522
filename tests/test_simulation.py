"""Options of the environments: their effects, and which are refused."""

import pickle
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from lavae_rl import envs
from lavae_rl.envs.world import NEUTRAL
from lavae_rl.registration import TASKS


def _make(task, **options) -> Any:
    return gym.make(f"LAVAE/{task}-v0", **options).unwrapped


def _counts(env, episodes=12):
    """Numbers of objects beside the agent or cue, as the true state has them."""
    env.reset(seed=0)
    first = int(env.simulation.world.role[0, 0] == NEUTRAL)
    return [int(env.reset()[0]["mask"].sum()) - first for _ in range(episodes)]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_num_objects_sets_the_number_of_objects(task):
    for options, allowed in (
        ({}, {_make(task).simulation.task.default_objects}),
        ({"num_objects": 5}, {5}),
        ({"num_objects": (3, 5)}, {3, 4, 5}),
        ({"num_objects": [4, 5]}, {4, 5}),
    ):
        assert set(_counts(_make(task, observation="oracle", **options))) == allowed


def test_counts_of_a_range_are_equally_frequent():
    counts = np.bincount(_counts(_make("ObjectGoal", observation="oracle", num_objects=(1, 4)), 160))[1:]
    assert np.abs(counts - 40).max() < 4 * np.sqrt(160 * 0.25 * 0.75)


@pytest.mark.slow
@pytest.mark.parametrize("canvas_size", [(48, 80), [80, 48], (64, 64)], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_works_on_a_canvas_that_is_not_square(task, canvas_size):
    env = _make(task, canvas_size=canvas_size, observation="both", num_objects=3)
    assert env.observation_space["frame"].shape[:2] == tuple(canvas_size)
    env.action_space.seed(0)
    reached = np.zeros(2)
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        observation, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        scenes = env.simulation.world.scenes
        reached = np.maximum(reached, scenes.location[0, : scenes.count[0]].max(axis=0))
    assert (reached > np.array(canvas_size) - 9 - 12).all()  # objects are all over it
    assert (reached <= np.array(canvas_size) - 9).all()


@pytest.mark.parametrize(("task", "channels", "width"), [("Push", 3, 11), ("DigitOrder", 1, 12)])
def test_every_observation_has_its_space(task, channels, width):
    frame = spaces.Box(0, 255, (64, 64, channels), np.uint8)
    tokens = {"tokens": spaces.Box(-1, 1, (6, width), np.float32), "mask": spaces.MultiBinary(6)}
    for view, expected in (("pixels", frame), ("oracle", tokens), ("both", {"frame": frame, **tokens})):
        space = expected if isinstance(expected, spaces.Box) else spaces.Dict(expected)
        assert _make(task, observation=view, max_objects=6).observation_space == space


def test_actions_are_moves_or_places():
    moves, places = (_make(task).action_space for task in ("Push", "MatchDigit"))
    assert moves == spaces.Discrete(5)
    assert places == spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("ObjectGoal", {"num_objects": 0}, "num_objects as a number or a pair .* of at least 1, got 0"),
        ("ObjectGoal", {"num_objects": (5, 2)}, r"at least 1, got \(5, 2\)"),
        (
            "ObjectGoal",
            {"num_objects": (1, 2, 3)},
            r"a pair \(low, high\), low <= high, of at least 1, got \(1, 2, 3\)",
        ),
        ("OddOneOut", {"num_objects": 2}, "at least 3, got 2"),
        ("OddOneOut", {"num_objects": (2, 5)}, r"at least 3, got \(2, 5\)"),
        ("MatchDigit", {"num_objects": (3, 11)}, r"at least 1 and at most 10, got \(3, 11\)"),
        ("ObjectGoal", {"reward": "dense"}, "reward of sparse, shaped, got 'dense'"),
        ("ObjectGoal", {"observation": "state"}, "observation of pixels, oracle, both, got 'state'"),
        ("ObjectGoal", {"mode": "validation"}, 'mode "train" or "test", got \'validation\''),
        ("OddOneOut", {"variant": "colour"}, 'variant "object" or "property", got \'colour\''),
        ("ObjectGoal", {"render_mode": "ansi"}, "render_mode None or one of human, rgb_array, got 'ansi'"),
        ("ObjectGoal", {"canvas_size": (35, 64)}, r"canvas_size as \(height, width\) of at least 36 .* \(35, 64\)"),
        ("ObjectGoal", {"canvas_size": (64, 64, 3)}, r"canvas_size as \(height, width\)"),
        ("ObjectGoal", {"observation": "both", "max_objects": 4}, "4 objects need max_objects of at least 5, got 4"),
        ("Push", {"observation": "oracle", "num_objects": (2, 9)}, "9 objects need max_objects of at least 10, got 8"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["Env", "VectorEnv"])
def test_options_out_of_range_are_refused(kind, task, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(envs, f"{task}{kind}")(**options)


def test_an_option_that_no_task_has_is_refused():
    with pytest.raises(TypeError, match="colour"):
        envs.OddOneOutEnv(colour="property")


def test_every_task_has_a_class_for_its_environments_with_its_documentation():
    for name, spec in TASKS.items():
        task = envs.task_class(name)
        env_class: Any = getattr(envs, f"{task.__name__}Env")
        assert env_class is getattr(envs, f"{task.__name__}Env")
        assert env_class.__name__ == f"{task.__name__}Env"
        assert pickle.loads(pickle.dumps(env_class)) is env_class
        headings = re.findall("^## (.*)$", env_class.__doc__, re.MULTILINE)
        expected = {"Description", "Action space", "Observation space", "Rewards", "Starting state", "Episode end"}
        assert expected <= set(headings)
        assert len(headings) == len(set(headings))
        assert f"truncation after {spec.steps} steps" in env_class.__doc__


def test_an_environment_that_no_task_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'lavae_rl.envs' has no attribute 'SokobanEnv'"):
        envs.SokobanEnv  # noqa: B018


def test_max_objects_limits_only_observations_with_tokens():
    env = envs.ObjectGoalEnv(num_objects=5, max_objects=2)
    assert env.observation_space.contains(env.reset(seed=0)[0])


@pytest.mark.parametrize(
    ("task", "options", "expected"),
    [
        ("ObjectGoal", {}, 1 / 4),
        ("OddOneOut", {"num_objects": 5}, 1 / 5),
        ("OddOneOutProperty", {"num_objects": (3, 4)}, (1 / 3 + 1 / 4) / 2),
        ("Largest", {"num_objects": 2}, 1 / 2),
        ("Collect", {}, 1 / 20),
        ("Collect", {"num_objects": 1}, 1),
        ("MatchDigit", {"num_objects": 10}, 1 / 10),
        ("DigitOrder", {}, 1 / 6),
        ("Push", {}, 0),
    ],
    ids=str,
)
def test_chance_is_the_success_rate_of_touching_objects_in_a_random_order(task, options, expected):
    vector: Any = gym.make_vec(f"LAVAE/{task}-v0", 2, **options)
    assert _make(task, **options).chance == vector.chance == pytest.approx(expected)
