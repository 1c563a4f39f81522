"""Rules of prose that a program can check, in docstrings, messages and Markdown; CONTRIBUTING.md states all of them."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lavae_rl", "envs", "agents", "pretrain", "benchmarks")
DOCUMENTS = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md")
MAX_WORDS, MAX_COLUMNS = 25, 120
HEADING = re.compile(r"^\*\*[^*]+\*\*[.:]? ")
"""A run-in heading, in bold, before the sentence of a line."""

HOUSE_WORDS = {
    r"(?<!in )fronts?": "wrapper",
    r"surest": "most confident",
    r"told|knows": "given, reads, holds",
    r"better than chance|chance level|floor": "random baseline, entropy bound",
    r"facts": "run metadata",
    r"guidance|guided steps?": "potential-based shaping",
    r"thickens?|thickened": "dilate",
    r"map of information": "information map",
    r"miss rate|false rate": "1 - recall, 1 - precision",
    r"(?:right|wrong) objects?": "target, distractor",
    r"detours?": "extra path length",
    r"count right": "count accuracy",
}
ANY_HOUSE_WORD = re.compile(rf"\b(?:{'|'.join(HOUSE_WORDS)})\b", re.IGNORECASE)
QUESTIONS = ("What", "Where", "How", "Which", "Of", "Whether", "Why", "When")
THIRD_PERSON = re.compile(
    "(?:Act|Add|Ask|Build|Call|Choose|Collect|Compare|Compose|Compute|Convert|Create|Cut|Decode|Describe|Dilate|Draw|"
    "Encode|Evaluate|Find|Fit|Get|Give|Hold|Keep|Know|Load|Log|Make|Mark|Measure|Minimise|Open|Paste|Print|Put|Raise|"
    "Read|Refuse|Remake|Render|Replace|Return|Run|Sample|Save|Say|Select|Set|Shift|Show|Split|Stand|Start|Take|Tell|"
    "Train|Turn|Update|Wait|Warn|Write)s"
)
ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|cf|vs|al|Fig|Eq|St)\.$")
Fault = tuple[int, str]


def house_words(text: str) -> Iterator[str]:
    """Words of this house that have a name in the field, outside of code."""
    prose = re.sub(r"``.*?``|`[^`]*`|\S*[/_]\S*|facts:", "", text, flags=re.DOTALL)
    if not ANY_HOUSE_WORD.search(prose):
        return
    for pattern, instead in HOUSE_WORDS.items():
        for found in re.findall(rf"\b(?:{pattern})\b", prose, re.IGNORECASE):
            yield f"{found!r} is a house word; write: {instead}"


def first_line(docstring: str) -> Iterator[str]:
    """Begin with an imperative or a noun phrase."""
    first, _, rest = docstring.strip().partition(" ")
    if first in QUESTIONS:
        yield f"begins with {first!r}; begin with an imperative or a noun phrase"
    if THIRD_PERSON.fullmatch(first) and rest.split(" ")[0] != "of":
        yield f"begins with {first!r}; begin with {first.removesuffix('s')!r} or a noun phrase"


def source_faults(source: str) -> Iterator[Fault]:
    """Faults of docstrings and of texts in a module."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for each in node.body:  # attributes have docstrings, too
                value = each.value if isinstance(each, ast.Expr) else None
                if isinstance(value, ast.Constant):
                    yield from ((value.lineno, fault) for fault in first_line(str(value.value)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from ((node.lineno, fault) for fault in house_words(node.value))


def sentences(line: str) -> list[str]:
    """The sentences on a line of prose, in which code and links count as a word."""
    plain = re.sub(r"`[^`]*`", "Code", line)
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain).replace("**", "")
    found: list[str] = []
    for part in re.split(r"(?<=[.!?])\s+(?=[A-Z\"(*])", plain.strip()):
        if found and ABBREVIATIONS.search(found[-1]):
            found[-1] += f" {part}"
        else:
            found.append(part)
    return found


def prose_lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """Lines of prose in Markdown without their marks, and whether a paragraph goes on after each; the rest is empty."""
    kept, fenced = [], False
    for line in text.splitlines():
        fence = re.match(r"\s*(?:```|~~~)", line) is not None
        fenced ^= fence
        other = fenced or fence or re.match(r"\s*(?:\||#|<|>|\[[^\]]+\]: |!\[|---|===|\?\?\?|!!!|:::|\{)", line)
        kept.append("" if other else line)
    for number, (line, after) in enumerate(zip(kept, [*kept[1:], ""], strict=True), 1):
        item = re.match(r"\s*(?:[-*+]|\d+\.)\s+", after)
        text_of = re.sub(r"^\s*(?:[-*+]|\d+\.)\s+", "", line).strip()
        if text_of:
            yield number, text_of, bool(after.strip()) and item is None


def markdown_faults(text: str) -> Iterator[Fault]:
    """Faults of a document."""
    prose = {number for number, _, _ in prose_lines(text)}
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_COLUMNS and number not in prose and not line.lstrip().startswith(("|", "[", "!", "<")):
            yield number, f"{len(line)} columns; only a line of prose may have more than {MAX_COLUMNS}"
    for number, line, goes_on in prose_lines(text):
        yield from ((number, fault) for fault in house_words(line))
        found = sentences(HEADING.sub("", line))
        if len(found) > 1:
            yield number, f"holds {len(found)} sentences; begin a line for {found[1][:30]!r}"
        if goes_on and line[-1] not in ".!?:":
            yield number, f"is broken inside a sentence, after {line[-30:]!r}; put a sentence on one line"
        for sentence in found:
            if (words := len(sentence.split())) > MAX_WORDS:
                yield number, f"has a sentence of {words} words; split it, {MAX_WORDS} are the most: {sentence[:40]!r}"


def faults(paths: list[Path], check: Callable[[str], Iterator[Fault]]) -> list[str]:
    """All faults of files, each as "file:line: what, and what instead"."""
    found = [
        (path.relative_to(ROOT).as_posix(), line, fault) for path in paths for line, fault in check(path.read_text())
    ]
    return [f"{name}:{line}: {fault}" for name, line, fault in found]


def test_docstrings_and_messages_follow_the_rules():
    found = faults([path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))], source_faults)
    assert not found, "\n".join(found)


