"""Outputs that an encoding cannot show never fail a program."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

from lavae_rl.agents import evaluate_agent
from lavae_rl.envs import play
from lavae_rl.pretrain import collect_frames, evaluate_lavae, make_dataset
from lavae_rl.runs.exits import clean_exit

ROOT = Path(__file__).parents[1]
NAME = "größe² → \N{SNOWMAN}"
ENCODINGS = ["ascii", "cp1252", "latin-1", "utf-8"]


@pytest.fixture
def output(monkeypatch):
    """A function that has standard output encoded in some way, and one that reads it."""
    written = io.BytesIO()

    def encoded(encoding):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, write_through=True))

    return encoded, lambda: written.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_tables_and_errors_are_printed_in_any_encoding(encoding, output):
    encode, written = output
    encode(encoding)
    table = Table(NAME, title=NAME)
    table.add_row(NAME * 20)
    with clean_exit() as console:
        console.print(NAME, table)
    with pytest.raises(SystemExit) as end, clean_exit():
        raise ValueError(f"expected {NAME}, got \udcff")  # a byte of a file's name that is no text
    assert end.value.code == 1
    assert b"error: expected gr" in written()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    ("main", "argv"),
    [
        (make_dataset.main, ["--dataset", "multi-dsprites", "--split", "test", "--num-scenes", "3", "--out", "{}.npz"]),
        (collect_frames.main, ["--env", "LAVAE/OddOneOut-v0", "--frames", "12", "--out", "{}"]),
        (play.main, ["Push", "--record", "{}.gif", "--episodes", "1"]),
        (evaluate_lavae.main, ["multi-dsprites", "--frames", "{}-frames.npy", "--num-frames", "4"]),
        (evaluate_agent.main, ["bundled:OddOneOut", "--episodes", "2", "--num-objects", "3", "--json", "{}.json"]),
    ],
    ids=["make_dataset", "collect_frames", "play", "evaluate_lavae", "evaluate_agent"],
)
@pytest.mark.slow
def test_programs_end_well_in_any_encoding(main, argv, encoding, output, tmp_path, monkeypatch, scenes):
    monkeypatch.chdir(tmp_path)
    np.save(f"{NAME}-frames.npy", scenes[:])
    output[0](encoding)
    main([part.format(NAME) for part in argv])
    assert output[1]()


@pytest.mark.slow
def test_a_program_ends_well_where_the_system_has_no_other_encoding_than_ascii(tmp_path):
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)}
    program = [sys.executable, str(ROOT / "pretrain/make_dataset.py"), "--check", str(tmp_path / NAME)]
    done = subprocess.run(program, env=environment | {"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.startswith(b"error: ")
    assert b"Traceback" not in done.stderr
