"""The programs as people start them: by file, by module and by command, with --help that explains every flag."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "pretrain/train_lavae.py": "--dataset --recipe --steps --seed --device --mixed-precision --out --resume",
    "pretrain/collect_frames.py": "--env --frames --out --env-kwargs --policy --max-frames --frame-key --seed --resume",
    "pretrain/evaluate_lavae.py": "--dataset --num-scenes --num-samples --json",
    "pretrain/make_figures.py": "--dataset --baseline --out --num-scenes --seed",
    "pretrain/reproduce_table1.py": "--table --rows --datasets --seeds --jobs --out --report",
    "pretrain/make_dataset.py": "--dataset --split --out",
    "agents/train_agent.py": "--env --observation --algo --steps --seed --num-envs --out",
    "agents/evaluate_agent.py": "--num-objects --episodes --mode --json",
    "agents/benchmark.py": "--full --tasks --observations --seeds --jobs --out",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_explains_its_flags(program, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / program), run_name="__main__")
    assert stop.value.code == 0
    explained = capsys.readouterr().out
    assert [flag for flag in PROGRAMS[program].split() if flag not in explained] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        [sys.executable, "pretrain/make_dataset.py"],
        [sys.executable, "-m", "lavae_rl.pretrain.make_dataset"],
        [str(Path(sys.executable).with_name("lavae-make-dataset"))],
    ],
    ids=["file", "module", "command"],
)
def test_program_starts_by_file_by_module_and_by_command(start):
    done = subprocess.run([*start, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--split" in done.stdout
