import importlib

import pytest
from rich.console import Console

from lavae_rl.runs.exits import EXIT_FAILED, EXIT_STOPPED, clean_exit

STOPPABLE = {
    "lavae_rl.pretrain.evaluate_lavae": ("run", ["multi-dsprites"]),
    "lavae_rl.pretrain.make_figures": ("run", ["multi-dsprites", "--out", "figures"]),
    "lavae_rl.pretrain.make_dataset": ("check", ["--check", "scenes.npz"]),
    "lavae_rl.envs.play": ("run", ["OddOneOut"]),
    "lavae_rl.agents.train_agent": ("run", []),
    "lavae_rl.agents.evaluate_agent": ("find_run", ["bundled:OddOneOut"]),
}


def _raise(error):
    raise error


@pytest.mark.parametrize("name", STOPPABLE)
def test_ctrl_c_ends_a_program_with_a_word_and_a_status_of_its_own(name, monkeypatch, capsys):
    program, (function, argv) = importlib.import_module(name), STOPPABLE[name]
    monkeypatch.setattr(program, function, lambda *_: _raise(KeyboardInterrupt()))
    with pytest.raises(SystemExit) as end:
        program.main(argv)
    assert end.value.code == EXIT_STOPPED
    assert capsys.readouterr().out.startswith("stopped")


def test_an_error_that_tells_what_to_do_needs_no_traceback_and_others_keep_theirs(capsys):
    with pytest.raises(SystemExit) as end, clean_exit(Console()):
        raise ValueError("expected [more], got less")
    assert end.value.code == EXIT_FAILED
    assert "error: expected [more], got less" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError), clean_exit(Console()):
        raise ZeroDivisionError
