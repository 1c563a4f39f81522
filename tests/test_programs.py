"""Names of programs in help and in advice: in the root of a checkout, elsewhere, and without installed commands."""

import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from lavae_rl.runs import programs
from lavae_rl.runs.exits import program_parser
from lavae_rl.runs.programs import PROGRAMS, as_typed
from lavae_rl.runs.provenance import Provenance

ROOT = Path(__file__).parents[1]
TEXT = "python pretrain/train_lavae.py --env ID, see agents/train_agent.py and collect_frames.py"


@pytest.fixture(params=[True, False], ids=["on PATH", "not on PATH"])
def installed(request, monkeypatch, tmp_path):
    """True if the commands are on PATH; the working folder is no checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if request.param else None)
    return request.param


def test_programs_are_those_that_are_installed():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    stated = {target.split(":")[0].rpartition(".")[2]: name for name, target in scripts.items()}
    assert stated == {**PROGRAMS, "play": "lavae-play"}


def test_in_the_root_of_the_checkout_programs_are_files(monkeypatch):
    monkeypatch.chdir(Path(programs.__file__).parents[2])
    assert as_typed(TEXT) == TEXT


def test_elsewhere_programs_are_commands_that_work(installed):
    names = ["lavae-train", "lavae-train-agent", "lavae-collect"]
    modules = ["pretrain.train_lavae", "agents.train_agent", "pretrain.collect_frames"]
    train, agent, collect = names if installed else [f"python -m lavae_rl.{module}" for module in modules]
    assert as_typed(TEXT) == f"{train} --env ID, see {agent} and {collect}"


def test_launchers_get_the_module(installed):
    started = as_typed("accelerate launch --multi_gpu pretrain/train_lavae.py --recipe paper")
    assert started == "accelerate launch --multi_gpu -m lavae_rl.pretrain.train_lavae --recipe paper"


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_names_commands_that_work(name, installed):
    folder = "pretrain" if (ROOT / "pretrain" / f"{name}.py").is_file() else "agents"
    explained = program_parser(importlib.import_module(f"lavae_rl.{folder}.{name}").__doc__).format_help()
    assert f"The installed command is {PROGRAMS[name]}." in explained
    assert f"  {PROGRAMS[name] if installed else f'python -m lavae_rl.{folder}.{name}'} " in explained
    assert f"python {folder}/" not in explained


def test_a_run_of_an_installed_program_is_repeated_by_its_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lavae-train", "--seed", "1"])
    assert Provenance.here().command == "lavae-train --seed 1"
