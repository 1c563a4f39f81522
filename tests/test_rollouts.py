from dataclasses import asdict, replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from lavae_rl.data.manifest import Rollouts, read_manifest
from lavae_rl.data.recordings import open_recording
from lavae_rl.data.rollouts import collect

SETTINGS = Rollouts("Steps-v0", {}, "random", 50)


class Steps(gym.Env):
    """Pixel 0 shows the time, pixel 1 the last action, and the rest is random; every third frame is black."""

    observation_space = spaces.Box(0, 255, (16, 16, 3), np.uint8)
    action_space = spaces.Discrete(5)
    blinks, shape = True, (16, 16, 3)

    def _frame(self, action):
        frame = self.np_random.integers(1, 256, self.shape, np.uint8)
        frame[0, :2] = np.reshape([self.time, action], (2,) + (1,) * (len(self.shape) - 2))
        return frame * np.uint8(not self.blinks or self.time % 3 != 2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.length = 0, self.np_random.integers(6, 15)
        return self._frame(9), {}

    def step(self, action):
        self.time += 1
        return self._frame(action), 0.0, self.time >= self.length, False, {}


@pytest.fixture(autouse=True)
def registered():
    gym.register("Steps-v0", lambda **kwargs: Steps(**kwargs))
    yield
    del gym.registry["Steps-v0"]


def _collect(folder, agent=None, resume=False, on_frames=lambda number: None, **changes):
    return collect(replace(SETTINGS, episodes=[], **changes), folder, agent, resume, on_frames)


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if ".tmp" not in path.name}


def test_episodes_become_files_and_black_frames_are_counted(tmp_path):
    counted: list[int] = []
    done = _collect(tmp_path, on_frames=counted.append)
    assert counted == list(range(1, 51))
    assert read_manifest(tmp_path) == done
    assert len(done.episodes) > 3
    recording = open_recording(tmp_path)
    assert len(recording) == 50
    assert (recording.skipped, done.shape) == (done.skipped, [16, 16, 3])
    for first in recording.episodes[:-2]:
        assert recording[first : first + 4][:, 0, 0, 0].tolist() == [0, 1, 3, 4]  # 2 is black
    assert done.versions.keys() == {"python", "lavae-rl", "numpy", "gymnasium"}
    for name, frames in zip(done.files, done.episodes, strict=True):
        assert len(np.load(tmp_path / name, mmap_mode="r")) == frames


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        _collect(tmp_path / name, seed=seed)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    assert _files(tmp_path / "a").items().isdisjoint(_files(tmp_path / "c").items())
    second, first = (np.load(tmp_path / name) for name in ("a/episode-00001.npy", "c/episode-00000.npy"))
    np.testing.assert_array_equal(first, second)  # episode i is seeded with seed + i


@pytest.mark.parametrize("stop", [1, 17, 30, 49])
def test_a_killed_run_resumes_to_the_same_bytes(tmp_path, stop):
    def kill(number):
        if number == stop:
            raise KeyboardInterrupt

    _collect(tmp_path / "whole", policy="sticky")
    with pytest.raises(KeyboardInterrupt):
        _collect(tmp_path / "killed", policy="sticky", on_frames=kill)
    _collect(tmp_path / "killed", policy="sticky", resume=True)
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")
    before = _files(tmp_path / "whole")
    _collect(tmp_path / "whole", policy="sticky", resume=True)
    assert _files(tmp_path / "whole") == before


def test_maxima_are_those_of_each_frame_and_the_one_before_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Steps, "blinks", False)
    single, double = _collect(tmp_path / "1"), _collect(tmp_path / "2", max_frames=2)
    assert single.episodes == double.episodes
    for name in single.files:
        frames = np.load(tmp_path / "1" / name)
        expected = np.maximum(frames, frames[[0, *range(len(frames) - 1)]])
        np.testing.assert_array_equal(np.load(tmp_path / "2" / name), expected)


