"""The site keeps its word: commands parse, messages exist, pages have pictures, and the navigation is complete."""

import ast
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WITHOUT_PICTURES = {
    "table1.md",
    "ablation.md",
    "agents/agents.md",
    "distributed.md",
    "results.md",
    "training.md",
    "robustness.md",
}
FOLDERS = ("agents", "benchmarks", "envs", "pretrain")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLACEHOLDER = "..."


def commands() -> list[str]:
    """The lines of all ```bash blocks, also indented ones, continued lines joined and comments removed."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    ]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return sorted({line.split(" #")[0].strip() for line in lines} - {""})


def program(command: str) -> tuple[str, list[str]] | None:
    """The module and the arguments of a command that starts one of our programs."""
    words = shlex.split(command)
    if words[:3] == ["python", "-m", "lavae_rl.envs.play"]:
        return "lavae_rl.envs.play", words[3:]
    if words[0] in PROJECT["scripts"]:
        return PROJECT["scripts"][words[0]].partition(":")[0], words[1:]
    for i, word in enumerate(words):
        path = Path(word)
        if path.suffix == ".py" and path.parts[0] in FOLDERS:
            prefix = "" if path.parts[0] == "benchmarks" else "lavae_rl."
            name = path.stem if path.parts[0] == "benchmarks" else f"{path.parent}.{path.stem}"
            return prefix + name, words[i + 1 :]
    return None


OURS = [command for command in commands() if program(command)]


@pytest.mark.parametrize("command", OURS)
def test_commands_parse(command: str, capsys: pytest.CaptureFixture[str]):
    found = program(command)
    assert found is not None
    name, arguments = found
    module = importlib.import_module(name)
    if hasattr(module, "parse_args") and "$" not in command:
        module.parse_args(arguments)
        return
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    explained = capsys.readouterr().out
    assert all(word.rstrip(")") in explained for word in arguments if word.startswith("--"))


@pytest.mark.parametrize("command", [command for command in commands() if "make " in command])
def test_make_targets_exist(command: str):
    (target,) = re.findall(r"\bmake (\w+)", command)
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_extras_exist():
    wanted = {extra for command in commands() for extra in re.findall(r"(?:lavae-rl|\.)\[([\w,]+)\]", command)}
    assert wanted <= {*PROJECT["optional-dependencies"]}


def messages() -> list[str]:
    """All texts of the code, placeholders of f-strings as dots."""
    found = []
    for folder in ("lavae_rl", "agents", "envs", "pretrain"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_messages_of_the_page_are_those_of_the_code():
    rows = re.findall(r"^\| `([^`]+)` \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    texts = messages()
    for row in rows:
        pattern = ".*".join(re.escape(part) for part in row.split(PLACEHOLDER))
        assert any(re.search(pattern, text, re.DOTALL) for text in texts), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_page_has_a_picture_and_a_place_in_the_navigation(page: Path):
    name = page.relative_to(DOCS).as_posix()
    assert f": {name}\n" in (ROOT / "mkdocs.yml").read_text()
    if name not in WITHOUT_PICTURES and not name.startswith("reference/"):
        assert "![" in page.read_text()


def test_pictures_are_small_and_used():
    text = "\n".join(page.read_text() for page in [*PAGES, ROOT / "README.md"])
    for picture in (DOCS / "images").rglob("*.*"):
        assert picture.stat().st_size < 300_000, picture
        assert picture.name in text, picture


def test_metrics_name_files_that_exist():
    files = re.findall(r"`((?:evaluation|model|rl|envs|benchmarks)/\w+\.py)`", (DOCS / "metrics.md").read_text())
    assert files
    for file in files:
        assert (ROOT / file).exists() or (ROOT / "lavae_rl" / file).exists(), file
