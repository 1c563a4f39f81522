"""The hooks of the site, and the program that draws its pictures."""

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from lavae_rl.pretrain import draw_concepts

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks() -> Any:
    """docs/hooks.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=name))


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("a.md", "see [the readme](../README.md#install).", "see the readme."),
        ("how_to/a.md", "see [the readme](../../README.md).", "see the readme."),
        ("how_to/a.md", "see [agents](../agents.md#results).", "see [agents](../agents.md#results)."),
        ("a.md", "[out](https://example.org) [here](#results)", "[out](https://example.org) [here](#results)"),
        ("a.md", "![a picture](images/a.png)", "![a picture](images/a.png)"),
    ],
)
def test_links_that_leave_docs_become_text(hooks: Any, name: str, given: str, expected: str):
    config = {"docs_dir": str(ROOT / "docs")}
    assert hooks.on_page_markdown(given, page=page(name), config=config) == expected


def test_links_of_notebooks_lead_to_pages(hooks: Any):
    html = '<a href="../tasks.md#push"> <a href="b.ipynb"> <a href="https://example.org/a.md">'
    expected = '<a href="../tasks.html#push"> <a href="b.html"> <a href="https://example.org/a.md">'
    assert hooks.on_page_content(html, page=page("notebooks/a.ipynb")) == expected
    assert hooks.on_page_content(html, page=page("a.md")) == html


def test_a_broken_link_is_a_warning(hooks: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "a.html").write_text('<a href="a.html#top"> <a href="https://example.org"> <img src="gone.png">')
    with caplog.at_level(logging.WARNING):
        hooks.on_post_build(config={"site_dir": str(tmp_path)})
    assert caplog.messages == ["a.html links to gone.png, which does not exist"]


@pytest.mark.slow
def test_concepts_are_drawn_as_the_site_has_them(tmp_path: Path):
    draw_concepts.main(["--out", str(tmp_path)])
    for stored in (ROOT / "docs" / "images" / "concepts").iterdir():
        drawn: Any = cv2.imread(str(tmp_path / stored.name))
        kept: Any = cv2.imread(str(stored))
        assert drawn is not None, stored.name
        assert drawn.shape == kept.shape
        assert drawn.max() > drawn.min()
