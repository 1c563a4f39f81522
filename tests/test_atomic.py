"""Files that are replaced as a whole: places that cannot be written to, two writers, modes, full disks."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lavae_rl.model.lavae import LAVAE
from lavae_rl.runs.atomic import is_leftover, optional, replacing
from lavae_rl.runs.claims import check_empty

KILLED = """
import os, sys
from pathlib import Path
from lavae_rl.runs.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os._exit(9)
"""


def _write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere/a.json", FileNotFoundError, "does not exist; make it first"),
        (".", IsADirectoryError, "got the folder"),
        ("a.json/b.json", FileNotFoundError, "make it first"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_an_error_before_any_work(name, error, message, tmp_path):
    (tmp_path / "a.json").write_text("")
    with pytest.raises(error, match=message), replacing(tmp_path / name):
        pytest.fail("work began")


def test_the_second_of_two_writers_is_refused_and_the_first_goes_on(tmp_path):
    path = tmp_path / "out.json"
    with replacing(path) as temporary:
        with pytest.raises(FileExistsError, match=r"another process is writing .*out\.json"):
            _write(path, "second")
        temporary.write_text("first")
    assert path.read_text() == "first"
    _write(path, "third")
    assert path.read_text() == "third"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_taken_over(tmp_path):
    path = tmp_path / "out.json"
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    assert is_leftover(left)
    _write(path, "w")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]
    assert path.read_text() == "w"


def test_files_get_the_mode_of_the_umask_whatever_wrote_them(tmp_path, untrained):
    before = os.umask(0o027)
    try:
        untrained.save_pretrained(tmp_path)
        with replacing(tmp_path / "other") as temporary:
            temporary.unlink()
            temporary.touch(0o600)  # as a library does that renames a file of its own
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == dict.fromkeys(
        ("README.md", "config.json", "model.safetensors", "other"), 0o640
    )


def test_links_stay_and_what_they_point_to_is_replaced(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    _write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_what_is_no_plain_file_is_written_to_as_it_is():
    with replacing(Path("/dev/null")) as place:
        assert place == Path("/dev/null")
    with optional(None) as nothing:
        assert nothing is None


FULL = """
import errno, resource, sys
from pathlib import Path
import torch
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.runs.folder import RunFolder

# Files longer than 20,000 bytes end in an error of the system, as on a full disk.
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
path = Path(sys.argv[1])
folder = RunFolder(path, resume=False)
folder.save_checkpoint({"step": 1})
errors = []
for work in (
    lambda: folder.save_checkpoint({"step": 2, "weights": torch.ones(10_000)}),
    lambda: LAVAE(LAVAEConfig(latents=4)).save_pretrained(path),
):
    try:
        work()
    except OSError as error:
        errors.append(str(error))
        assert error.errno == errno.EFBIG
assert "checkpoint.pt" in errors[0]
assert "model.safetensors" in errors[1]
assert folder.load_checkpoint(torch.device("cpu")) == {"step": 1}
resource.setrlimit(resource.RLIMIT_FSIZE, before)  # what measures coverage writes at the exit
"""


@pytest.mark.slow
def test_a_full_disk_is_an_error_of_the_system_that_names_the_file(tmp_path):
    """In a process of its own, for the limit is that of all files, the output of the tests among them."""
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"checkpoint.pt", "config.json"}


def test_a_crash_between_configuration_and_weights_leaves_a_model_that_loads(tmp_path, untrained, monkeypatch):
    untrained.save_pretrained(tmp_path)
    changed = LAVAE(untrained.config)

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lavae_rl.model.checkpoint.replacing", crash)
        with pytest.raises(KeyboardInterrupt):
            changed.save_pretrained(tmp_path)
    found = LAVAE.from_pretrained(tmp_path)
    assert torch.equal(found.count_logits, untrained.count_logits)


def test_a_folder_of_leftovers_counts_as_empty(tmp_path):
    for name in (".lock", "config.tmp.json", "agent.tmp.zip", "checkpoint.tmp.pt"):
        (tmp_path / name).touch()
    (tmp_path / "saving.tmp").mkdir()
    check_empty(tmp_path)
    (tmp_path / "frames").mkdir()
    check_empty(tmp_path, "frames")
    with pytest.raises(FileExistsError, match=r"no config\.json for --resume"):
        check_empty(tmp_path)
