"""The training program on frames of environments: what it chooses and stores, resumes and refuses."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file

from lavae_rl import LAVAE, LAVAEObservation
from lavae_rl.data.manifest import Rollouts, write_manifest
from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.recordings import FrameSpec
from lavae_rl.pretrain import evaluate_lavae
from lavae_rl.pretrain import train_lavae as program
from lavae_rl.pretraining.frame_options import stored_with_weights
from lavae_rl.pretraining.run import read_run

SMOKE = ["--recipe", "world-smoke", "--device", "cpu"]


def _frames(number=60):
    """A red square that walks over a green and blue screen of 48 x 64 pixels."""
    frames = np.zeros((number, 48, 64, 3), np.uint8)
    frames[:, :24, :, 1] = frames[:, 24:, :, 2] = 120
    for i, frame in enumerate(frames):
        row, column = 5 + i % 30, 3 + 3 * i % 50
        frame[row : row + 8, column : column + 8] = (250, 20, 20)
    return frames


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, _frames())
    return path


def _refused(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(argv)
    captured = capsys.readouterr()
    return stop.value.code, " ".join((captured.out + captured.err).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A complete smoke run, and its frames."""
    folder = tmp_path_factory.mktemp("runs")
    np.save(folder / "frames.npy", _frames())
    program.main([*SMOKE, "--frames", str(folder / "frames.npy"), "--ignore", "0,0,4,10", "--out", str(folder / "run")])
    return folder / "run"


@pytest.mark.slow
def test_a_run_stores_what_was_chosen(finished):
    run = read_run(finished)
    assert run.data == FrameSpec(str(finished.parent / "frames.npy"))
    assert run.choices is not None
    assert (run.choices.background, run.choices.ignore) == ("states", ((0, 0, 4, 10),))
    assert run.choices.side == pytest.approx(8, abs=1)
    assert run.choices.sprite_size == run.model.sprite_size == 13
    assert run.model.canvas_size == (48, 64)
    assert set(run.metrics or {}) >= {"elbo", "explained", "mean_count", "persistence"}
    assert (finished / "figures" / "survey.png").is_file()
    background: Any = LAVAE.from_pretrained(finished).background
    assert background.ignored[:4, :10].all()
    assert background.ignored.sum() == 40


@pytest.mark.slow
def test_a_finished_model_reads_raw_frames_and_is_measured_on_them(finished, tmp_path):
    model, frames = LAVAE.from_pretrained(finished), _frames(3)
    objects = model.encode(frames)
    assert objects.box.shape == (3, objects.mask.shape[1], 4)
    assert model.reconstruct(frames)[0].shape == frames.shape
    assert model.sample(2).shape == (2, 48, 64, 3)
    picture, metrics = tmp_path / "picture.png", tmp_path / "metrics.json"
    where = ["--frames", str(finished.parent / "frames.npy"), "--num-frames", "8"]
    evaluate_lavae.main([str(finished), *where, "--picture", str(picture), "--json", str(metrics)])
    assert picture.is_file()
    assert {"elbo", "explained"} <= set(json.loads(metrics.read_text()))


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(finished, tmp_path, monkeypatch):
    out, same = tmp_path / "stopped", ["--ignore", "0,0,4,10", "--frames", str(finished.parent / "frames.npy")]
    monkeypatch.setattr("lavae_rl.pretrain.train_lavae.watch", _stop_at(10, program.watch))
    with pytest.raises(SystemExit) as stop:
        program.main([*SMOKE, *same, "--out", str(out)])
    assert stop.value.code == 130
    monkeypatch.undo()
    program.main(["--resume", "--device", "cpu", "--background", "auto", *same, "--out", str(out)])
    weights, expected = (load_file(folder / "model.safetensors") for folder in (out, finished))
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def _stop_at(step, watch):
    def stopping(training, sources, folder, run, console):
        inner = training.step

        def counted(source):
            terms = inner(source)
            if training.progress.step == step:
                training.agree = lambda flag: True
            return terms

        training.step = counted
        return watch(training, sources, folder, run, console)

    return stopping


@pytest.mark.slow
def test_frames_of_other_colours_are_trained_on_and_their_model_reads_colours_it_never_met(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(60, 200, (60, 1, 1, 3)), 48, axis=1).repeat(64, axis=2).astype(np.uint8)
    for frame in frames:
        row, column = rng.integers((40, 56)).tolist()
        frame[row : row + 8, column : column + 8] = 255
    np.save(tmp_path / "frames.npy", frames)
    out = tmp_path / "run"
    program.main([*SMOKE, "--frames", str(tmp_path / "frames.npy"), "--out", str(out)])
    assert "background: changing; changes in 3 directions" in " ".join(capsys.readouterr().out.split())
    run, model = read_run(out), LAVAE.from_pretrained(out)
    assert run.choices is not None
    assert (run.choices.background, run.model.background_directions) == ("changing", 3)
    other = np.full((1, 48, 64, 3), (70, 190, 120), np.uint8)
    images = model.images(other)
    assert (model.background(images) - images).abs().max() < 0.02
    assert model.encode(other).mask.shape[0] == 1


