import csv
import dataclasses

import pytest
from filelock import FileLock

from lavae_rl.pretrain import reproduce_table1 as program
from lavae_rl.pretraining.run import new_run
from lavae_rl.runs.config import write_json


def _run_folder(out, name, metrics, seconds=60.0, accuracy=("0.5", "0.995"), steps=None):
    row = name.split("-multi")[0]
    table = next(table for table in program.TABLES.values() if row in table.rows)
    model, recipe = table.rows[row]
    folder = out / name
    folder.mkdir(parents=True)
    run = new_run(model, recipe, "multi-dsprites", seed=int(name[-1]))
    if steps is not None:
        run.recipe = dataclasses.replace(run.recipe, steps=steps)
    run.metrics, run.training_seconds, run.skipped_steps = metrics, seconds, 0
    write_json(folder, run.content())
    rows = [f"{i},{30 * i},{value}" for i, value in enumerate(accuracy)]
    (folder / "metrics.csv").write_text("\n".join(["step,seconds,validation_count_accuracy", *rows]))


def _metrics(bound, accuracy):
    counts = {"count_accuracy_0_3": accuracy, "count_accuracy_7": accuracy}
    return counts | {"log_likelihood_bound": bound, "elbo": bound - 3, "entropy_floor": 23.7}


def test_complete_runs_are_kept_and_tabulated_with_their_spread(tmp_path):
    _run_folder(tmp_path, "fast-multi-dsprites-seed0", _metrics(-40.0, 1.0))
    _run_folder(tmp_path, "fast-multi-dsprites-seed1", _metrics(-42.0, 0.99), seconds=120.0)
    argv = ["--rows", "fast", "--datasets", "multi-dsprites", "--seeds", "0", "1", "--out", str(tmp_path)]
    program.main([*argv, "--report", str(tmp_path / "docs")])
    line = (tmp_path / "docs" / "table1.md").read_text().splitlines()[-1]
    assert "-41.0 nats (-42.0 to -40.0) | -23.7 nats | -44.0 nats (-45.0 to -43.0) | 99.50% (99.00% to 100.00%)" in line
    assert line.endswith("2 min (1 to 2) | 2 of 2 |")
    with (tmp_path / "docs" / "table1.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert rows[0]["minutes_to_99"] == "0.5"


def test_the_baseline_has_no_counts(tmp_path):
    metrics = {"log_likelihood_bound": -90.0, "elbo": -95.0, "entropy_floor": 23.7}
    _run_folder(tmp_path, "baseline-multi-dsprites-seed0", metrics, accuracy=())
    program.main(["--rows", "baseline", "--datasets", "multi-dsprites", "--seeds", "0", "--out", str(tmp_path)])
    assert "| -95.0 nats |  |  | 1 min | 1 of 1 |" in (tmp_path / "table1.md").read_text()


@pytest.mark.slow
def test_a_failed_run_is_counted(tmp_path, capsys):
    _run_folder(tmp_path, "baseline-multi-dsprites-seed0", _metrics(-40.0, 1.0))
    (tmp_path / "baseline-multi-dsprites-seed1").mkdir()
    (tmp_path / "baseline-multi-dsprites-seed1" / "thesis.tex").write_text("mine")
    argv = ["--rows", "baseline", "--datasets", "multi-dsprites", "--seeds", "0", "1", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        program.main(argv)
    assert stop.value.code == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "seed1: exit status 1" in printed
    assert "1 of 2 runs complete" in printed
    assert "holds another run or other files" in (tmp_path / "baseline-multi-dsprites-seed1.log").read_text()
    assert (tmp_path / "table1.md").read_text().strip().endswith("| 1 of 2 |")


def test_complete_runs_of_an_earlier_table_stay_in_it(tmp_path):
    report = tmp_path / "docs"
    for out, seeds, bound in (("old", (0, 1), -40.0), ("new", (1, 2), -60.0)):
        for seed in seeds:
            _run_folder(tmp_path / out, f"fast-multi-dsprites-seed{seed}", _metrics(bound, 1.0))
        argv = ["--rows", "fast", "--datasets", "multi-dsprites", "--seeds", *map(str, seeds), "--report", str(report)]
        program.main([*argv, "--out", str(tmp_path / out)])
    with (report / "table1.csv").open(newline="") as stream:
        rows = [(row["seed"], float(row["log_likelihood_bound"])) for row in csv.DictReader(stream)]
    assert rows == [("0", -40.0), ("1", -60.0), ("2", -60.0)]
    line = (report / "table1.md").read_text().splitlines()[-1]
    assert "-53.3 nats (-60.0 to -40.0)" in line
    assert line.endswith("| 3 of 3 |")


def test_nothing_is_lost_when_a_table_is_read_and_written_again(tmp_path):
    _run_folder(tmp_path / "runs", "fast-multi-dsprites-seed0", _metrics(-40.0, 1.0))
    (tmp_path / "runs" / "fast-multi-dsprites-seed0" / "peak_mib.txt").write_text("669\n")
    results = [
        program.result(program.Cell("fast", "multi-dsprites", seed), tmp_path / "runs" / name)
        for seed, name in ((0, "fast-multi-dsprites-seed0"), (1, "never-begun"))
    ]
    program.write_report(tmp_path, "table1", results)
    first = [(tmp_path / f"table1.{suffix}").read_bytes() for suffix in ("csv", "md")]
    assert b"1 of 2" in first[1]
    program.write_report(tmp_path, "table1", [])
    assert first == [(tmp_path / f"table1.{suffix}").read_bytes() for suffix in ("csv", "md")]


def test_other_data_sets_than_those_of_the_table_are_reported(tmp_path):
    _run_folder(tmp_path, "paper-small-multi-mnist-1k-seed0", _metrics(-40.0, 1.0))
    argv = ["--table", "ablation", "--rows", "paper-small", "--datasets", "multi-mnist-1k", "--seeds", "0"]
    program.main([*argv, "--out", str(tmp_path)])
    assert "| paper-small | multi-mnist-1k | -40.0 nats" in (tmp_path / "ablation.md").read_text()


@pytest.mark.slow
def test_a_failed_run_does_not_replace_an_earlier_one(tmp_path):
    _run_folder(tmp_path, "fast-multi-dsprites-seed0", _metrics(-40.0, 1.0))
    cell = program.Cell("fast", "multi-dsprites", 0)
    for folder in (tmp_path / cell.name, tmp_path / "nothing"):
        program.write_report(tmp_path, "table1", [program.result(cell, folder)])
    assert (tmp_path / "table1.md").read_text().strip().endswith("| 1 of 1 |")


def test_a_folder_of_something_else_fails_alone(tmp_path, capsys):
    _run_folder(tmp_path, "fast-multi-dsprites-seed0", _metrics(-40.0, 1.0))
    (tmp_path / "fast-multi-dsprites-seed1").mkdir()
    (tmp_path / "fast-multi-dsprites-seed1" / "config.json").write_text("{}")
    with pytest.raises(SystemExit):
        program.main(["--rows", "fast", "--datasets", "multi-dsprites", "--seeds", "0", "1", "--out", str(tmp_path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "seed1: has no config.json of a training" in printed
    assert "1 of 2 runs complete" in printed


def test_shorter_runs_are_no_rows_of_the_table(tmp_path, capsys):
    _run_folder(tmp_path, "fast-multi-dsprites-seed0", _metrics(-900.0, 0.1), steps=20)
    argv = ["--rows", "fast", "--datasets", "multi-dsprites", "--seeds", "0", "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        program.main(argv)
    assert "has 20 steps, expected 3,000 steps; remove" in " ".join(capsys.readouterr().out.split())
    assert "900" not in (tmp_path / "table1.csv").read_text()
    with pytest.raises(SystemExit):
        program.main([*argv, "--steps", "20", "--report", str(tmp_path / "docs")])
    assert "other runs stay in --out" in " ".join(capsys.readouterr().out.split())


def test_runs_that_another_process_is_at_are_left_to_it(tmp_path, capsys):
    with FileLock(tmp_path / "fast-multi-dsprites-seed0.lock"), pytest.raises(SystemExit):
        program.main(["--rows", "fast", "--datasets", "multi-dsprites", "--seeds", "0", "--out", str(tmp_path)])
    assert "another process is at it" in capsys.readouterr().out


def test_jobs_have_to_be_some(tmp_path, capsys):
    with pytest.raises(SystemExit):
        program.main(["--jobs", "0", "--out", str(tmp_path)])
    assert "--jobs of at least 1, got 0" in capsys.readouterr().out
