import importlib
import io
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from lavae_rl.runs.exits import EXIT_STOPPED
from lavae_rl.runs.sweep import RunError, check_steps, log_file, running, sweep

RUNS = ("a", "b", "c")


def _sweep(out, work, runs=RUNS, jobs=1, engine="local"):
    """What of the runs is complete, and what was printed; a run is complete when its folder is there."""
    printed = io.StringIO()
    console = Console(file=printed, soft_wrap=True)
    args = Namespace(out=out, jobs=jobs, engine=engine, address=None if engine == "local" else "local")
    complete = sweep(dict.fromkeys(runs), args, lambda _, folder, __: folder.exists(), work, console)
    return complete, printed.getvalue()


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_run_is_worked_on_once(tmp_path, jobs):
    worked = []

    def work(run, folder, args):
        worked.append(folder.name)
        folder.mkdir()

    complete, printed = _sweep(tmp_path / "runs", work, jobs=jobs)
    assert complete == dict.fromkeys(RUNS, True)
    assert all(f"{run}: complete" in printed for run in RUNS)
    assert sorted(worked) == ["a", "b", "c"]
    assert _sweep(tmp_path / "runs", work, jobs=jobs) == (dict.fromkeys(RUNS, True), "")
    assert len(worked) == 3


def test_a_run_that_fails_is_shown_and_the_others_go_on(tmp_path):
    def work(run, folder, args):
        if folder.name == "b":
            raise RunError("out of [memory]")

    complete, printed = _sweep(tmp_path, work)
    assert complete == {"a": True, "b": False, "c": True}
    assert "b: out of [memory]" in printed


def _begin_anew(run, folder, args):
    """Dies with its process at the first time; "b" always fails."""
    if folder.name == "b":
        raise RunError("out of [memory]")
    tried = folder.with_suffix(".tried")
    if folder.name == "a" and not tried.exists():
        tried.touch()
        os._exit(1)
    folder.mkdir()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra rllib")
def test_runs_go_to_a_ray_cluster_and_begin_again_where_a_worker_dies(tmp_path):
    importlib.import_module("ray.cloudpickle").register_pickle_by_value(sys.modules[__name__])  # workers have no tests
    complete, printed = _sweep(tmp_path, _begin_anew, engine="ray")
    assert complete == {"a": True, "b": False, "c": True}
    assert (tmp_path / "a.tried").exists()
    assert "b: out of [memory]" in printed


def test_a_run_that_another_process_is_at_is_left_to_it(tmp_path):
    with FileLock(tmp_path / "b.lock"):
        complete, printed = _sweep(tmp_path, lambda run, folder, args: folder.mkdir())
    assert complete == {"a": True, "b": False, "c": True}
    assert "b: another process is at it" in printed
    assert not (tmp_path / "b").exists()


def test_ctrl_c_stops_what_has_not_begun(tmp_path):
    worked = []

    def work(run, folder, args):
        worked.append(folder.name)
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        _sweep(tmp_path, work)
    assert stopped.value.code == EXIT_STOPPED
    assert len(worked) < 3


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_who_stops_a_sweep_stops_its_programs(tmp_path, number):
    program = _program(tmp_path, "import time; time.sleep(100)")
    before = signal.getsignal(signal.SIGTERM)

    def work(run, folder, args):
        def stop():
            while not log_file(folder).exists() or not log_file(folder).read_text():
                time.sleep(0.05)
            os.kill(os.getpid(), number)

        threading.Thread(target=stop).start()
        with running(program, [], folder, 1):
            pass

    start = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        _sweep(tmp_path, work, RUNS[:1])
    assert stopped.value.code == EXIT_STOPPED
    assert time.monotonic() - start < 50  # the program had 100 s to go
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"recipe": {"steps": 3000}}', None),
        ('{"recipe": {"steps": 20}}', "has 20 steps, expected 3,000 steps; remove"),
        ('{"preset": {"steps": 3000}}', "no config.json of a training"),
        ('{"recipe": {"steps": "many"}}', "no config.json of a training"),
        ("[]", "no config.json of a training"),
    ],
)
def test_a_run_that_is_there_already_has_to_be_the_one_asked_for(tmp_path, config, message):
    check_steps(tmp_path / "none", "recipe", 3000)
    (tmp_path / "config.json").write_text(config)
    if message is None:
        check_steps(tmp_path, "recipe", 3000)
        return
    with pytest.raises(RunError, match=message):
        check_steps(tmp_path, "recipe", 3000)


@pytest.mark.parametrize(("given", "threads"), [("7", "7"), (None, "1")])
def test_a_program_has_its_share_of_the_cores_unless_the_caller_says_otherwise(tmp_path, monkeypatch, given, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    with running(_program(tmp_path), ["--flag"], tmp_path / "run", jobs=1000) as process:
        assert process.pid
    assert log_file(tmp_path / "run").read_text().split() == [threads, "--flag"]


def test_a_program_that_fails_says_how(tmp_path):
    program = _program(tmp_path, "sys.exit('no disk left')")
    with pytest.raises(RunError, match="no disk left"), running(program, [], tmp_path / "run", 1):
        pass


def _program(folder: Path, last: str = "") -> Path:
    program = folder / "program.py"
    program.write_text(f"import os, sys\nprint(os.environ['OMP_NUM_THREADS'], *sys.argv[1:], flush=True)\n{last}\n")
    return program


def test_the_console_says_which_job_it_is_and_when_all_will_be_over(tmp_path, monkeypatch):
    clock = iter([0.0, 600.0, 1000.0, 8200.0])
    monkeypatch.setattr("lavae_rl.runs.sweep.time.monotonic", lambda: next(clock))
    (tmp_path / "b").mkdir()
    _, printed = _sweep(tmp_path, lambda run, folder, args: folder.mkdir())
    assert "job 1 of 3, a: see" in printed
    assert "a: complete in 10 min; 2 to go, in about 20 min" in printed
    assert "job 2 of 3" not in printed  # it was complete
    assert "job 3 of 3, c: see" in printed
    assert printed.rstrip().endswith("c: complete in 2 h 00 min")
