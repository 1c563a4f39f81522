import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
INSTALLED_AS = {
    "lavae_rl": "lavae_rl",
    "envs": "lavae_rl/envs",
    "agents": "lavae_rl/agents",
    "pretrain": "lavae_rl/pretrain",
}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS: dict[str, str] = PROJECT["scripts"]

SNIPPET = """
import gymnasium as gym, lavae_rl

assert gym.make("LAVAE/OddOneOut-v0").reset(seed=0)[0].shape == (64, 64, 3)
workers = gym.vector.AsyncVectorEnv([lambda: gym.make("lavae_rl:LAVAE/OddOneOut-v0")], context="spawn")
assert workers.reset(seed=0)[0].shape == (1, 64, 64, 3)
workers.close()

import lavae_rl.envs, lavae_rl.runs
print(lavae_rl.__file__, lavae_rl.envs.__file__, *lavae_rl.runs.__path__, sep="\\n")
"""


def project_files() -> list[str]:
    """All files that are, or could be, committed: nothing git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in names if (ROOT / name).is_file()})


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a program that must succeed and must not find this checkout by PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy of the project: a build writes into its tree, and packs what an earlier one left there."""
    copy = tmp_path_factory.mktemp("copy")
    for name in project_files():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the copy."""
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, checkout)
    return next(out.iterdir())


@pytest.fixture(scope="module")
def plain_install(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of a fresh environment with the wheel and this environment's other packages."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    # Of a folder named in a .pth file Python reads no .pth file, so an editable installation in it has no effect.
    dependencies = [path for path in sys.path if Path(path).name == "site-packages"]
    (site,) = home.glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    run(home / "bin" / "python", "-m", "pip", "install", *options, wheel)
    return home / "bin"


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_packages_and_nothing_beside_them(wheel: Path):
    expected = set()
    for name in project_files():
        folder, _, rest = name.partition("/")
        if folder in INSTALLED_AS:
            expected.add(f"{INSTALLED_AS[folder]}/{rest}")
    assert {"lavae_rl/py.typed", "lavae_rl/assets/mnist_10k.npz", "lavae_rl/pretrain/train_lavae.py"} <= expected
    assert {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name} == expected


@pytest.mark.slow
@pytest.mark.parametrize("inside", [True, False], ids=["in the checkout", "elsewhere"])
def test_plain_install_works_in_the_checkout_and_elsewhere(
    inside: bool, plain_install: Path, checkout: Path, tmp_path: Path
):
    # `python snippet.py` would put the snippet's folder on sys.path; `python -c` and `-m` put the working folder there.
    folder = checkout if inside else tmp_path
    (checkout / "runs" / "a-run").mkdir(parents=True, exist_ok=True)  # what training leaves is no part of lavae_rl.runs
    package, envs, runs = run(plain_install / "python", "-c", SNIPPET, cwd=folder).splitlines()
    installed = Path(package).parent
    assert installed.is_relative_to(checkout) == inside
    assert Path(envs).parent == (checkout if inside else installed) / "envs"
    assert Path(runs) == installed / "runs"
    for program, *options in (
        ("lavae-make-dataset",),
        ("python", "-m", "lavae_rl.envs.play"),
        ("python", str(checkout / "pretrain" / "make_dataset.py")),
    ):
        explained = run(plain_install / program, *options, "--help", cwd=folder)
        assert "usage:" in explained
        assert inside or "python pretrain/" not in explained  # where there is no such file


@pytest.mark.slow
def test_readme_runs_with_the_wheel_outside_the_checkout(plain_install: Path, tmp_path: Path):
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    code = "\n".join(snippet for snippet in snippets if ".learn(" not in snippet)  # tests/test_readme.py trains
    where = run(
        plain_install / "python",
        "-c",
        f"{code}\nimport lavae_rl\nprint(lavae_rl.__version__, lavae_rl.__file__)",
        cwd=tmp_path,
    )
    version, path = where.splitlines()[-1].split(maxsplit=1)
    assert version == PROJECT["version"]
    assert Path(path).is_relative_to(plain_install.parent)


@pytest.mark.slow
def test_sdist_holds_what_it_takes_to_build_the_wheel_and_to_test_it(checkout: Path, tmp_path: Path):
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, checkout)
    (sdist,) = tmp_path.iterdir()
    assert sdist.name == f"lavae_rl-{PROJECT['version']}.tar.gz"
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        name for name in project_files() if name.partition("/")[0] in {*INSTALLED_AS, "tests", "benchmarks", "docs"}
    }
    assert expected | {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "conftest.py"} <= held


def test_changelog_begins_with_this_version():
    versions = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == PROJECT["version"]
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("script", SCRIPTS)
def test_console_script_points_to_a_function(script: str):
    module, _, function = SCRIPTS[script].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
