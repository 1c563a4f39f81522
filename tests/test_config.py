import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.config import FORMAT, parse, read_json, write_json

HERE = Path("run/config.json")


@dataclass(frozen=True)
class Size:
    height: int
    width: int = 3


@dataclass(frozen=True)
class Settings:
    size: Size
    rate: float
    name: str | None = None
    range: tuple[int, int] = (0, 1)

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError(f"expected rate of at least 0, got {self.rate}")


GOOD = {"size": {"height": 2}, "rate": 0.5, "name": "a", "range": [4, 5]}


def test_a_dataclass_is_read_with_the_dataclasses_inside_it_and_tuples_for_lists():
    assert parse(Settings, GOOD, HERE) == Settings(Size(2), 0.5, "a", (4, 5))
    assert parse(Settings, {"size": {"height": 2}, "rate": 0.5}, HERE) == Settings(Size(2), 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GOOD | {"depth": 3}, "Settings of size, rate, name, range; got .*depth"),
        (GOOD | {"size": {"height": 2, "breadth": 3}}, "got .*breadth"),
        ({"rate": 0.5}, 'got .*"size"'),
        (GOOD | {"size": {}}, 'got .*"size.height"'),
        (GOOD | {"rate": "fast"}, 'got .*"rate"'),
        (GOOD | {"size": 3}, 'got .*"size"'),
        (GOOD | {"name": 3}, 'got .*"name"'),
        (GOOD | {"range": 3}, "got "),
        (GOOD | {"rate": -1.0}, "got expected rate of at least 0, got -1.0"),
        ([1], "got "),
        (None, "got "),
    ],
    ids=[
        "unknown",
        "unknown inside",
        "missing",
        "missing inside",
        "type",
        "no object",
        "optional",
        "no list",
        "value",
        "list",
        "none",
    ],
)
def test_values_that_cannot_be_are_refused_with_file_and_field(values, message):
    with pytest.raises(ValueError, match=f"expected run/config.json to hold .*{message}"):
        parse(Settings, values, HERE)


def test_what_is_written_has_the_present_format_and_is_read_again(tmp_path):
    write_json(tmp_path, {"seed": 3, "format": 1})
    assert read_json(tmp_path) == {"seed": 3, "format": FORMAT}


def test_files_without_a_format_are_of_the_first(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 3}')
    assert read_json(tmp_path) == {"seed": 3, "format": 1}


@pytest.mark.parametrize("number", [FORMAT + 1, 0, -1, 1.5, "2", None], ids=str)
def test_other_formats_are_refused_with_the_remedy(number, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"format": number}))
    with pytest.raises(ValueError, match=r"has format .* reads formats 1 to 2: update lavae-rl"):
        read_json(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null"])
def test_files_that_hold_no_object_are_refused_as_damaged(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        read_json(tmp_path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path)


def test_a_file_is_replaced_at_the_end_and_keeps_its_suffix(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.suffix == ".bin"
        assert temporary.parent == path.parent
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("crash", [OSError, KeyboardInterrupt])
def test_after_a_crash_in_the_middle_the_old_file_is_there(crash, tmp_path):
    path = tmp_path / "config.json"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("ha")
            raise crash

    with pytest.raises(crash):
        write_half()
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]
