"""Locks, and file systems without them."""

import errno
import os

import pytest
from filelock import Timeout

from lavae_rl.runs.claims import claimed
from lavae_rl.runs.locks import locked
from lavae_rl.runs.tables import report_folder

fcntl = pytest.importorskip("fcntl")


@pytest.fixture(params=[errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK], ids=errno.errorcode.get)
def without_locks(request, monkeypatch):
    """A system whose file systems answer every lock with an error."""

    def fail(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", fail)


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("use", [claimed, report_folder])
def test_folders_without_locks_are_used_with_a_warning(use, tmp_path):
    for _ in range(2):
        with pytest.warns(UserWarning, match="has no locks .*start one at a time"), use(tmp_path / "run"):
            (tmp_path / "run" / "file").write_text("")


def test_other_errors_of_locks_and_errors_inside_are_raised(tmp_path):
    with pytest.raises(OSError, match="nowhere"), locked(tmp_path / "nowhere" / ".lock"):
        pass
    with pytest.raises(OSError, match="inside"), locked(tmp_path / ".lock"):
        raise OSError(errno.ENOLCK, "inside")
    with locked(tmp_path / ".lock"), pytest.raises(Timeout), locked(tmp_path / ".lock", timeout=0):
        pass
