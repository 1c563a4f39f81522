from importlib.metadata import version

from lavae_rl.runs.versions import installed_versions


def test_versions_are_those_of_the_installed_packages():
    found = installed_versions(["numpy", "no-such-package"])
    assert list(found) == ["python", "numpy", "no-such-package"]
    assert found["numpy"] == version("numpy")
    assert found["no-such-package"] == "not installed"
