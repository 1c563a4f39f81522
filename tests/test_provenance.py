import json
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from lavae_rl.runs import provenance as module
from lavae_rl.runs import versions
from lavae_rl.runs.provenance import Provenance


def test_a_run_can_be_traced_to_command_commit_versions_and_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pretrain/train_lavae.py", "--out", "my runs"])
    found = Provenance.here()
    assert found.command == "python pretrain/train_lavae.py --out 'my runs'"
    assert set(found.versions) == {
        "python",
        "lavae-rl",
        "torch",
        "numpy",
        "opencv-python",
        "gymnasium",
        "stable-baselines3",
    }
    assert found.machine["processor"]
    assert found.commit
    assert Provenance(**json.loads(json.dumps(asdict(found)))) == found


def test_a_program_of_the_checkout_is_named_from_its_root(monkeypatch):
    program = Path(module.__file__).parents[2] / "pretrain" / "train_lavae.py"
    monkeypatch.setattr(sys, "argv", [str(program), "--seed", "1"])
    assert Provenance.here().command == "python pretrain/train_lavae.py --seed 1"


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "__file__", str(tmp_path / "provenance.py"))
    assert Provenance.here().commit == "unknown"


def test_a_package_by_another_name_is_no_reason_to_stop(monkeypatch):
    def only_headless(name):
        if name == "opencv-python":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(versions, "version", only_headless)
    assert Provenance.here().versions["opencv-python"] == "not installed"
    assert Provenance.here().versions["numpy"] == "1.0"
