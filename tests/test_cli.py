"""The programs as people start them: three ways each, with --help that explains every flag."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = {
    "train_lavae": (
        "lavae-train",
        ["--dataset", "--recipe", "--steps", "--seed", "--device", "--mixed-precision", "--out", "--resume"],
    ),
    "evaluate_lavae": ("lavae-evaluate", ["--dataset", "--num-scenes", "--num-samples", "--json"]),
    "make_figures": ("lavae-figures", ["--dataset", "--baseline", "--out", "--num-scenes", "--seed"]),
    "reproduce_table1": ("lavae-table1", ["--table", "--rows", "--datasets", "--seeds", "--jobs", "--out", "--report"]),
    "make_dataset": ("lavae-make-dataset", ["--dataset", "--split", "--out"]),
    "train_agent": (
        "lavae-train-agent",
        ["--env", "--observation", "--algo", "--steps", "--seed", "--num-envs", "--out"],
    ),
    "evaluate_agent": ("lavae-evaluate-agent", ["--num-objects", "--episodes", "--mode", "--json"]),
    "benchmark": ("lavae-benchmark-agents", ["--full", "--tasks", "--observations", "--seeds", "--jobs", "--out"]),
}


def _ways(name):
    script = Path(sys.executable).with_name(PROGRAMS[name][0])
    folder = "pretrain" if name.endswith(("_lavae", "_dataset", "_figures", "_table1")) else "agents"
    return [
        [sys.executable, f"{folder}/{name}.py"],
        [sys.executable, "-m", f"lavae_rl.{folder}.{name}"],
        [str(script)],
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_start_in_three_ways_and_explain_their_flags(name):
    running = [
        subprocess.Popen([*way, "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for way in _ways(name)
    ]
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0, output
        assert all(flag in output for flag in PROGRAMS[name][1])
