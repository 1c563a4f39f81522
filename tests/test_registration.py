"""The ids: checkers of Gymnasium and Stable-Baselines3, specs as JSON, and what models find in their frames."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env as check_gymnasium_env
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_sb3_env

import lavae_rl
from lavae_rl import registration
from lavae_rl.envs import sprite_env, task_class
from lavae_rl.envs.agent import AgentTask
from lavae_rl.model.lavae import LAVAE
from lavae_rl.registration import TASKS

DOCS = Path(__file__).parents[1] / "docs"
IDS = sorted(name for name in gym.registry if name.startswith("LAVAE/"))
PLAIN = [f"LAVAE/{task}-v0" for task in TASKS]


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch):
    monkeypatch.setattr(sprite_env, "has_screen", lambda: False)


def _same(one, other):
    return data_equivalence(one, other, exact=True)


def test_every_task_has_an_id_for_pixels_and_one_for_tokens():
    assert sorted([*PLAIN, *(f"LAVAE/{task}Tokens-v0" for task in TASKS)]) == IDS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_checker_passes_with_every_render_mode(name):
    env: Any = gym.make(name, render_mode="rgb_array", disable_env_checker=True)
    check_gymnasium_env(env if "Tokens" in name else env.unwrapped)


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_stable_baselines_checker_passes(name):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_sb3_env(gym.make(name), warn=True)
    # A set of tokens is a table, which it calls unconventional.
    unexpected = [str(warning.message) for warning in told if "unconventional shape" not in str(warning.message)]
    assert unexpected == []
    assert bool(told) == ("Tokens" in name)


def _roll_out(name, seed):
    """Everything that an environment says in some steps of random actions."""
    env: Any = gym.make(name)
    steps = 5 if "Tokens" in name else 40  # for a model is slow
    env.action_space.seed(seed)
    said = [env.reset(seed=seed)]
    for _ in range(steps):
        said.append(env.step(env.action_space.sample()))
        if said[-1][2] or said[-1][3]:
            said.append(env.reset())
    return said


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_seed_and_actions_determine_a_rollout_and_leave_global_randomness_alone(name):
    before = np.random.get_state()  # noqa: NPY002
    first, again, other = (_roll_out(name, seed) for seed in (3, 3, 4))
    assert _same(first, again)
    assert not _same(first[0], other[0])
    assert _same(before, np.random.get_state())  # noqa: NPY002


@pytest.mark.slow
@pytest.mark.parametrize("name", IDS)
def test_a_spec_makes_the_same_environment_again_also_after_json(name):
    default, some, listed = (gym.make(name, num_objects=number) for number in (None, (3, 5), [3, 5]))
    expected = [env.reset(seed=2) for env in (default, some)]
    assert _same(listed.reset(seed=2), expected[1])
    for env, first in zip((default, some), expected, strict=True):
        assert env.spec is not None
        for spec in (env.spec, EnvSpec.from_json(env.spec.to_json())):
            again = gym.make(spec)
            assert (again.observation_space, again.action_space) == (env.observation_space, env.action_space)
            assert _same(again.reset(seed=2), first)


def test_ids_are_found_by_the_name_of_the_package_too():
    env: Any = gym.make("lavae_rl:LAVAE/OddOneOut-v0")
    assert type(env.unwrapped).__name__ == "OddOneOutEnv"


def test_registering_again_changes_nothing_and_does_not_warn():
    before = dict(gym.registry)
    gym.register_envs(lavae_rl)
    registration.register_envs()
    importlib.reload(lavae_rl)
    assert all(gym.registry[name] is before[name] for name in IDS)
    assert len(gym.registry) == len(before)


@pytest.mark.parametrize("name", ["OddOneOut", "LAVAE/OddOneOut-v0", "lavae_rl:LAVAE/OddOneOut-v0"])
def test_task_name_accepts_names_and_ids(name):
    assert registration.task_name(name) == "OddOneOut"


@pytest.mark.parametrize("name", ["OddOneOutTokens", "LAVAE/OddOneOut-v1", "CartPole-v1"])
def test_a_task_that_does_not_exist_is_refused(name):
    with pytest.raises(ValueError, match=f"expected one of LAVAE/ObjectGoal-v0, .*, got '{name}'"):
        registration.task_name(name)


def _idle(env, frame):
    """An action that touches nothing: stay, or point as far from all sprites as can be."""
    if isinstance(env.action_space, gym.spaces.Discrete):
        return 0
    lit = np.argwhere(frame.any(axis=2))
    places = np.stack(np.meshgrid(np.arange(64), np.arange(64), indexing="ij"), axis=2).reshape(-1, 2)
    row, column = places[np.abs(places[:, None] - lit).max(axis=2).min(axis=1).argmax()]
    return np.array([column, row], np.float32) / 63 * 2 - 1


@pytest.mark.parametrize(("task", "limit"), [("ObjectGoal", 100), ("MatchDigit", 50)])
def test_single_and_vector_environments_have_the_time_limit(task, limit):
    env: Any = gym.make(f"LAVAE/{task}-v0")
    vector: Any = gym.make_vec(f"LAVAE/{task}-v0", 1)
    assert isinstance(vector, sprite_env.SpriteVectorEnv)
    frame, _ = env.reset(seed=0)
    vector.reset(seed=0)
    action = _idle(env, frame)
    for step in range(1, limit + 1):
        for _, _, terminated, truncated, _ in (env.step(action), vector.step(np.array([action]))):
            assert not np.any(terminated)
            assert np.all(truncated) == (step == limit), step


def test_the_page_about_tasks_gives_the_numbers_of_every_task():
    rows = [
        line.split("|")[1:-1] for line in (DOCS / "tasks.md").read_text().splitlines() if line.startswith("| `LAVAE")
    ]
    told = {cells[0].strip(" `"): [cell.strip() for cell in cells[2:]] for cells in rows}
    expected = {}
    for name, spec in TASKS.items():
        env: Any = gym.make(f"LAVAE/{name}-v0").unwrapped
        low, high = env.simulation.range
        assert low == high
        assert {gym.spec(f"LAVAE/{name}{kind}-v0").max_episode_steps for kind in ("", "Tokens")} == {spec.steps}
        acts = "moving" if issubclass(task_class(name), AgentTask) else "pointing"
        expected[f"LAVAE/{name}-v0"] = [acts, str(low), str(spec.steps), f"{env.chance:.2g}", spec.model]
    assert told == expected


@pytest.mark.parametrize("task", TASKS)
def test_agents_are_tested_with_numbers_of_objects_that_the_task_and_its_tokens_allow(task):
    tested = registration.TASKS[task].tested
    for num_objects in (tested[0], tested[-1]):
        env: Any = gym.make(f"LAVAE/{task}-v0", num_objects=num_objects, observation="oracle", max_objects=8)
        assert env.reset(seed=0)[0]["mask"].sum() <= 8
    assert env.unwrapped.simulation.task.default_objects in tested


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_id_with_tokens_is_the_same_task_encoded_by_its_model(task):
    plain, seen = gym.spec(f"LAVAE/{task}-v0"), gym.spec(f"LAVAE/{task}Tokens-v0")
    for name in ("kwargs", "max_episode_steps"):
        assert getattr(plain, name) == getattr(seen, name)
    env: Any = gym.make(seen)
    tokens, _ = env.reset(seed=6)
    true: Any = gym.make(plain, observation="oracle")
    expected, _ = true.reset(seed=6)
    assert tokens["mask"].sum() == expected["mask"].sum()
    for place in expected["tokens"][expected["mask"] == 1, :2]:
        assert np.abs(tokens["tokens"][tokens["mask"] == 1, :2] - place).max(axis=1).min() <= 1.01 * 2 / 63


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_model_of_a_task_counts_and_finds_its_objects(task):
    options: Any = gym.spec(f"LAVAE/{task}Tokens-v0").additional_wrappers[0].kwargs
    model = LAVAE.from_pretrained(options["model"])
    env: Any = gym.make_vec(f"LAVAE/{task}-v0", 10, autoreset_mode=AutoresetMode.SAME_STEP)
    env.action_space.seed(0)
    frames, _ = env.reset(seed=0)
    scenes = env.simulation.world.scenes
    right, near = [], []
    for _ in range(30):
        found = model.encode(frames)
        right += (found.count == scenes.count).tolist()
        for i, (count, true) in enumerate(zip(found.count, scenes.count, strict=True)):
            if count == true:
                gap = np.abs(scenes.location[i, :true, None].astype(int) - found.location[i, :count]).max(axis=2)
                near += (gap.min(axis=1) <= 1).tolist()
        frames, *_ = env.step(env.action_space.sample())
    assert np.mean(right) >= 0.99
    assert np.mean(near) >= 0.995
