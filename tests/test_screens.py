import re
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl.rl.agents import make_agent
from lavae_rl.rl.atari import VecClippedReward, VecLives, VectorLives, make_game, make_games
from lavae_rl.rl.environments import default_model, environment_name, is_atari, is_task
from lavae_rl.rl.presets import GAME, SCREEN, preset_for
from lavae_rl.rl.run import new_run
from lavae_rl.rl.screens import make_screen, make_screens
from lavae_rl.rl.vec_envs import make_run_env, make_run_vec_env, make_training_vec_env, token_options

atari = pytest.mark.skipif(find_spec("ale_py") is None, reason="needs ale-py")
PONG = "ALE/Pong-v5"


@pytest.fixture
def dot(register_slide):
    """An environment with a point of 3 for each of 5 steps."""
    return register_slide("test/Dot-v0", size=(96, 120), steps=5, rewards=(3.0, 3.0))


def test_environments_are_named_by_task_or_by_id(dot):
    assert environment_name("LAVAE/Collect-v0") == environment_name("Collect") == "Collect"
    assert environment_name(dot) == dot
    assert environment_name("CartPole-v1") == "CartPole-v1"
    assert is_task("Collect")
    assert not is_task(dot)
    for unknown, message in [("Collectt", "expected one of LAVAE/"), ("LAVAE/Nothing-v0", "expected one of LAVAE/")]:
        with pytest.raises(ValueError, match=message):
            environment_name(unknown)
    with pytest.raises(ValueError, match=r"not the id of another environment.*check its spelling"):
        environment_name("test/Spot-v0")


def test_bundled_models_are_found_by_game(dot):
    assert default_model("ALE/Pong-v5") == "Pong"
    assert default_model("ALE/Hero-v5") is None
    assert default_model("MatchDigit") == "multi-mnist-10k"
    assert default_model(dot) is None
    assert is_atari("ALE/Hero-v5")
    with pytest.raises(ValueError, match=re.escape("python pretrain/train_lavae.py --env test/Dot-v0 --out runs/mine")):
        new_run({"task": dot, "observation": "lavae"})


def test_screens_are_what_an_environment_renders(dot):
    vector = make_screens(dot, "frames", 3, AutoresetMode.SAME_STEP)
    observations, _ = vector.reset(seed=0)
    assert observations.shape == (3, 96, 120, 3)
    for step in range(1, 6):
        observations, *_, infos = vector.step(np.zeros(3, int))
        assert (observations[0, 10, :, 0].argmax() == 10 * step) == (step < 5)
    assert infos["final_obs"][1][10, :, 0].argmax() == 50
    assert make_screen(dot, "pixels").observation_space.shape == (84, 84, 3)
    with pytest.raises(ValueError, match="expected observation lavae or pixels, got oracle"):
        make_screens(dot, "oracle", 2, AutoresetMode.SAME_STEP)


def test_flags_of_our_tasks_are_refused_elsewhere(dot):
    given: Any
    for given, message in [
        ({"num_objects": 3}, "expected --num-objects with one of our tasks"),
        ({"reward": "shaped"}, "expected --reward plain or clipped"),
        ({"episodic_life": True}, "expected --episodic-life with an Atari game"),
        ({"observation": "vae", "model": "x"}, "expected observation lavae or oracle or pixels"),
    ]:
        with pytest.raises(ValueError, match=message):
            new_run({"task": dot, "observation": "pixels"} | given)
    with pytest.raises(ValueError, match="expected --reward sparse or shaped for Collect, got clipped"):
        new_run({"task": "Collect", "reward": "clipped"})


def test_presets_are_by_kind(dot):
    assert preset_for(PONG) == GAME
    assert preset_for(dot) == SCREEN
    assert new_run({"task": dot, "observation": "pixels"}).eval_every == 250_000
    assert new_run({"task": "Collect"}).eval_every == 100_000


def test_rewards_are_clipped_in_training_alone(dot):
    run = new_run({"task": dot, "observation": "pixels", "reward": "clipped", "num_envs": 2})
    training, testing = make_training_vec_env(run), make_run_vec_env(run, 2)
    for venv, reward in ((training, 1.0), (testing, 3.0)):
        venv.reset()
        for _ in range(5):
            _, rewards, dones, infos = venv.step(np.zeros(2, int))
            assert rewards.tolist() == [reward, reward]
        assert dones.all()
        assert infos[0]["episode"]["r"] == 15.0  # of plain rewards, in training too


