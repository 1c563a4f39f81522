import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.report import write_report
from lavae_rl.rl.run import AgentRun, Evaluation, write_run
from lavae_rl.runs.provenance import Provenance


def add_run(folder, task, observation, seed, rates, tested=None, arch="relation"):
    run = folder / f"{task}-{observation}-{arch}-seed{seed}"
    run.mkdir(parents=True)
    provenance = Provenance("python agents/train_agent.py", "abc", {}, {})
    evaluations = [Evaluation(1_000 * (i + 1), rate, 60.0) for i, rate in enumerate(rates)]
    preset = replace(preset_for(task), arch=arch)
    described = AgentRun(task, observation, seed, None, 1_000, 200, preset, provenance, None, evaluations, 120.0)
    write_run(run, described)
    if tested is not None:
        results = [
            {"num_objects": n, "success_rate": rate, "ci95": [rate / 2, 1.0], "chance": 1 / n, "episodes": 50}
            for n, rate in tested.items()
        ]
        (run / "tests.json").write_text(json.dumps([{"mode": mode, "results": results} for mode in ("train", "test")]))


def folders(out):
    return [tests.parent for tests in sorted(out.glob("*/tests.json"))]


@pytest.fixture
def runs(tmp_path):
    add_run(tmp_path, "OddOneOut", "lavae", 0, [0.2, 0.5], {4: 0.8, 7: 0.6})
    add_run(tmp_path, "OddOneOut", "lavae", 1, [0.3], {4: 0.9, 7: 0.2})
    add_run(tmp_path, "OddOneOut", "pixels", 0, [0.2, 0.2], {4: 0.25, 7: 0.1})
    return tmp_path


def read(file):
    return list(csv.DictReader(file.read_text().splitlines()))


def test_csv_has_a_row_per_test(runs, tmp_path):
    write_report(folders(runs), tmp_path / "out")
    rows = read(tmp_path / "out" / "agents.csv")
    assert len(rows) == 3 * 2 * 2
    first = rows[0]
    assert (first["task"], first["observation"], first["seed"], first["mode"]) == ("OddOneOut", "lavae", "0", "train")
    assert (first["num_objects"], first["success_rate"], first["ci95_low"], first["chance"]) == (
        "4",
        "0.8",
        "0.4",
        "0.25",
    )
    assert {row["arch"] for row in rows if row["observation"] == "pixels"} == {"none"}
    assert (first["steps"], first["minutes"], first["steps_per_second"]) == ("2000", "2.0", "17")


def test_page_has_the_mean_and_the_range_of_the_seeds(runs, tmp_path):
    write_report(folders(runs), tmp_path / "out")
    page = (tmp_path / "out" / "agents.md").read_text()
    assert "| lavae | 0.85 (0.80 to 0.90) | 0.40 (0.20 to 0.60) | 2 | 2,000 | 2 (2 to 2) |" in page
    assert "| pixels | 0.25 | 0.10 | 1 | 2,000 | 2 |" in page
    assert "| random baseline | 0.25 | 0.14 |" in page
    assert page.count("### OddOneOut") == 2


@pytest.mark.slow
def test_plots_are_drawn(runs, tmp_path):
    write_report(folders(runs), tmp_path / "out")
    for name in ("agents-steps.png", "agents-objects.png"):
        picture = cv2.imread(str(tmp_path / "out" / name))
        assert picture is not None
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100  # axes, letters, and lines in several colours


def test_evaluations_in_training_are_kept(runs, tmp_path):
    write_report(folders(runs), tmp_path / "out")
    rows = read(tmp_path / "out" / "agents-steps.csv")
    lines = [(row["observation"], row["seed"], row["step"], row["success_rate"]) for row in rows]
    assert lines[:3] == [("lavae", "0", "1000", "0.2"), ("lavae", "0", "2000", "0.5"), ("lavae", "1", "1000", "0.3")]
    assert len(lines) == 5


@pytest.mark.slow
def test_agents_of_an_earlier_report_stay_unless_trained_again(runs, tmp_path):
    write_report(folders(runs), tmp_path / "out")
    add_run(tmp_path / "more", "OddOneOut", "lavae", 1, [0.7], {4: 0.5})
    add_run(tmp_path / "more", "ObjectGoal", "oracle", 0, [0.7], {4: 1.0})
    write_report(folders(tmp_path / "more"), tmp_path / "out")
    rows = [row for row in read(tmp_path / "out" / "agents.csv") if row["mode"] == "train"]
    rates = {(row["task"], row["observation"], row["seed"], row["num_objects"]): row["success_rate"] for row in rows}
    assert rates == {
        ("ObjectGoal", "oracle", "0", "4"): "1.0",
        ("OddOneOut", "lavae", "0", "4"): "0.8",
        ("OddOneOut", "lavae", "0", "7"): "0.6",
        ("OddOneOut", "lavae", "1", "4"): "0.5",
        ("OddOneOut", "pixels", "0", "4"): "0.25",
        ("OddOneOut", "pixels", "0", "7"): "0.1",
    }
    assert "0.65 (0.50 to 0.80)" in (tmp_path / "out" / "agents.md").read_text()
    curve = [row for row in read(tmp_path / "out" / "agents-steps.csv") if row["seed"] == "1"]
    assert [row["success_rate"] for row in curve] == ["0.7"]


def test_architectures_have_rows_of_their_own(runs, tmp_path):
    add_run(runs, "OddOneOut", "lavae", 0, [0.2], {4: 0.3, 7: 0.3}, arch="flat")
    write_report(folders(runs), tmp_path / "out")
    page = (tmp_path / "out" / "agents.md").read_text()
    assert "| lavae | 0.85" in page
    assert "| lavae, flat | 0.30 | 0.30 | 1 |" in page


def test_report_of_no_agents_is_empty(tmp_path):
    write_report([], tmp_path / "out")
    assert (tmp_path / "out" / "agents.md").read_text() == ""
    assert not (tmp_path / "out" / "agents-steps.png").exists()
