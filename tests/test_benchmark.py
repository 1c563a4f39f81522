import csv
import json

import pytest
from filelock import FileLock

from lavae_rl.agents.benchmark import Cell, chosen_cells, is_complete, main, parse_args
from lavae_rl.registration import TASKS
from lavae_rl.rl.run import read_run


@pytest.fixture
def two_numbers(monkeypatch):
    """MatchDigit's agents are tested with 2 and 4 objects only."""
    monkeypatch.setitem(TASKS, "MatchDigit", TASKS["MatchDigit"]._replace(tested=range(2, 5, 2)))


def _fails(arguments, capsys):
    """What is printed, its white space made single blanks."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.usefixtures("two_numbers")
def test_agents_are_trained_and_tested_once_and_all_are_reported(tmp_path, capsys):
    options = ["--tasks", "MatchDigit", "--observations", "oracle", "--steps", "128", "--episodes", "4"]
    options += ["--out", str(tmp_path)]
    main(options)
    run = read_run(tmp_path / "MatchDigit-oracle-seed0")
    assert run.preset.steps == run.evaluations[-1].step == 128
    agent = tmp_path / "MatchDigit-oracle-seed0" / "agent.zip"
    before = agent.stat().st_mtime_ns
    main(options)
    assert agent.stat().st_mtime_ns == before
    rows = list(csv.DictReader((tmp_path / "agents.csv").read_text().splitlines()))
    assert [(row["mode"], row["num_objects"]) for row in rows] == [(m, n) for m in ("train", "test") for n in "24"]
    assert "1 of 1 agents complete" in capsys.readouterr().out
    cell, folder = Cell("MatchDigit", "oracle", 0, None), tmp_path / "MatchDigit-oracle-seed0"
    assert is_complete(cell, folder, parse_args(options))
    assert not is_complete(cell, folder, parse_args([*options, "--episodes", "5"]))  # it is tested again, not trained
    # A report elsewhere gets no agent that was not asked for.
    (tmp_path / "Push-oracle-seed0").mkdir()
    (tmp_path / "Push-oracle-seed0" / "config.json").write_text("{}")
    push = ["--tasks", "Push", "--observations", "oracle", "--out", str(tmp_path)]
    _fails([*push, "--report", str(tmp_path / "docs")], capsys)
    assert "MatchDigit" not in (tmp_path / "docs" / "agents.csv").read_text()
    (tmp_path / "agents.csv").unlink()
    with pytest.raises(SystemExit):
        main([*options, "--steps", "256"])
    assert "128 steps, expected 256" in " ".join(capsys.readouterr().out.split())
    assert not list(csv.DictReader((tmp_path / "agents.csv").read_text().splitlines()))


@pytest.mark.parametrize("change", ["", "{", "[]", "[3]", "other number", "other episodes"])
@pytest.mark.usefixtures("two_numbers")
def test_incomplete_or_damaged_tests_are_repeated(change, tmp_path):
    rows = [{"num_objects": number, "episodes": 50} for number in (2, 4)]
    tests = [{"mode": mode, "results": rows} for mode in ("train", "test")]
    file = tmp_path / "tests.json"
    file.write_text(json.dumps(tests))
    cell, args = Cell("MatchDigit", "oracle", 0, None), parse_args(["--episodes", "50"])
    assert is_complete(cell, tmp_path, args)
    if change.startswith("other"):
        rows[0]["num_objects" if "number" in change else "episodes"] = 3
        change = json.dumps(tests)
    file.write_text(change)
    assert not is_complete(cell, tmp_path, args)


def test_agent_that_another_process_trains_is_skipped(tmp_path, capsys):
    with FileLock(tmp_path / "MatchDigit-oracle-seed0.lock"):
        output = _fails(["--tasks", "MatchDigit", "--observations", "oracle", "--out", str(tmp_path)], capsys)
    assert "another process" in output
    assert "0 of 1 agents complete" in output
    assert not (tmp_path / "MatchDigit-oracle-seed0").exists()


def test_folder_without_an_agent_is_reported_as_failed(tmp_path, capsys):
    (tmp_path / "MatchDigit-oracle-seed0").mkdir()
    (tmp_path / "MatchDigit-oracle-seed0" / "config.json").write_text("{}")
    output = _fails(["--tasks", "MatchDigit", "--observations", "oracle", "--out", str(tmp_path)], capsys)
    assert "no config.json of a training" in output
    assert "0 of 1 agents complete" in output


@pytest.mark.slow
def test_failed_training_is_printed_and_counted(tmp_path, capsys):
    (tmp_path / "MatchDigit-oracle-seed0").mkdir()
    (tmp_path / "MatchDigit-oracle-seed0" / "notes.txt").write_text("mine")
    output = _fails(["--tasks", "MatchDigit", "--observations", "oracle", "--out", str(tmp_path)], capsys)
    assert "holds another run" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "Chess"], "LAVAE/OddOneOut-v0"),
        (["--jobs", "0"], "--jobs of at least 1"),
        (["--episodes", "0"], "--episodes of at least 1"),
        (["--observations", "vae"], "--vae FOLDER"),
        (["--vae", "folder"], "--observations vae"),
        (["--steps", "10", "--report", "docs"], "stay in --out"),
    ],
)
def test_contradictory_arguments_are_refused(arguments, message, tmp_path, capsys):
    assert message in _fails([*arguments, "--out", str(tmp_path)], capsys)


def test_architectures_multiply_only_agents_that_read_tokens():
    options = ["--tasks", "Push", "--observations", "oracle", "pixels", "--archs", "flat", "relation"]
    cells = chosen_cells(parse_args(options))
    assert [cell.name for cell in cells] == ["Push-oracle-flat-seed0", "Push-oracle-seed0", "Push-pixels-seed0"]