class Lives(gym.Env):
    """Three lives of 2 steps each."""

    action_space, observation_space = spaces.Discrete(2), spaces.Box(0, 9, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        self._clock = 0
        return np.zeros(1, np.float32), {"lives": 3}

    def step(self, action):
        self._clock += 1
        lives = 3 - self._clock // 2
        return np.array([self._clock], np.float32), 1.0, lives == 0, False, {"lives": lives}


def test_a_life_is_an_episode_and_the_game_goes_on():
    venv: Any = VecClippedReward(VecLives(DummyVecEnv([Lives])))
    venv.reset()
    seen = []
    for _ in range(8):
        observations, _, dones, infos = venv.step(np.zeros(1, int))
        seen.append((float(observations[0, 0]), bool(dones[0])))
        if dones[0]:
            assert infos[0]["terminal_observation"][0] > 0
            assert not infos[0]["TimeLimit.truncated"]
    # The fourth life is the first of another game.
    assert seen == [(1, False), (2, True), (3, False), (4, True), (5, False), (0, True), (1, False), (2, True)]


def test_a_life_is_an_episode_in_mode_next_step_too():
    vector = VectorLives(SyncVectorEnv([Lives], autoreset_mode=AutoresetMode.NEXT_STEP))
    vector.reset()
    seen = []
    for _ in range(9):
        observations, _, terminated, truncated, _ = vector.step(np.zeros(1, int))
        assert not truncated[0]
        seen.append((float(observations[0, 0]), bool(terminated[0])))
    # After the third life the environment resets itself, in a step of its own.
    game = [(1, False), (2, True), (3, False), (4, True), (5, False), (6, True)]
    assert seen == [*game, (0, False), (1, False), (2, True)]


@atari
@pytest.mark.parametrize("view", ["frames", "pixels"])
def test_games_in_a_batch_show_what_single_ones_do(view):
    vector = make_games(PONG, view, 2, AutoresetMode.SAME_STEP)
    shape = {"frames": (210, 160, 3), "pixels": (4, 84, 84)}[view]
    assert vector.single_observation_space.shape == shape
    observations, _ = vector.reset(seed=2**32 - 1)  # more than the emulator takes
    assert observations.shape == (2, *shape)
    observations, *_ = vector.step(np.array([0, 3]))
    assert observations.shape == (2, *shape)
    assert observations.dtype == np.uint8
    single = make_game(PONG, view)
    assert single.reset(seed=0)[0].shape == shape


@atari
def test_the_end_of_a_game_is_told_with_its_last_frame():
    vector: Any = make_games("ALE/Freeway-v5", "frames", 1, AutoresetMode.SAME_STEP)  # 2,048 steps, whatever is done
    frames, _ = vector.reset(seed=0)
    for _ in range(3_000):
        last = frames
        frames, _, terminated, truncated, infos = vector.step(np.zeros(1, int))
        if (terminated | truncated).any():
            break
    assert terminated.any() or truncated.any()
    final = infos["final_obs"][0]
    assert final.shape == (210, 160, 3)
    assert (final != last[0]).mean() < 0.05  # of the old game
    assert (final != frames[0]).any()


@atari
@pytest.mark.skipif(find_spec("ocatari") is None, reason="needs OCAtari")
def test_true_objects_of_a_game():
    vector: Any = make_games(PONG, "oracle", 2, AutoresetMode.SAME_STEP)
    observations, _ = vector.reset(seed=3)
    for _ in range(40):
        observations, *_ = vector.step(np.array([2, 3]))
    tokens, mask = observations["tokens"], observations["mask"]
    assert tokens.shape == (2, 3, 10)  # player, enemy, ball: x, y, three classes, presence, velocity, box
    assert vector.observation_space["tokens"].contains(tokens)
    for scene, present in zip(tokens, mask, strict=True):
        kinds = scene[present > 0][:, 2:5]
        assert (kinds.sum(1) == 1).all()
        assert not scene[present == 0].any()


@atari
@pytest.mark.filterwarnings("ignore:a frame has")  # the title before the first game
def test_agents_of_games_read_tracked_tokens_and_can_be_filmed():
    run = new_run({"task": PONG, "num_envs": 2})
    run = replace(run, preset=replace(run.preset, rollout=4, batch_size=8, epochs=1))
    options = token_options(run)
    assert options["max_objects"] == 8  # a quarter more than the 6 of its model's training
    venv = make_training_vec_env(run)
    assert venv.observation_space["tokens"].shape == (8, 2 + 8 + 1 + 2 + 2)  # type: ignore[index]
    agent = make_agent("lavae", run.preset, venv, seed=0)
    agent.learn(16)
    env = make_run_env(run)
    observation, _ = env.reset(seed=0)
    action, _ = agent.predict(observation)
    env.step(action)
    assert env.render().shape[1] == 160  # type: ignore[union-attr]


class GreyEnv(gym.Env[Any, Any]):
    """Grey frames without a channel axis."""

    observation_space, action_space = spaces.Box(0, 255, (96, 60), np.uint8), spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.ones((96, 60), np.uint8), {}


def test_grey_screens_have_a_channel_for_convolutional_policies(monkeypatch):
    monkeypatch.setitem(
        gym.registry, "test/Grey-v0", gym.envs.registration.EnvSpec("test/Grey-v0", lambda **_: GreyEnv())
    )
    shapes = {}
    for view in ("frames", "pixels"):
        env = make_screen("test/Grey-v0", view)
        shapes[view] = env.reset(seed=0)[0].shape
        assert env.observation_space.shape == shapes[view]
    # Models store the layout "hw" with their weights: frames stay as they are.
    assert shapes == {"frames": (96, 60), "pixels": (84, 84, 1)}