def test_the_sticky_policy_repeats_most_of_its_actions(tmp_path, monkeypatch):
    monkeypatch.setattr(Steps, "blinks", False)
    shares = []
    for policy in ("random", "sticky"):
        _collect(tmp_path / policy, policy=policy, num_frames=600)
        recording = open_recording(tmp_path / policy)
        actions = np.split(recording[:][:, 0, 1, 0], recording.episodes[1:-1])
        shares.append(np.concatenate([each[2:] == each[1:-1] for each in actions]).mean())
    assert 0.1 < shares[0] < 0.3
    assert 0.85 < shares[1] < 0.98  # one in five new actions is the old one


def test_an_agent_acts_by_observations_and_is_seeded_for_each_episode(tmp_path, monkeypatch):
    monkeypatch.setattr(Steps, "blinks", False)
    seeds = []

    def agent(seed):
        seeds.append(seed)
        return lambda observation: int(observation[0, 0, 0]) % 5

    done = _collect(tmp_path, agent, policy="mine.zip", seed=7)
    assert seeds == list(range(7, 7 + len(done.episodes)))
    frames = np.load(tmp_path / done.files[0])
    assert frames[1:, 0, 1, 0].tolist() == [time % 5 for time in range(len(frames) - 1)]


def test_grey_frames_without_channels_are_stored_with_one(tmp_path, monkeypatch):
    monkeypatch.setattr(Steps, "shape", (16, 16))
    monkeypatch.setattr(Steps, "observation_space", spaces.Box(0, 255, (16, 16), np.uint8))
    assert asdict(_collect(tmp_path)).items() >= {"layout": "hw", "shape": [16, 16, 1]}.items()
    assert open_recording(tmp_path).shape == (16, 16, 1)


def test_folders_are_not_mixed(tmp_path):
    _collect(tmp_path / "a")
    with pytest.raises(FileExistsError, match="holds frames; continue with --resume"):
        _collect(tmp_path / "a")
    with pytest.raises(ValueError, match="have seed 0, got 1; choose another --out"):
        _collect(tmp_path / "a", resume=True, seed=1)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other").touch()
    with pytest.raises(FileExistsError, match="holds other files"):
        _collect(tmp_path / "b")


def test_a_policy_without_its_agent_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"policy of random, sticky, or an agent, got 'mine\.zip'"):
        _collect(tmp_path, policy="mine.zip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_frame": lambda self, action: np.zeros((16, 16, 3), np.uint8)}, "an episode of black ones"),
        (
            {"_frame": lambda self, action: np.ones((16 + self.time, 16, 3), np.uint8)},
            r"got \[16, 16, 3\] first, then \(17, 16, 3\)",
        ),
        ({"_frame": lambda self, action: np.ones((16, 16, 3))}, "expected uint8 frames, .* got float64"),
    ],
    ids=["black", "growing", "float"],
)
def test_frames_that_cannot_be_stored_are_refused(tmp_path, monkeypatch, change, message):
    for name, value in change.items():
        monkeypatch.setattr(Steps, name, value)
    with pytest.raises(ValueError, match=message):
        _collect(tmp_path)


@pytest.mark.parametrize(
    ("env_id", "module"),
    [("ALE/Breakout-v5", "ale_py"), ("MinAtar/SpaceInvaders-v1", "minatar"), ("MiniGrid-Fetch-5x5-N2-v0", "minigrid")],
)
def test_games_resume_to_the_same_bytes(tmp_path, env_id, module):
    pytest.importorskip(module, exc_type=ImportError)
    kwargs = {"env_id": env_id, "num_frames": 260}

    def kill(number):
        if number == 250:
            raise KeyboardInterrupt

    done = _collect(tmp_path / "whole", **kwargs)
    with pytest.raises(KeyboardInterrupt):
        _collect(tmp_path / "killed", on_frames=kill, **kwargs)
    _collect(tmp_path / "killed", resume=True, **kwargs)
    assert len(done.episodes) > 1
    assert _files(tmp_path / "killed") == _files(tmp_path / "whole")
