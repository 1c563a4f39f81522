import csv
import importlib
import json
import os
import shutil
import signal

import pytest
import torch
from stable_baselines3 import PPO

from lavae_rl.model.checkpoint import find
from lavae_rl.model.lavae import LAVAE
from lavae_rl.rl.agents import load_agent
from lavae_rl.rl.settings import DEFAULTS, PRESET_FLAGS, check_model, fresh_facts, given_settings
from lavae_rl.runs.folder import claimed

train_agent = importlib.import_module("lavae_rl.agents.train_agent")
main, Watch = train_agent.main, train_agent.Watch
SHORT = [
    "--env",
    "ObjectGoal",
    "--observation",
    "oracle",
    "--arch",
    "deepsets",
    "--num-envs",
    "16",
    "--eval-episodes",
    "50",
]


def test_a_run_describes_itself_and_goes_on_where_it_stopped(tmp_path, capsys):
    out = tmp_path / "run"
    main(
        [*SHORT, "--steps", "2048", "--eval-every", "1024", "--seed", "3", "--num-objects", "2", "3", "--out", str(out)]
    )
    facts = json.loads((out / "config.json").read_text())
    assert facts["preset"]["num_objects"] == [2, 3]
    assert (facts["task"], facts["observation"], facts["preset"]["algorithm"], facts["seed"]) == (
        "ObjectGoal",
        "oracle",
        "ppo",
        3,
    )
    assert facts["commit"]
    assert [row["step"] for row in facts["evaluations"]] == [1024, 2048]
    assert all(0 <= row["success_rate"] <= 1 for row in facts["evaluations"])
    with (out / "progress.csv").open() as stream:
        logged = [float(row["eval/success_rate"]) for row in csv.DictReader(stream) if row["eval/success_rate"]]
    assert logged == [row["success_rate"] for row in facts["evaluations"]]
    # As if it had been stopped half-way: more steps are left than it has made.
    facts["preset"]["steps"] = 3072
    (out / "config.json").write_text(json.dumps(facts))
    main(["--out", str(out), "--resume"])
    saved = load_agent(out)
    assert saved.agent.num_timesteps == 3072
    assert saved.facts["evaluations"][-1]["step"] == 3072
    assert saved.facts["preset"]["num_objects"] == [2, 3]
    assert len(list(out.glob("progress*.csv"))) == 2
    assert len(saved.facts["resumed"]) == 1
    main(["--out", str(out), "--resume", "--seed", "3", "--env", "LAVAE/ObjectGoal-v0"])
    assert load_agent(out).agent.num_timesteps == 3072
    assert "ObjectGoal, oracle, ppo: 3,072 steps" in capsys.readouterr().out
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
        (["--env", "MatchDigit", "--algo", "dqn"], "expected algorithm of ppo, a2c, sac for actions Box"),
        (["--algo", "sac"], "expected algorithm of ppo, a2c, dqn for actions Discrete(5), got 'sac'"),
        (["--num-objects", "3", "2"], "low <= high"),
        (["--steps", "0"], "steps of at least 1"),
        (["--eval-every", "0"], "--eval-every of at least 1"),
        (["--eval-episodes", "-1"], "--eval-episodes of at least 1"),
        (["--seed", "-1"], "--seed of 0 to 4294967295"),
        (["--seed", "5000000000"], "--seed of 0 to 4294967295"),
        (["--model", "multi-dsprites"], "--model with lavae or vae, got it with oracle"),
        (["--observation", "pixels"], "--arch with tokens"),
        (["--num-objects", "8"], "8 objects need"),
        (["--observation", "lavae", "--num-objects", "3", "8"], "8 slots"),
        (["--device", "cuda"], "no CUDA device here"),
    ],
)
def test_what_cannot_be_trained_is_refused(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        main([*SHORT, *arguments, "--out", str(tmp_path / "run")])
    assert stop.value.code == 1
    assert message in capsys.readouterr().out


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(SystemExit):
        main([*SHORT, "--out", str(tmp_path)])
    assert "--resume" in capsys.readouterr().out


def test_no_scene_is_shared_by_two_seeds_or_seen_again_when_a_run_goes_on(tmp_path, monkeypatch):
    scenes = []
    learn = PPO.learn

    def look(agent, *args, **kwargs):
        scenes.append({tokens.tobytes() for tokens in agent.get_env().reset()["tokens"]})
        return learn(agent, *args, **kwargs)

    monkeypatch.setattr(PPO, "learn", look)
    for seed in ("0", "1"):
        main([*SHORT, "--steps", "1024", "--seed", seed, "--out", str(tmp_path / seed)])
    facts = json.loads((tmp_path / "0" / "config.json").read_text())
    facts["preset"]["steps"] = 2048
    (tmp_path / "0" / "config.json").write_text(json.dumps(facts))
    main(["--out", str(tmp_path / "0"), "--resume"])
    assert all(len(some) == 16 for some in scenes)
    assert len(set.union(*scenes)) == 3 * 16


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_what_was_learned_before_somebody_stopped_it_is_kept(tmp_path, monkeypatch, number):
    evaluate = Watch.evaluate
    monkeypatch.setattr(Watch, "evaluate", lambda watch: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as stop:
        main([*SHORT, "--steps", "4096", "--eval-every", "2000", "--out", str(tmp_path / "run")])
    assert stop.value.code == 130
    saved = load_agent(tmp_path / "run")
    assert saved.agent.num_timesteps == 2000
    assert saved.facts["seconds"] > 0
    assert saved.facts["evaluations"] == []
    monkeypatch.setattr(Watch, "evaluate", evaluate)
    main(["--out", str(tmp_path / "run"), "--resume"])
    assert [row["step"] // 1000 for row in load_agent(tmp_path / "run").facts["evaluations"]][:2] == [2, 4]


def test_a_folder_that_another_process_trains_in_is_left_to_it(tmp_path, capsys):
    out = tmp_path / "run"
    main([*SHORT, "--steps", "1024", "--out", str(out)])
    facts = json.loads((out / "config.json").read_text())
    facts["preset"]["steps"] = 2048
    (out / "config.json").write_text(json.dumps(facts))
    with claimed(out), pytest.raises(SystemExit) as stop:
        main(["--out", str(out), "--resume"])
    assert stop.value.code == 1
    assert "another process trains in" in capsys.readouterr().out
    assert load_agent(out).agent.num_timesteps == 1024


def test_an_episode_of_the_training_is_long_enough_for_more_objects():
    given = {"task": "DigitOrder", "observation": "oracle"}
    assert fresh_facts(given)["preset"]["episode_steps"] == 3
    assert fresh_facts(given | {"num_objects": 2})["preset"]["episode_steps"] == 3
    assert fresh_facts(given | {"num_objects": [2, 5]})["preset"]["episode_steps"] == 5
    assert fresh_facts({"task": "Push", "num_objects": 4})["preset"]["episode_steps"] is None


def test_a_run_of_another_version_is_refused(tmp_path, capsys):
    out = tmp_path / "run"
    main([*SHORT, "--steps", "1024", "--out", str(out)])
    facts = json.loads((out / "config.json").read_text())
    for text, message in [
        (json.dumps(facts | {"preset": {"colour": 1}}), "another version of this program"),
        ("{", "is damaged"),
    ]:
        (out / "config.json").write_text(text)
        with pytest.raises(SystemExit):
            main(["--out", str(out), "--resume"])
        assert message in capsys.readouterr().out


def test_a_model_is_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(find("multi-dsprites"), tmp_path / "mine")
    given = given_settings(dict.fromkeys(("env", "algo", *DEFAULTS, *PRESET_FLAGS)) | {"model": "mine"})
    assert given == {"model": str(tmp_path / "mine")}


def test_a_model_with_other_weights_is_not_the_one_that_was_learned_on(tmp_path):
    mine = shutil.copytree(find("multi-dsprites"), tmp_path / "mine")
    facts = fresh_facts({"model": str(mine)})
    check_model(facts)
    model = LAVAE.from_pretrained(mine)
    model.load_state_dict(model.state_dict() | {"count_logits": torch.zeros(4)})
    model.save_pretrained(mine)
    with pytest.raises(ValueError, match=r"weights have changed; train the agent again, .*--model"):
        check_model(facts)
    check_model({**facts, "model_fingerprint": None})  # of an agent from before fingerprints were kept
    assert fresh_facts({"observation": "oracle"})["model_fingerprint"] is None
