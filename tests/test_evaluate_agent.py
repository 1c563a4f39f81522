import json

import pytest

from lavae_rl.agents.evaluate_agent import main
from lavae_rl.rl.agents import make_agent, save_agent
from lavae_rl.rl.run import new_run
from lavae_rl.rl.vec_envs import make_run_vec_env


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of an agent that has learned nothing."""
    folder = tmp_path_factory.mktemp("run")
    run = new_run({"task": "ObjectGoal", "observation": "oracle", "arch": "deepsets", "num_objects": (2, 3)})
    venv = make_run_vec_env(run, 4, seed=0)
    save_agent(folder, make_agent(run.observation, run.preset, venv, seed=0), run)
    return folder


@pytest.mark.slow
def test_success_is_measured_for_each_number_of_objects(run, tmp_path, capsys):
    main([str(run), "--num-objects", "2", "5", "--episodes", "60", "--json", str(tmp_path / "success.json")])
    results = json.loads((tmp_path / "success.json").read_text())
    assert (results["env"], results["observation"], results["mode"]) == ("LAVAE/ObjectGoal-v0", "oracle", "train")
    assert [row["num_objects"] for row in results["results"]] == [2, 5]
    assert [row["chance"] for row in results["results"]] == [1 / 2, 1 / 5]
    for row in results["results"]:
        assert row["episodes"] == 60
        assert row["ci95"][0] <= row["success_rate"] <= row["ci95"][1]
    assert "chance" in capsys.readouterr().out


@pytest.mark.slow
def test_default_numbers_of_objects_are_those_of_the_training(run, tmp_path):
    main([str(run), "--episodes", "50", "--mode", "test", "--json", str(tmp_path / "success.json")])
    assert [row["num_objects"] for row in json.loads((tmp_path / "success.json").read_text())["results"]] == [2, 3]


@pytest.mark.slow
def test_stochastic_samples_actions(run, tmp_path):
    measured = []
    for flags in ([], ["--stochastic"], ["--stochastic"]):
        main([str(run), "--num-objects", "2", "--episodes", "60", *flags, "--json", str(tmp_path / "success.json")])
        results = json.loads((tmp_path / "success.json").read_text())
        assert results["stochastic"] == bool(flags)
        measured.append(results["results"][0]["success_rate"])
    likeliest, sampled, again = measured
    assert likeliest != sampled == again


def test_missing_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path)])
    assert stop.value.code == 1
    assert "agent.zip" in capsys.readouterr().out


@pytest.mark.slow
def test_video_is_a_gif_of_the_agent(run, tmp_path):
    file = tmp_path / "agent.gif"
    main([str(run), "--num-objects", "2", "--episodes", "50", "--video", str(file)])
    assert file.read_bytes().startswith(b"GIF89a")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "agent.mp4"], "ends in .gif"),
        (["--json", "nowhere/success.json"], "make it first"),
        (["--json", "."], "got the folder"),
        (["--model", "multi-dsprites"], "--model with observation lavae or vae, got it with oracle"),
        (["--episodes", "0"], "at least one episode"),
        (["--seed", "-1"], "--seed of 0 to"),
        (["--num-objects", "2", "8"], "8 objects need"),
        (["--device", "cuda"], "no CUDA device here"),
    ],
)
def test_impossible_flags_are_refused_before_anything_is_measured(
    run, arguments, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        main([str(run), *arguments])
    assert stop.value.code == 1
    output = capsys.readouterr().out
    assert message in output
    assert "chance" not in output
