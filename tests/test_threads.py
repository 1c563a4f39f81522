"""Programs that run in another thread than the main one, where Python sets no handlers of signals."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from lavae_rl.agents import benchmark, evaluate_agent, train_agent, train_rllib
from lavae_rl.envs import play
from lavae_rl.pretrain import evaluate_lavae, train_lavae
from lavae_rl.runs.signals import handling


def _in_a_thread(function, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def test_handlers_stay_what_they_are_outside_of_the_main_thread():
    def read():
        with handling(signal.default_int_handler, signal.SIGTERM):
            return signal.getsignal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert _in_a_thread(read) == before
    assert read() == signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_program_of_rllib_reads_no_signals_in_other_threads():
    def stopped():
        with train_rllib.stop_signals() as came:
            return came()

    assert _in_a_thread(stopped) is False


AGENT = ["--env", "ObjectGoal", "--observation", "oracle", "--steps", "64", "--eval-episodes", "2", "--out", "agent"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("main", "argv"),
    [
        (train_lavae.main, ["--recipe", "smoke", "--steps", "2", "--device", "cpu", "--out", "model"]),
        (train_agent.main, [*AGENT, "--num-envs", "4"]),
        (benchmark.main, ["--tasks", "ObjectGoal", "--observations", "oracle", "--steps", "64", "--episodes", "2"]),
        (evaluate_lavae.main, ["multi-dsprites", "--num-scenes", "2", "--num-samples", "1", "--json", "file.json"]),
        (evaluate_agent.main, ["bundled:OddOneOut", "--num-objects", "3", "--episodes", "2", "--json", "file.json"]),
        (play.main, ["Push", "--record", "file.gif", "--episodes", "1"]),
    ],
    ids=["train_lavae", "train_agent", "benchmark", "evaluate_lavae", "evaluate_agent", "play"],
)
def test_programs_run_in_any_thread(main, argv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "complete", lambda *_: None)  # of programs of its own
    monkeypatch.setattr(benchmark, "write_report", lambda *_: None)
    _in_a_thread(main, argv)
    assert list(tmp_path.iterdir())
