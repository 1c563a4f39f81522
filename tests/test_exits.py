import importlib

import pytest

from lavae_rl.runs.exits import EXIT_FAILED, EXIT_STOPPED, clean_exit, program_parser

STOPPABLE = {
    "lavae_rl.pretrain.evaluate_lavae": ("run", ["multi-dsprites"]),
    "lavae_rl.pretrain.make_figures": ("run", ["multi-dsprites", "--out", "figures"]),
    "lavae_rl.pretrain.make_dataset": ("check", ["--check", "scenes.npz"]),
    "lavae_rl.envs.play": ("run", ["OddOneOut"]),
    "lavae_rl.agents.train_agent": ("train", []),
    "lavae_rl.agents.evaluate_agent": ("find_run", ["bundled:OddOneOut"]),
}


def _raise(error):
    raise error


@pytest.mark.parametrize("name", STOPPABLE)
def test_ctrl_c_ends_a_program_with_a_message_and_exit_status_130(name, monkeypatch, capsys):
    program, (function, argv) = importlib.import_module(name), STOPPABLE[name]
    monkeypatch.setattr(program, function, lambda *_: _raise(KeyboardInterrupt()))
    with pytest.raises(SystemExit) as end:
        program.main(argv)
    assert end.value.code == EXIT_STOPPED
    assert capsys.readouterr().out.startswith("stopped")


def test_errors_of_users_print_one_line_and_others_keep_their_traceback(capsys):
    with pytest.raises(SystemExit) as end, clean_exit():
        raise ValueError("expected [more], got less")
    assert end.value.code == EXIT_FAILED
    assert "error: expected [more], got less" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError), clean_exit():
        raise ZeroDivisionError


def test_programs_print_long_lines_and_their_docstring_as_they_stand(capsys):
    with clean_exit() as console:
        console.print("word " * 100)
    assert capsys.readouterr().out == "word " * 100 + "\n"
    parser = program_parser("One line.\n\n    indented")
    assert "One line.\n\n    indented\n" in parser.format_help()
    parser.add_argument("--steps")
    with pytest.raises(SystemExit):
        parser.parse_args(["--step", "3"])
