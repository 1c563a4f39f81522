import tomllib
from importlib.metadata import version
from pathlib import Path

import lavae_rl
from lavae_rl.runs import versions
from lavae_rl.runs.versions import installed_versions


def test_versions_are_those_of_the_installed_packages():
    found = installed_versions(["numpy", "no-such-package"])
    assert list(found) == ["python", "numpy", "no-such-package"]
    assert found["numpy"] == version("numpy")
    assert found["no-such-package"] == "not installed"


def test_the_version_of_a_checkout_is_what_it_states():
    stated = tomllib.loads((Path(lavae_rl.__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]
    assert lavae_rl.__version__ == stated


def test_the_version_of_an_installation_is_that_of_its_distribution(monkeypatch, tmp_path):
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "lavae_rl" / "runs" / "versions.py"))
    monkeypatch.setattr(versions, "version", lambda package: {"lavae-rl": "1.2.3"}[package])
    assert versions.own_version() == "1.2.3"
