"""Agents on an environment that is none of our tasks: trained, resumed, measured, filmed, reported."""

import csv
import json
import re
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from PIL import Image

from lavae_rl.agents import evaluate_agent, train_agent
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.rl.report import TESTS_FILE, write_report
from lavae_rl.rl.run import new_run, read_run, write_run
from lavae_rl.rl.scores import Episode, MeanReturn

pytestmark = pytest.mark.filterwarnings("ignore:a frame has", "ignore:the objects that model")
SIZE = (40, 56)


@pytest.fixture
def button(register_slide):
    """Four steps; action 1, or a push to the right, is worth 2, all else -1."""
    options = {"size": SIZE, "steps": 4, "rewards": (-1.0, 2.0)}
    register_slide("test/Push-v0", continuous=True, **options)
    return register_slide("test/Button-v0", **options)


@pytest.fixture
def model(tmp_path):
    """The folder of a model that has learned nothing."""
    world: Any = {"networks": "world", "likelihood": "normal", "composition": "over", "background_states": 1}
    config = LAVAEConfig(sprite_size=9, latents=3, max_objects=4, canvas_size=SIZE, **world)
    LAVAE(config).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


SHORT = ["--num-envs", "4", "--eval-episodes", "4", "--eval-every", "512"]


@pytest.mark.slow
def test_an_agent_on_tokens_is_trained_resumed_measured_and_filmed(button, model, tmp_path, capsys):
    out = tmp_path / "run"
    flags = ["--env", button, "--model", model, "--reward", "clipped", "--steps", "512", *SHORT]
    train_agent.main([*flags, "--out", str(out)])
    run = read_run(out)
    assert (run.task, run.preset.algorithm, run.preset.arch) == (button, "ppo", "selection")
    assert run.model == model
    assert [row.success_rate for row in run.evaluations] == [None]
    assert run.evaluations[0].mean_return in {-4, -1, 2, 5, 8}  # plain, not clipped
    write_run(out, replace(run, preset=replace(run.preset, steps=1024)))
    train_agent.main(["--out", str(out), "--resume"])
    assert [row.step for row in read_run(out).evaluations] == [512, 1024]
    assert re.search(r"1024/1024 .*return -?\d\.\d +[\d,]+ steps/s", capsys.readouterr().out)
    with (out / "progress.csv").open() as stream:
        assert [float(row["eval/mean_return"]) for row in csv.DictReader(stream) if row["eval/mean_return"]]
    files = tmp_path / "scores.json", tmp_path / "film.gif"
    evaluate_agent.main([str(out), "--episodes", "6", "--json", str(files[0]), "--video", str(files[1])])
    results = json.loads(files[0].read_text())
    assert results["env"] == button
    assert "mode" not in results
    (row,) = results["results"]
    assert row["episodes"] == 6
    assert row["mean_steps"] == 4
    assert row["ci95"][0] <= row["mean_return"] <= row["ci95"][1]
    assert -4 <= row["random_return"] <= 8
    with Image.open(files[1]) as film:
        assert film.n_frames >= 4  # type: ignore[attr-defined]
    for wrong in (["--num-objects", "3"], ["--mode", "test"], ["--episodes", "0"]):
        with pytest.raises(SystemExit):
            evaluate_agent.main([str(out), *wrong])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "flags"),
    [
        ("test/Button-v0", ["--observation", "pixels"]),
        ("test/Button-v0", ["--algo", "dqn"]),
        ("test/Push-v0", ["--algo", "sac", "--arch", "flat"]),
        ("test/Push-v0", ["--algo", "td3", "--arch", "deepsets"]),
        pytest.param(
            *("test/Button-v0", ["--algo", "recurrent-ppo"]),
            marks=pytest.mark.skipif(find_spec("sb3_contrib") is None, reason="needs sb3-contrib"),
        ),
    ],
    ids=["pixels", "dqn", "sac", "td3", "recurrent-ppo"],
)
def test_algorithms_train_and_resume(button, model, tmp_path, env, flags):
    out = tmp_path / "run"
    given = flags if "pixels" in flags else [*flags, "--model", model]
    train_agent.main(["--env", env, *given, "--steps", "256", *SHORT, "--out", str(out)])
    run = read_run(out)
    write_run(out, replace(run, preset=replace(run.preset, steps=512)))
    train_agent.main(["--out", str(out), "--resume"])
    run = read_run(out)
    assert len(run.resumed) == 1
    assert all(-4 <= row.score <= 8 for row in run.evaluations)


def test_a_button_is_learned_from_pixels(button, tmp_path):
    out = tmp_path / "run"
    flags = ["--observation", "pixels", "--steps", "4096", "--num-envs", "8", "--eval-episodes", "8"]
    train_agent.main(["--env", button, *flags, "--out", str(out)])
    assert read_run(out).evaluations[-1].mean_return == 8


def test_returns_have_tables_and_plots(button, tmp_path):
    folders = []
    for seed, score in [(0, 3.0), (1, 5.0)]:
        run = new_run({"task": button, "observation": "pixels", "seed": seed})
        run = replace(run, evaluations=[train_agent.Evaluation(2_000, None, 60.0, score)], seconds=120.0)
        (folder := tmp_path / str(seed)).mkdir()
        write_run(folder, run)
        row = {"mean_return": score, "ci95": [score - 1, score + 1], "episodes": 20, "random_return": -1.0}
        (folder / TESTS_FILE).write_text(json.dumps([{"env": button, "observation": "pixels", "results": [row]}]))
        folders.append(folder)
    write_report(folders, tmp_path / "report")
    page = (tmp_path / "report" / "agents.md").read_text()
    assert "| pixels | 4.0 (3.0 to 5.0) | 2 | 2,000 | 2 (2 to 2) | 17 (17 to 17) |" in page
    assert "| random | -1.0 (-1.0 to -1.0)" in page
    write_report(folders, tmp_path / "report")  # of what the files hold already
    assert (tmp_path / "report" / "agents.md").read_text() == page
    assert (tmp_path / "report" / "agents-steps.png").exists()


def test_mean_returns_have_students_interval():
    # Mean 3, standard deviation sqrt(2.5), t(0.975, 4) = 2.7764.
    measured = MeanReturn.of([Episode(total, False, 1) for total in (1.0, 2.0, 3.0, 4.0, 5.0)])
    assert measured.mean == 3
    assert measured.ci95 == pytest.approx((3 - 1.9633, 3 + 1.9633), abs=1e-3)
    assert MeanReturn((7.0, 7.0)).ci95 == (7, 7)
    assert MeanReturn((7.0,)).ci95 == (7, 7)