@pytest.mark.slow
def test_flags_that_contradict_a_stored_run_are_refused(finished, capsys):
    code, output = _refused(["--resume", "--background", "black", "--out", str(finished)], capsys)
    assert code == 1
    assert "has background 'states', got 'black'" in output


class Dot(gym.Env[np.ndarray, np.int64]):
    """A dot on grey, as frames without a channel axis."""

    observation_space = spaces.Box(0, 255, (40, 40), np.uint8)
    action_space = spaces.Discrete(3)
    place = 0

    def _frame(self):
        frame = np.full((40, 40), 90, np.uint8)
        frame[10:18, self.place : self.place + 8] = 255
        return frame

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self._frame(), {}

    def step(self, action):
        self.place = (self.place + 1 + int(action)) % 32
        return self._frame(), 0.0, False, self.place > 28, {}


@pytest.mark.slow
def test_an_environment_with_grey_frames_is_collected_trained_on_and_wrapped(tmp_path):
    gym.register("Dot-v0", lambda **_: Dot())
    out = tmp_path / "dot"
    program.main([*SMOKE, "--env", "Dot-v0", "--num-frames", "80", "--out", str(out)])
    assert len(list((out / "frames").glob("*.npy"))) > 1
    assert read_run(out).preprocessing == Preprocessing(layout="hw")
    env = LAVAEObservation(gym.make("Dot-v0"), model=str(out))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)


def test_the_preprocessing_of_collected_frames_goes_with_the_weights(tmp_path):
    assert stored_with_weights(tmp_path) == Preprocessing()
    write_manifest(Rollouts("Any-v0", {}, "random", 10, max_frames=2, layout="hw"), tmp_path)
    assert stored_with_weights(tmp_path) == Preprocessing(layout="hw", max_frames=2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ignore", "0,0,48,64"], "expected --ignore to leave a part of the frame"),
        (["--ignore", "0,0,49,64"], "inside the frames of 48 x 64 pixels, got 0,0,49,64"),
        (["--ignore", "5,0,43,64"], "expected frames in which something moves"),
        (["--recipe", "fast"], "expected --recipe world for frames of an environment"),
        (["--recipe", "long", "--model", "baseline"], "expected --recipe world for frames of an environment"),
        (["--sprite-size", "8"], "expected an odd sprite_size of at least 5, got 8"),
        (["--num-frames", "7"], "expected --env with --num-frames"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings_that_cannot_be_are_refused(flags, message, recording, tmp_path, capsys):
    code, output = _refused(["--frames", str(recording), *flags, "--out", str(tmp_path / "out")], capsys)
    assert code == 1
    assert message in output


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--ignore", "0,0,4,4"], "expected --env or --frames with --ignore"),
        (["--recipe", "world"], "expected --env or --frames with --recipe world"),
        (["--env", "Nowhere-v0"], "Nowhere"),
    ],
)
def test_flags_without_their_frames_are_refused(argv, message, tmp_path, capsys):
    code, output = _refused([*argv, "--out", str(tmp_path / "out")], capsys)
    assert code == 1
    assert message in output


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.full((60, 48, 64, 3), 9, np.uint8), "expected frames in which something moves"),
        (_frames(12), "expected at least 16 frames to train on, got 8"),
        (_frames() / 255, "float64"),
        (_frames() > 100, "bool"),
    ],
    ids=["constant", "few", "float", "bool"],
)
def test_frames_that_cannot_be_trained_on_are_refused(frames, message, tmp_path, capsys):
    path = Path(tmp_path / "bad.npy")
    np.save(path, frames)
    code, output = _refused(["--frames", str(path), "--out", str(tmp_path / "out")], capsys)
    assert code == 1
    assert message in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--env-kwargs", "[3]"], "argument --env-kwargs: expected a JSON object, got '[3]'"),
        (["--env-kwargs", "{frameskip: 3}"], "argument --env-kwargs: expected JSON, got"),
        (["--max-objects", "0"], "argument --max-objects: expected auto or a whole number of at least 1, got 0"),
        (
            ["--sprite-size", "large"],
            "--sprite-size: expected auto or a whole number of at least 1, got large",
        ),
    ],
)
def test_values_that_would_be_ignored_are_refused(tmp_path, capsys, flags, message):
    code, said = _refused([*SMOKE, "--env", "LAVAE/OddOneOut-v0", *flags, "--out", str(tmp_path / "run")], capsys)
    assert code == 2
    assert message in said
