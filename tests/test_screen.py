"""Screens that are not there, or do not answer, and OpenCV without windows."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import gymnasium as gym
import pytest

from lavae_rl.envs import play, screen, sprite_env

ROOT = Path(__file__).parents[1]
HUMAN = """
import gymnasium as gym, lavae_rl
env = gym.make("LAVAE/OddOneOut-v0", render_mode="human")
env.reset(seed=0)
env.step(0)
env.close()
"""
PLAY = "from lavae_rl.envs import play; play.main(['OddOneOut'])"
# Stands for opencv-python-headless in front of the OpenCV that is installed.
HEADLESS = """
import sys
del sys.modules["cv2"]
sys.path.remove({folder!r})
import cv2

def namedWindow(*_):
    raise cv2.error("The function is not implemented")

cv2.namedWindow = cv2.imshow = cv2.waitKey = namedWindow
sys.path.insert(0, {folder!r})
"""


def _run(program, **environment):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    environment = {name: value for name, value in environment.items() if value}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def headless(tmp_path):
    """The PYTHONPATH on which OpenCV has no windows."""
    (tmp_path / "cv2.py").write_text(HEADLESS.format(folder=str(tmp_path)))
    return f"{tmp_path}{os.pathsep}{ROOT}"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a screen")
@pytest.mark.parametrize("display", ["", ":77", "nowhere.invalid:0"])
@pytest.mark.parametrize("program", [HUMAN, PLAY], ids=["human", "play"])
def test_a_screen_that_does_not_answer_ends_in_one_line(program, display):
    done = _run(program, DISPLAY=display, WAYLAND_DISPLAY="")
    told = (done.stdout + done.stderr).strip().splitlines()
    assert len(told) == 1, told
    assert (f"DISPLAY={display}" if display else "DISPLAY is not set") in told[0]
    assert ('render_mode="rgb_array"' if program == HUMAN else "--record FILE.gif") in told[0]
    assert done.returncode == (0 if program == HUMAN else 1)


@pytest.mark.slow
@pytest.mark.parametrize("program", [HUMAN, PLAY], ids=["human", "play"])
def test_an_opencv_without_windows_ends_in_one_line(program, headless):
    done = _run(program, DISPLAY=":77", PYTHONPATH=headless)
    told = (done.stdout + done.stderr).strip().splitlines()
    assert len(told) == 1, told
    assert "pip uninstall opencv-python-headless" in told[0]
    assert done.returncode == (0 if program == HUMAN else 1)


def test_windows_that_fail_where_screens_are_not_tried_are_told_once(monkeypatch, caplog, capsys):
    def fail(*_):
        raise cv2.error("The function is not implemented")

    for name in ("namedWindow", "imshow", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, fail)
    monkeypatch.setattr(screen.sys, "platform", "darwin")
    monkeypatch.setattr(sprite_env, "_warned", [])
    env = gym.make("LAVAE/ObjectGoal-v0", render_mode="human")
    env.reset(seed=0)
    env.step(0)
    env.close()
    assert [screen.WITHOUT_WINDOWS in record.message for record in caplog.records] == [True]
    with pytest.raises(SystemExit):
        play.main(["ObjectGoal"])
    assert screen.WITHOUT_WINDOWS in capsys.readouterr().out


def test_a_screen_on_which_a_window_opens_is_one(monkeypatch):
    monkeypatch.setattr(screen, "_TRY", "pass")
    monkeypatch.setattr(screen.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":88")
    assert screen.has_screen()
    monkeypatch.setattr(screen, "_TRY", "import time; time.sleep(9)")
    monkeypatch.setattr(screen, "_PATIENCE", 0.1)
    monkeypatch.setenv("DISPLAY", ":89")
    assert "does not answer (DISPLAY=:89" in str(screen.screen_problem())
