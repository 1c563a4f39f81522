"""Hooks of MkDocs: links that leave docs/ become text, links of notebooks lead to pages, and no link is broken."""

import logging
import re
from pathlib import Path
from typing import Any

_MARKDOWN_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)[^)\s]*\)")
_LINK = re.compile(r'(?:href|src)="(?!https?:|data:|mailto:|javascript:|/)([^"#?]+)')
_PAGE = re.compile(r'(href="(?!https?:)[^"#]+)\.(?:md|ipynb)((?:#[^"]*)?")')
_log = logging.getLogger("mkdocs.hooks.links")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Replace each link to a file outside of docs/ by its text, since the site does not hold that file."""
    docs = Path(config["docs_dir"]).resolve()
    folder = (docs / page.file.src_uri).parent

    def kept(link: re.Match[str]) -> str:
        inside = (folder / link[2]).resolve().is_relative_to(docs)
        return link[0] if inside else link[1]

    return _MARKDOWN_LINK.sub(kept, markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Let links of notebooks lead to the pages that are made of their targets, as MkDocs does for Markdown alone."""
    return _PAGE.sub(r"\1.html\2", html) if page.file.src_uri.endswith(".ipynb") else html


def on_post_build(config: Any, **_: Any) -> None:
    """Warn of each link of the site that leads nowhere; with --strict, a warning is an error."""
    site = Path(config["site_dir"])
    for page in sorted(site.rglob("*.html")):
        for target in set(_LINK.findall(page.read_text())):
            if not (page.parent / target).exists():
                _log.warning("%s links to %s, which does not exist", page.relative_to(site), target)
