"""``--compile`` and the compilers that it needs."""

import dataclasses
import sys

import pytest

from lavae_rl.pretrain import train_lavae
from lavae_rl.pretraining.compilers import check_compiler
from lavae_rl.pretraining.run import read_run
from lavae_rl.runs.config import write_json

RUN = ["--recipe", "smoke", "--steps", "2", "--device", "cpu"]


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    """A folder whose bin is the PATH, without compilers."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _told(capsys, *argv):
    with pytest.raises(SystemExit) as end:
        train_lavae.main(argv)
    assert end.value.code == 1
    return capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="compilers have other names")
def test_a_missing_compiler_is_named(no_compiler, monkeypatch):
    with pytest.raises(ValueError, match=r"expected a C\+\+ compiler for --compile, found no g\+\+: .*--no-compile"):
        check_compiler("cpu")
    with pytest.raises(ValueError, match="expected a C compiler for --compile, found no gcc or clang: "):
        check_compiler("cuda")
    compiler = no_compiler / "bin" / "mine"
    monkeypatch.setenv("CXX", "mine")
    for content in ("", "#!/bin/sh\nexit 1\n"):
        compiler.write_text(content)
        compiler.chmod(0o755)
        with pytest.raises(ValueError, match=r"found no mine \(by CXX\)"):
            check_compiler("cpu")
    compiler.write_text("#!/bin/sh\nexit 0\n")
    check_compiler("cpu")


def test_without_a_compiler_no_run_begins(no_compiler, capsys):
    out = no_compiler / "run"
    told = _told(capsys, *RUN, "--compile", "--out", str(out))
    assert told.startswith("error: expected a C++ compiler for --compile")
    assert len(told.splitlines()) == 1
    assert not out.exists()


@pytest.mark.slow
def test_a_run_that_was_compiled_goes_on_without_a_compiler(no_compiler, capsys):
    out = no_compiler / "run"
    train_lavae.main([*RUN, "--no-compile", "--out", str(out)])
    run = dataclasses.replace(read_run(out), compile=True, metrics=None)
    write_json(out, run.content())
    capsys.readouterr()
    assert "expected a C++ compiler" in _told(capsys, "--resume", "--out", str(out), "--device", "cpu")
    train_lavae.main(["--resume", "--no-compile", "--out", str(out), "--device", "cpu"])
    assert read_run(out).compile is False
    assert read_run(out).metrics is not None
