import csv
import os
import re
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from stable_baselines3 import PPO

from lavae_rl.agents.train_agent import main
from lavae_rl.model.checkpoint import find
from lavae_rl.model.lavae import LAVAE
from lavae_rl.rl.agents import load_agent
from lavae_rl.rl.progress import Progress
from lavae_rl.rl.run import DEFAULTS, PRESET_FLAGS, given_settings, new_run, read_run, write_run
from lavae_rl.runs.claims import claimed

SHORT = ["--env", "ObjectGoal", "--observation", "oracle", "--arch", "deepsets"]
SHORT += ["--num-envs", "16", "--eval-episodes", "50"]


def lengthen(out, steps):
    """Gives the run in a folder more steps than it has made, as if it had been stopped."""
    run = read_run(out)
    write_run(out, replace(run, preset=replace(run.preset, steps=steps)))


@pytest.mark.slow
def test_run_describes_itself_and_resumes_where_it_stopped(tmp_path, capsys):
    out = tmp_path / "run"
    flags = ["--steps", "2048", "--eval-every", "1024", "--seed", "3", "--num-objects", "2", "3"]
    main([*SHORT, *flags, "--out", str(out)])
    run = read_run(out)
    assert (run.task, run.observation, run.preset.algorithm, run.seed) == ("ObjectGoal", "oracle", "ppo", 3)
    assert run.preset.num_objects == (2, 3)
    assert run.provenance.commit
    assert [row.step for row in run.evaluations] == [1024, 2048]
    assert all(0 <= row.score <= 1 for row in run.evaluations)
    with (out / "progress.csv").open() as stream:
        logged = [float(row["eval/success_rate"]) for row in csv.DictReader(stream) if row["eval/success_rate"]]
    assert logged == [row.success_rate for row in run.evaluations]
    lengthen(out, 3072)
    main(["--out", str(out), "--resume"])
    agent, run = load_agent(out)
    assert agent.num_timesteps == run.evaluations[-1].step == 3072
    assert run.preset.num_objects == (2, 3)
    assert len(run.resumed) == 1
    assert len(list(out.glob("progress*.csv"))) == 2
    main(["--out", str(out), "--resume", "--seed", "3", "--env", "LAVAE/ObjectGoal-v0"])
    assert load_agent(out).agent.num_timesteps == 3072
    printed = capsys.readouterr().out
    assert "ObjectGoal, oracle, ppo: 3,072 steps" in printed
    assert re.search(r"3072/3072 .*success 0\.\d\d +[\d,]+ steps/s", printed)
    for flags in (["--steps", "9000"], ["--seed", "5"], ["--env", "Push"], ["--num-objects", "2"], ["--algo", "a2c"]):
        with pytest.raises(SystemExit):
            main(["--out", str(out), "--resume", *flags])
        assert "the run in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "Chess"], "LAVAE/OddOneOut-v0"),
        (["--num-objects", "1", "2", "3"], "a number or two"),
        (["--resume"], "agent.zip"),
        (["--env", "MatchDigit", "--algo", "dqn"], "expected algorithm of ppo, a2c, sac, td3"),
        (["--algo", "sac"], "for actions Discrete(5), got 'sac'"),
        (["--num-objects", "3", "2"], "low <= high"),
        (["--steps", "0"], "steps of at least 1"),
        (["--eval-every", "0"], "eval_every of at least 1"),
        (["--eval-episodes", "-1"], "eval_episodes of at least 1"),
        (["--seed", "-1"], "seed of 0 to 4294967295"),
        (["--seed", "5000000000"], "seed of 0 to 4294967295"),
        (["--model", "multi-dsprites"], "--model with observation lavae or vae, got it with oracle"),
        (["--observation", "pixels"], "--arch with observation lavae or oracle, got it with pixels"),
        (["--num-objects", "8"], "8 objects need"),
        (["--observation", "lavae", "--num-objects", "3", "8"], "8 slots"),
        (["--device", "cuda"], "no CUDA device here"),
    ],
)
def test_impossible_flags_are_refused(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        main([*SHORT, *arguments, "--out", str(tmp_path / "run")])
    assert stop.value.code == 1
    assert message in capsys.readouterr().out


def test_folder_of_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SystemExit):
        main([*SHORT, "--out", str(tmp_path)])
    assert "--resume" in capsys.readouterr().out


