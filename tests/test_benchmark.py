import csv
import importlib
import json

import pytest
from filelock import FileLock

benchmark = importlib.import_module("lavae_rl.agents.benchmark")
main = benchmark.main


def _fails(arguments, capsys):
    """What is printed, its white space made single blanks."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    return " ".join(capsys.readouterr().out.split())


def test_agents_are_trained_and_tested_once_and_the_table_is_drawn_from_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(benchmark.TESTED, "MatchDigit", [2, 4])
    options = [
        "--tasks",
        "MatchDigit",
        "--observations",
        "oracle",
        "--steps",
        "4096",
        "--episodes",
        "4",
        "--out",
        str(tmp_path),
    ]
    main(options)
    facts = json.loads((tmp_path / "MatchDigit-oracle-seed0" / "config.json").read_text())
    assert facts["preset"]["steps"] == facts["evaluations"][-1]["step"] == 4096
    agent = tmp_path / "MatchDigit-oracle-seed0" / "agent.zip"
    before = agent.stat().st_mtime_ns
    main(options)
    assert agent.stat().st_mtime_ns == before
    rows = list(csv.DictReader((tmp_path / "agents.csv").read_text().splitlines()))
    assert [(row["mode"], row["num_objects"]) for row in rows] == [(m, n) for m in ("train", "test") for n in "24"]
    assert "1 of 1 agents complete" in capsys.readouterr().out
    main([*options, "--episodes", "5"])  # is tested again, not trained
    assert agent.stat().st_mtime_ns == before
    rows = list(csv.DictReader((tmp_path / "agents.csv").read_text().splitlines()))
    assert {row["episodes"] for row in rows} == {"5"}
    # A report elsewhere gets no agent that was not asked for.
    (tmp_path / "Push-oracle-seed0").mkdir()
    (tmp_path / "Push-oracle-seed0" / "config.json").write_text("{}")
    push = ["--tasks", "Push", "--observations", "oracle", "--out", str(tmp_path)]
    _fails([*push, "--report", str(tmp_path / "docs")], capsys)
    assert "MatchDigit" not in (tmp_path / "docs" / "agents.csv").read_text()
    (tmp_path / "agents.csv").unlink()
    with pytest.raises(SystemExit):
        main([*options, "--steps", "8192"])
    assert "4,096 steps, expected 8,192" in " ".join(capsys.readouterr().out.split())
    assert not list(csv.DictReader((tmp_path / "agents.csv").read_text().splitlines()))


@pytest.mark.parametrize("change", ["", "{", "[]", "[3]", "other number", "other episodes"])
def test_an_agent_is_tested_again_unless_its_tests_are_whole(change, tmp_path, monkeypatch):
    monkeypatch.setitem(benchmark.TESTED, "MatchDigit", [2, 4])
    rows = [{"num_objects": number, "episodes": 50} for number in (2, 4)]
    tests = [{"mode": mode, "results": rows} for mode in ("train", "test")]
    file = tmp_path / "tests.json"
    file.write_text(json.dumps(tests))
    assert benchmark.is_tested(tmp_path, "MatchDigit", 50)
    if change.startswith("other"):
        rows[0]["num_objects" if "number" in change else "episodes"] = 3
        change = json.dumps(tests)
    file.write_text(change)
    assert not benchmark.is_tested(tmp_path, "MatchDigit", 50)


def test_an_agent_that_another_process_trains_is_left_to_it(tmp_path, capsys):
    with FileLock(tmp_path / "MatchDigit-oracle-seed0.lock"):
        output = _fails(["--tasks", "MatchDigit", "--observations", "oracle", "--out", str(tmp_path)], capsys)
    assert "another process" in output
    assert "0 of 1 agents complete" in output
    assert not (tmp_path / "MatchDigit-oracle-seed0").exists()


def test_a_folder_of_something_else_fails_alone(tmp_path, capsys):
    (tmp_path / "MatchDigit-oracle-seed0").mkdir()
    (tmp_path / "MatchDigit-oracle-seed0" / "config.json").write_text("{}")
    output = _fails(["--tasks", "MatchDigit", "--observations", "oracle", "--out", str(tmp_path)], capsys)
    assert "no config.json of a training" in output
    assert "0 of 1 agents complete" in output


def test_a_failure_is_shown_and_counted(tmp_path, capsys):
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
def test_what_cannot_be_done_is_refused(arguments, message, tmp_path, capsys):
    assert message in _fails([*arguments, "--out", str(tmp_path)], capsys)


def test_architectures_are_compared_where_tokens_are_read():
    options = ["--tasks", "Push", "--observations", "oracle", "pixels", "--archs", "flat", "relation"]
    cells = benchmark.chosen_cells(benchmark.parse_args(options))
    assert [cell.name for cell in cells] == ["Push-oracle-flat-seed0", "Push-oracle-seed0", "Push-pixels-seed0"]
