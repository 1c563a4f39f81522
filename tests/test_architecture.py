import ast
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
LEAVES = ("agents", "envs", "pretrain")
PACKAGES = ("lavae_rl", *LEAVES)
MAY_SEED_TORCH = ("pretrain/", "lavae_rl/pretraining/state.py")
NUMPY_GENERATORS = ("BitGenerator", "Generator", "PCG64", "SeedSequence", "default_rng")
MAX_FILE_LINES, MAX_FUNCTION_LINES = 350, 45
FLAT_LOOPS = {("lavae_rl/pretraining/loop.py", "train"): 80}  # the order of events is the order of lines

Rule = Callable[[str, str], Iterator[str]]


def imports(path: str, tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Full dotted name of everything imported, and whether the import was relative."""
    folders = PurePosixPath(path).parent.parts
    package = ("lavae_rl", *folders) if folders[0] in LEAVES else folders
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            start = ".".join([*above, node.module] if node.module else above)
            yield from ((f"{start}.{alias.name}", node.level > 0) for alias in node.names)


def arrow(path: str, source: str) -> Iterator[str]:
    home = path.split("/")[0]
    for name, relative in imports(path, ast.parse(source)):
        first, second, *_ = [*name.split("."), ""]
        leaf = second if first == "lavae_rl" and second in LEAVES else None
        sibling = relative and home == leaf == "envs"
        if first in LEAVES:
            yield f"{path} imports {name}, a second copy of lavae_rl.{name}"
        elif home in PACKAGES and leaf and not sibling:
            yield f"{path} imports {name}, of a leaf"
        elif home in LEAVES and relative and not sibling:
            yield f"{path} imports {name} by a relative path"


def length(path: str, source: str) -> Iterator[str]:
    if (lines := len(source.splitlines())) > MAX_FILE_LINES:
        yield f"{path} has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FLAT_LOOPS.get((path, node.name), MAX_FUNCTION_LINES):
                yield f"{path}: {node.name} has {lines} lines"


def postponed(path: str, source: str) -> Iterator[str]:
    # It would switch off the shape checks of dataclass fields without a word.
    if ("__future__.annotations", False) in imports(path, ast.parse(source)):
        yield f"{path} postpones its annotations"


def global_randomness(path: str, source: str) -> Iterator[str]:
    tree = ast.parse(source)
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for name in sorted(attributes | {name for name, _ in imports(path, tree)}):
        base, _, last = name.rpartition(".")
        numpy = base in ("np.random", "numpy.random") and last not in NUMPY_GENERATORS
        torch = base in ("torch", "torch.random", "torch.cuda") and last in ("manual_seed", "manual_seed_all", "seed")
        if numpy or (torch and not path.startswith(MAY_SEED_TORCH)):
            yield f"{path} uses {name}"


def broken(rule: Rule, *folders: str) -> list[str]:
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return [fault for file in files for fault in rule(file.relative_to(ROOT).as_posix(), file.read_text())]


def test_library_never_imports_a_leaf():
    assert broken(arrow, "lavae_rl") == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaf_imports_the_library_and_no_other_leaf(leaf: str):
    assert broken(arrow, leaf) == []


def test_nobody_imports_a_leaf_by_the_name_of_its_folder():
    assert broken(arrow, "tests", "benchmarks") == []


def test_files_and_functions_fit_in_the_head():
    assert broken(length, *PACKAGES) == []


def test_annotations_are_never_postponed():
    assert broken(postponed, *PACKAGES) == []


def test_randomness_is_never_global():
    assert broken(global_randomness, *PACKAGES) == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (arrow, "lavae_rl/scenes.py", "import lavae_rl.envs.push"),
        (arrow, "lavae_rl/scenes.py", "from lavae_rl import agents"),
        (arrow, "lavae_rl/model/lavae.py", "from ..pretrain import train_lavae"),
        (arrow, "lavae_rl/model/lavae.py", "def late():\n    from lavae_rl.envs import push"),
        (arrow, "agents/train_agent.py", "from lavae_rl.envs.push import Push"),
        (arrow, "agents/train_agent.py", "from lavae_rl.agents.presets import FAST"),
        (arrow, "agents/train_agent.py", "from . import presets"),
        (arrow, "envs/push.py", "from lavae_rl.envs.sprite_env import SpriteEnv"),
        (arrow, "envs/push.py", "from ..scenes import Scenes"),
        (arrow, "envs/push.py", "from ..agents import presets"),
        (arrow, "tests/test_push.py", "import envs"),
        (arrow, "pretrain/train_lavae.py", "from pretrain.evaluate_lavae import main"),
        (length, "envs/push.py", "\n" * (MAX_FILE_LINES + 1)),
        (length, "envs/push.py", "class A:\n    def b(self):\n" + "        pass\n" * MAX_FUNCTION_LINES),
        (postponed, "envs/push.py", "from __future__ import annotations"),
        (global_randomness, "envs/push.py", "import numpy as np\nnp.random.rand(3)"),
        (global_randomness, "envs/push.py", "from numpy.random import seed"),
        (global_randomness, "envs/push.py", "import torch\ntorch.manual_seed(0)"),
    ],
)
def test_checker_catches_a_planted_fault(rule: Rule, path: str, source: str):
    assert len(list(rule(path, source))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (arrow, "lavae_rl/scenes.py", "import torch\nfrom lavae_rl.data.sprites import SpriteBank"),
        (
            arrow,
            "agents/train_agent.py",
            "from lavae_rl import LAVAE\nfrom lavae_rl.perception.sb3 import SetFeaturesExtractor",
        ),
        (arrow, "envs/push.py", "from .sprite_env import SpriteEnv\nfrom . import collect"),
        (arrow, "tests/test_push.py", "from lavae_rl.envs import push"),
        (length, "envs/push.py", "def b():\n" + "    pass\n" * (MAX_FUNCTION_LINES - 1)),
        (global_randomness, "envs/push.py", "def move(rng: np.random.Generator): torch.Generator().manual_seed(0)"),
        (global_randomness, "pretrain/train_lavae.py", "torch.manual_seed(0)"),
    ],
)
def test_checker_accepts_what_is_allowed(rule: Rule, path: str, source: str):
    assert list(rule(path, source)) == []
