"""Files that replace others: whole or not there, with the permissions of new files."""

import os
import stat

import pytest
from safetensors.torch import save_file

from lavae_rl.runs.atomic import replacing


@pytest.fixture
def umask():
    """Sets the umask for a test."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_that_the_umask_gives(tmp_path, umask, untrained, mask):
    umask(mask)
    (tmp_path / "whole.txt").write_text("before")
    (tmp_path / "whole.txt").chmod(0o600)
    with replacing(tmp_path / "whole.txt") as temporary:
        temporary.write_text("after")
    with replacing(tmp_path / "weights.safetensors") as temporary:
        save_file({}, temporary)  # narrows the permissions
    untrained.save_pretrained(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    names = ("config.json", "model.safetensors", "weights.safetensors", "whole.txt")
    assert modes == dict.fromkeys(names, 0o666 & ~mask)


def test_an_error_leaves_the_old_file_and_a_later_write_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def crash():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert path.read_text() == "before"
    with replacing(path) as temporary:
        temporary.write_text("after")
    assert path.read_text() == "after"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
