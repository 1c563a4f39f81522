"""The check that is prepared for machines with a GPU, in small on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_what_there_is_time_for_is_measured_and_the_rest_is_named(tmp_path):
    file = tmp_path / "gpu.json"
    command = [sys.executable, str(PROGRAM), "--device", "cpu", "--small", "--minutes", "0", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(file.read_text())
    assert found["device"] == "CPU"
    assert found["encode"]["frames/s at batch 64"] > 1
    assert found["PPO on tokens"]["together, steps/s"] > 1
    assert found["a step of the paper's recipe"]["ms"] > 1
    assert found["fast recipe, multi-dsprites"]["skipped"] == "the time was up"
