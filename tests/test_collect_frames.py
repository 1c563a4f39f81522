import json

import gymnasium as gym
import pytest
from stable_baselines3 import PPO

import lavae_rl  # noqa: F401  # registers the tasks
from lavae_rl.data.manifest import read_manifest
from lavae_rl.data.recordings import open_recording
from lavae_rl.pretrain.collect_frames import main


def _main(out, *more, env="LAVAE/OddOneOut-v0", frames=40):
    main(["--env", env, "--frames", str(frames), "--out", str(out), *map(str, more)])


def _manifest(folder):
    done = read_manifest(folder)
    assert done is not None
    return done


def _said(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_frames_of_a_task_are_collected_by_its_id(tmp_path, capsys):
    _main(tmp_path, "--env-kwargs", '{"num_objects": 3}', "--policy", "sticky", "--seed", 2)
    done = _manifest(tmp_path)
    assert (done.env_kwargs, done.policy, done.seed, done.collected) == ({"num_objects": 3}, "sticky", 2, 40)
    assert open_recording(tmp_path).shape == (64, 64, 3)
    assert f"LAVAE/OddOneOut-v0: 40 frames of {len(done.episodes)} episodes in {tmp_path}, 0 MB" in _said(capsys)
    _main(tmp_path, "--env-kwargs", '{"num_objects": 3}', "--policy", "sticky", "--seed", 2, "--resume")


def test_a_saved_agent_collects_frames(tmp_path):
    PPO("CnnPolicy", gym.make("LAVAE/OddOneOut-v0"), n_steps=2, batch_size=2, device="cpu").save(tmp_path / "agent")
    _main(tmp_path / "frames", "--policy", tmp_path / "agent.zip", frames=8)
    assert _manifest(tmp_path / "frames").policy == str(tmp_path / "agent.zip")
    assert len(open_recording(tmp_path / "frames")) == 8


@pytest.mark.parametrize(
    ("options", "skip", "message"),
    [
        ({}, 4, """an even frameskip never shows them: collect again, into another folder, with --env-kwargs"""),
        ({}, 1, "collect again, into another folder, with --max-frames 2"),
        ({}, 3, "collect again, into another folder, with --max-frames 2"),
        ({"--max-frames": 2}, 3, None),
    ],
)
def test_flickering_games_are_pointed_out_with_a_remedy_that_works(tmp_path, capsys, options, skip, message):
    pytest.importorskip("ale_py")
    flags = [part for pair in options.items() for part in pair]
    kwargs = json.dumps({"frameskip": skip})
    _main(tmp_path, "--env-kwargs", kwargs, *flags, env="ALE/Asteroids-v5", frames=60)
    said = _said(capsys)
    assert ("note:" in said) == (message is not None)
    assert message is None or message in said


@pytest.mark.parametrize("game", ["Pong", "SpaceInvaders", "Breakout"])
def test_other_games_raise_no_false_alarm(tmp_path, capsys, game):
    pytest.importorskip("ale_py")
    _main(tmp_path, env=f"ALE/{game}-v5", frames=120)
    assert "note:" not in _said(capsys)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--env-kwargs", "{"], "argument --env-kwargs: expected JSON, got '{'"),
        (["--env-kwargs", "[1]"], "argument --env-kwargs: expected a JSON object, got '[1]'"),
        (["--max-frames", "3"], "argument --max-frames: invalid choice"),
    ],
)
def test_unusable_flags_are_refused(tmp_path, capsys, more, message):
    with pytest.raises(SystemExit, match="2"):
        _main(tmp_path, *more)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "frames", "message"),
    [
        (["--policy", "best"], 40, "expected --policy random, sticky or the .zip of an agent, got best"),
        (["--frame-key", "image"], 40, "expected --frame-key to be left out"),
        ([], 0, "expected at least 1 frame to collect, got 0"),
        ([], 1, "expected frames in which something moves, got 1 equal ones"),
    ],
)
def test_failures_are_one_line(tmp_path, capsys, more, frames, message):
    with pytest.raises(SystemExit, match="1"):
        _main(tmp_path, *more, frames=frames)
    assert message in _said(capsys)