def documents() -> list[Path]:
    """All documents that people read."""
    return [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]


def test_documents_follow_the_rules():
    assert not (found := faults(documents(), markdown_faults)), "\n".join(found)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (source_faults, '"""What a model reads."""'),
        (source_faults, 'def read():\n    """Reads a file."""'),
        (source_faults, 'class A:\n    """Whether it is so."""'),
        (source_faults, 'def read():\n    """Read what the network was told."""'),
        (source_faults, 'def read(name):\n    raise ValueError(f"{name} knows nothing of it")'),
        (markdown_faults, "It is one. It is another."),
        (markdown_faults, "This sentence is broken\ninside."),
        (markdown_faults, "- This sentence is broken\n  inside."),
        (markdown_faults, "A sentence has" + 23 * " word" + "."),
        (markdown_faults, "The surest objects come first."),
        (markdown_faults, "```\n" + 121 * "x" + "\n```"),
    ],
)
def test_checker_catches_a_planted_fault(check: Callable[[str], Iterator[Fault]], text: str):
    assert len(list(check(text))) == 1


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (source_faults, '"""Counts of objects."""'),
        (source_faults, 'def read():\n    """Read ``facts`` of a file."""'),
        (source_faults, 'KEYS = ["chance", "told"]'),
        (markdown_faults, "It is one.\nIt is another."),
        (markdown_faults, "It takes options, e.g. `Size. Of it`, and [a link](x. With.md)"),
        (markdown_faults, "* One item\n* Another item"),
        (markdown_faults, "| The surest. It is | " + 121 * "x" + " |"),
        (markdown_faults, "```python\nfronts = told. Knows = 1\n```"),
    ],
)
def test_checker_accepts_what_is_allowed(check: Callable[[str], Iterator[Fault]], text: str):
    assert list(check(text)) == []
