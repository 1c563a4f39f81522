"""README and docs keep their word: their Python runs, commands exist and know their flags, links lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _commands(*starts):
    text = README + (ROOT / "docs" / "using.md").read_text()
    lines = [line.split("#")[0].strip() for block in _blocks("bash", text) for line in block.splitlines()]
    return [line for line in lines if line.startswith(starts)]


SNIPPETS = {
    f"{document.relative_to(ROOT)}, {i}": pytest.param(code, marks=[pytest.mark.slow] if ".learn(" in code else [])
    for document in DOCUMENTS
    for i, code in enumerate(_blocks("python", document.read_text()))
}


@pytest.mark.parametrize("code", SNIPPETS.values(), ids=SNIPPETS)
def test_snippets_run_and_print_what_they_say(code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    exec(compile(code, "snippet", "exec"), {})
    printed = capsys.readouterr().out
    for promised in re.findall(r"^print\(.*?\) +# (\[.*?\]|\(\d.*?\))$", code, re.MULTILINE):
        assert promised in printed


@pytest.mark.parametrize("command", _commands("python pretrain/", ".venv/bin/python pretrain/", "python agents/"))
def test_programs_know_their_flags(command, capsys):
    _, program, *arguments = shlex.split(command)
    module = importlib.import_module(f"lavae_rl.{Path(program).parent}.{Path(program).stem}")
    with pytest.raises(SystemExit):
        module.main(["--help"])
    explained = capsys.readouterr().out
    flags = [argument for argument in arguments if argument.startswith("--")]
    assert flags
    assert all(flag in explained for flag in flags)


@pytest.mark.parametrize("command", _commands("make"))
def test_make_targets_exist(command):
    target = command.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def slugs(text):
    """Anchors of the headings of a document, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", document.read_text()):
        file = document.parent / target if target else document
        assert file.exists(), target
        assert not anchor or anchor in slugs(file.read_text()), f"{target}#{anchor}"