@pytest.mark.slow
def test_seeds_and_resumed_sessions_share_no_scene(tmp_path, monkeypatch):
    scenes = []
    learn = PPO.learn

    def look(agent, *args, **kwargs):
        scenes.append({tokens.tobytes() for tokens in agent.get_env().reset()["tokens"]})
        return learn(agent, *args, **kwargs)

    monkeypatch.setattr(PPO, "learn", look)
    for seed in ("0", "1"):
        main([*SHORT, "--steps", "1024", "--seed", seed, "--out", str(tmp_path / seed)])
    lengthen(tmp_path / "0", 2048)
    main(["--out", str(tmp_path / "0"), "--resume"])
    assert all(len(some) == 16 for some in scenes)
    assert len(set.union(*scenes)) == 3 * 16


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_run_keeps_what_was_learned(tmp_path, monkeypatch, number):
    evaluate = Progress.evaluate
    monkeypatch.setattr(Progress, "evaluate", lambda watch: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as stop:
        main([*SHORT, "--steps", "1024", "--eval-every", "512", "--out", str(tmp_path / "run")])
    assert stop.value.code == 130
    agent, run = load_agent(tmp_path / "run")
    assert agent.num_timesteps == 512
    assert run.seconds > 0
    assert run.evaluations == []
    monkeypatch.setattr(Progress, "evaluate", evaluate)
    main(["--out", str(tmp_path / "run"), "--resume"])
    assert [row.step // 512 for row in read_run(tmp_path / "run").evaluations][:2] == [1, 2]


@pytest.mark.slow
def test_folder_that_another_process_trains_in_is_refused(tmp_path, capsys):
    out = tmp_path / "run"
    main([*SHORT, "--steps", "1024", "--out", str(out)])
    lengthen(out, 2048)
    with claimed(out), pytest.raises(SystemExit) as stop:
        main(["--out", str(out), "--resume"])
    assert stop.value.code == 1
    assert "another process trains in" in capsys.readouterr().out
    assert load_agent(out).agent.num_timesteps == 1024


def test_episodes_in_training_are_long_enough_for_more_objects():
    given = {"task": "DigitOrder", "observation": "oracle"}
    assert new_run(given).preset.episode_steps == 3
    assert new_run(given | {"num_objects": 2}).preset.episode_steps == 3
    assert new_run(given | {"num_objects": (2, 5)}).preset.episode_steps == 5
    assert new_run({"task": "Push", "num_objects": 4}).preset.episode_steps is None


def test_folder_of_a_model_is_stored_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(find("multi-dsprites"), tmp_path / "mine")
    given = given_settings(dict.fromkeys((*DEFAULTS, *PRESET_FLAGS)) | {"model": "mine"})
    assert given == {"model": str(tmp_path / "mine")}


@pytest.mark.slow
def test_model_whose_weights_have_changed_is_refused(tmp_path):
    mine = shutil.copytree(find("multi-dsprites"), tmp_path / "mine")
    run = new_run({"model": str(mine)})
    run.check_model()
    model = LAVAE.from_pretrained(mine)
    model.load_state_dict(model.state_dict() | {"count_logits": torch.zeros(4)})
    model.save_pretrained(mine)
    with pytest.raises(ValueError, match=r"weights have changed; train the agent again, .*--model"):
        run.check_model()
    replace(run, model_fingerprint=None).check_model()  # of an agent from before fingerprints were kept
    assert new_run({"observation": "oracle"}).model_fingerprint is None
