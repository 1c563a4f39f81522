import csv
import json

import pytest

from lavae_rl.learning.report import write_report


def write_run(folder, task, observation, seed, rates, tested=None):
    run = folder / f"{task}-{observation}-seed{seed}"
    run.mkdir()
    facts = {"task": task, "observation": observation, "seed": seed, "algorithm": "ppo", "commit": "abc"}
    facts |= {"preset": {"arch": "relation"}, "seconds": 120.0}
    facts["evaluations"] = [{"step": 1_000 * (i + 1), "success_rate": rate} for i, rate in enumerate(rates)]
    (run / "config.json").write_text(json.dumps(facts))
    if tested is not None:
        results = [
            {"num_objects": n, "success_rate": rate, "ci95": [rate / 2, 1.0], "chance": 1 / n, "episodes": 50}
            for n, rate in tested.items()
        ]
        (run / "tests.json").write_text(json.dumps([{"mode": mode, "results": results} for mode in ("train", "test")]))


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path, "OddOneOut", "lavae", 0, [0.2, 0.5], {4: 0.8, 7: 0.6})
    write_run(tmp_path, "OddOneOut", "lavae", 1, [0.3], {4: 0.9, 7: 0.2})
    write_run(tmp_path, "OddOneOut", "pixels", 0, [0.2, 0.2], {4: 0.25, 7: 0.1})
    write_run(tmp_path, "Push", "oracle", 0, [0.1])  # not tested yet
    write_run(tmp_path, "Push", "lavae", 0, [])  # not evaluated yet
    return tmp_path


def test_the_table_has_a_row_per_test(runs, tmp_path):
    write_report(runs, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / "agents.csv").read_text().splitlines()))
    assert len(rows) == 3 * 2 * 2
    first = rows[0]
    assert (first["task"], first["observation"], first["seed"], first["mode"]) == ("OddOneOut", "lavae", "0", "train")
    assert (first["num_objects"], first["success_rate"], first["ci95_low"], first["chance"]) == (
        "4",
        "0.8",
        "0.4",
        "0.25",
    )
    assert (first["steps"], first["minutes"], first["steps_per_second"]) == ("2000", "2.0", "17")


def test_the_page_shows_the_mean_and_the_spread_of_the_seeds(runs, tmp_path):
    write_report(runs, tmp_path / "out")
    page = (tmp_path / "out" / "agents.md").read_text()
    assert "| lavae | 0.85 (0.80 to 0.90) | 0.40 (0.20 to 0.60) | 2 | 2,000 | 2 (2 to 2) |" in page
    assert "| pixels | 0.25 | 0.10 | 1 | 2,000 | 2 |" in page
    assert "| chance | 0.25 | 0.14 |" in page
    assert page.count("### OddOneOut") == 2
    assert "Push" not in page


def test_plots_are_drawn(runs, tmp_path):
    write_report(runs, tmp_path / "out")
    for name in ("agents-steps.png", "agents-objects.png"):
        assert (tmp_path / "out" / name).stat().st_size > 10_000


def test_nothing_done_yet_is_no_error(tmp_path):
    write_report(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "agents.md").read_text() == ""
    assert not (tmp_path / "out" / "agents-steps.png").exists()
