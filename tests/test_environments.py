import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from lavae_rl.data import environments
from lavae_rl.data.environments import is_frame, make_env, open_screen


class Shown(gym.Env):
    """An environment that shows its number of steps in every way that is asked for."""

    action_space = spaces.Discrete(2)
    modes = "rgb_array"

    def __init__(self, observation="frame", render_mode=None, dtype=np.uint8):
        frame = spaces.Box(0, 255, (16, 18, 3), np.uint8)
        state = spaces.Box(0, 1, (4,), np.float32)
        both = spaces.Dict({"picture": frame, "state": state})
        self.observation_space = frame if observation == "frame" else state if observation == "state" else both
        self.metadata = {"render_modes": [self.modes], "render_fps": 30}
        self.kind, self.render_mode, self.dtype, self.time = observation, render_mode, dtype, 0

    def _observation(self):
        frame, state = np.full((16, 18, 3), self.time, np.uint8), np.zeros(4, np.float32)
        return {"frame": frame, "state": state}.get(self.kind, {"picture": frame, "state": state})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._observation(), {}

    def step(self, action):
        self.time += 1
        return self._observation(), 0.0, False, False, {}

    def render(self):
        frame = np.full((20, 20, 3), self.time)
        return (frame / 255 if np.issubdtype(self.dtype, np.floating) else frame).astype(self.dtype)


@pytest.fixture(autouse=True)
def registered():
    gym.register("Shown-v0", lambda **kwargs: Shown(**kwargs))
    yield
    del gym.registry["Shown-v0"]


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (16, 18, 3)),
        ({"observation": "dictionary", "frame_key": "picture"}, (16, 18, 3)),
        ({"observation": "state"}, (20, 20, 3)),
        ({"observation": "state", "dtype": np.float64}, (20, 20, 3)),
    ],
    ids=["observed", "in a dictionary", "rendered", "rendered as floats"],
)
def test_frames_are_those_of_the_latest_observation(options, shape):
    env, read = open_screen("Shown-v0", **options)
    observation, _ = env.reset(seed=0)
    assert read(observation).max() == 0
    for _ in range(3):
        observation, *_ = env.step(0)
    frame = read(observation)
    assert (frame.shape, frame.dtype.name) == (shape, "uint8")
    assert (frame == 3).all()
    env.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": "dictionary"}, r"expected --frame-key of \['picture'\], got None"),
        ({"observation": "dictionary", "frame_key": "state"}, r"--frame-key of \['picture'\], got 'state'"),
        ({"frame_key": "picture"}, "--frame-key to be left out: Shown-v0 has no dictionary"),
        ({"colour": 3}, "Shown-v0 does not take the options {'colour': 3}"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        open_screen("Shown-v0", **options)


def test_an_environment_without_frames_is_refused(monkeypatch):
    monkeypatch.setattr(Shown, "modes", "ansi")
    with pytest.raises(ValueError, match=r'render_mode="rgb_array".*Shown-v0 are Box.*render modes are \[\'ansi\'\]'):
        open_screen("Shown-v0", observation="state")


def test_rendered_frames_of_another_type_are_refused():
    env, read = open_screen("Shown-v0", observation="state", dtype=np.int64)
    with pytest.raises(ValueError, match="Shown-v0 to render frames as uint8, got int64"):
        read(env.reset(seed=0)[0])


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (spaces.Box(0, 255, (84, 84), np.uint8), True),
        (spaces.Box(0, 255, (84, 84, 1), np.uint8), True),
        (spaces.Box(0, 255, (3, 84, 84), np.uint8), False),
        (spaces.Box(0, 255, (84, 84, 4), np.uint8), False),
        (spaces.Box(0, 255, (7, 7, 3), np.uint8), False),
        (spaces.Box(0, 255, (128,), np.uint8), False),
        (spaces.Box(0, 1, (84, 84, 3), np.float32), False),
        (spaces.Discrete(3), False),
    ],
    ids=str,
)
def test_spaces_of_frames_are_told_from_others(space, expected):
    assert is_frame(space) == expected


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Shwn-v0", r"Did you mean.*write \"package:Shwn-v0\"|Shwn.*write \"package:Shwn-v0\""),
        ("Shown-v7", "got 'Shown-v7'"),
        ("no_such_module:Shown-v0", "No module named 'no_such_module'.*the package before the colon"),
        ("procgen-coinrun-v0", "pip install procgen2"),
        ("LAVAE/OddOne-v0", r"Did you mean: `OddOneOut.*spelling \(lavae_rl is installed\)"),
    ],
)
def test_an_unknown_id_says_what_may_bring_it(env_id, message):
    with pytest.raises(ValueError, match=message):
        make_env(env_id)


def test_a_missing_package_of_a_known_family_is_named(monkeypatch):
    monkeypatch.setattr(environments, "find_spec", lambda name: None)
    monkeypatch.setattr(gym.envs.registration, "registry", {})
    monkeypatch.setattr(gym, "registry", {})
    with pytest.raises(ValueError, match=r"pip install 'lavae-rl\[atari\]'"):
        make_env("ALE/Pong-v5")


@pytest.mark.parametrize(
    ("env_id", "module", "shape"),
    [
        ("LAVAE/OddOneOut-v0", "lavae_rl", (64, 64, 3)),
        ("ALE/Pong-v5", "ale_py", (210, 160, 3)),
        ("MiniGrid-Empty-5x5-v0", "minigrid", (160, 160, 3)),
        ("MinAtar/Breakout-v1", "minatar", (10, 10, 3)),
    ],
)
def test_families_of_environments_are_registered_when_they_are_named(env_id, module, shape):
    pytest.importorskip(module, exc_type=ImportError)
    for _ in range(2):  # registering twice would warn
        env, read = open_screen(env_id)
        frame = read(env.reset(seed=0)[0])
        assert (frame.shape, frame.dtype.name) == (shape, "uint8")
        assert frame.any()
        env.close()
