import importlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
INSTALLED_AS = {
    "lavae_rl": "lavae_rl",
    "envs": "lavae_rl/envs",
    "agents": "lavae_rl/agents",
    "pretrain": "lavae_rl/pretrain",
}
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def project_files() -> list[str]:
    """All files that are, or could be, committed: nothing git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in names if (ROOT / name).is_file()})


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy: a build writes into its tree, and packs what an earlier one left there."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in project_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.iterdir()
    return set(ZipFile(wheel).namelist())


def test_wheel_holds_every_file_of_the_packages(wheel_names: set[str]):
    expected = set()
    for name in project_files():
        folder, _, rest = name.partition("/")
        if folder in INSTALLED_AS:
            expected.add(f"{INSTALLED_AS[folder]}/{rest}")
    assert {"lavae_rl/py.typed", "lavae_rl/assets/mnist_10k.npz", "lavae_rl/pretrain/train_lavae.py"} <= expected
    assert {name for name in wheel_names if ".dist-info/" not in name} == expected


def test_wheel_installs_lavae_rl_and_nothing_beside_it(wheel_names: set[str]):
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lavae_rl"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_console_script_points_to_a_function(script: str):
    module, _, function = SCRIPTS[script].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
