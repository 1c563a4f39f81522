"""The program to play and record tasks, given a list of keys and clicks instead of a person."""

import re
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest

from lavae_rl.envs import play
from lavae_rl.envs.scripted import ScriptedPolicy
from lavae_rl.registration import TASKS

DOCS = Path(__file__).parents[1] / "docs"
GREY, GREEN, RED, ORANGE = (64, 64, 64), (0, 190, 0), (230, 0, 0), (255, 160, 0)
UP, DOWN, LEFT, RIGHT, SPACE = 65362, 65364, 65361, 65363, ord(" ")


def _read(file):
    """Pictures as RGB, and their times in milliseconds."""
    _, animation = cv2.imreadanimation(str(file))
    return [frame[..., 2::-1] for frame in animation.frames], list(animation.durations)


def _edge(picture):
    """The one colour of the border."""
    outside = np.ones(picture.shape[:2], bool)
    outside[6:-6, 6:-6] = False
    assert (picture[outside] == picture[0, 0]).all()
    return tuple(picture[0, 0].tolist())


def _steps(task, seed):
    """Steps of the scripted policy, and the last frame before the first."""
    env: Any = gym.make(f"LAVAE/{task}-v0", render_mode="rgb_array")
    env.reset(seed=seed)
    first, steps, over = env.render(), 0, False
    policy = ScriptedPolicy(env.unwrapped.simulation)
    while not over:
        _, _, terminated, truncated, _ = env.step(policy()[0])
        over, steps = terminated or truncated, steps + 1
    return steps, first


def _play(task, *given, seed=0, **options):
    """The game, and what was shown, after keys and clicks and then Q."""
    game = play.Game(task, **options)
    game.reset(seed)
    shown: list[Any] = []
    play.play(game, iter([*given, ord("q")]).__next__, lambda title, picture: shown.append((title, picture)))
    assert len(shown) == len(given) + 1
    return game, shown


def _agent(game):
    return game.simulation.world.scenes.location[0, 0].tolist()


def _error(capsys, *argv):
    with pytest.raises(SystemExit) as stop:
        play.main(list(argv))
    return stop.value.code, " ".join("".join(capsys.readouterr()).split())


@pytest.mark.parametrize("name", ["Push", "LAVAE/Push-v0"])
def test_a_recording_has_a_picture_per_state_in_true_colours(name, tmp_path):
    file = tmp_path / "push.gif"
    play.main([name, "--record", str(file), "--episodes", "2", "--seed", "5", "--fps", "10"])
    steps, scenes = zip(*(_steps("Push", seed) for seed in (5, 6)), strict=True)
    shown, times = _read(file)
    assert len(shown) == 2 + sum(steps)
    assert times == [t for n in steps for t in [600] + [100] * (n - 1) + [1200]]
    assert all(picture.shape == (204, 204, 3) for picture in shown)
    edges = [_edge(picture) for picture in shown]
    assert edges == [e for n in steps for e in [GREY] * n + [GREEN]]
    inside, scene = shown[steps[0] + 1][6:-6, 6:-6], scenes[1][::2, ::2]
    lines = (inside == GREY).all(axis=2)
    np.testing.assert_array_equal(inside[~lines], scene[~lines])
    assert lines.sum() <= 2 * (9 + 12 + 1) * 3 + 1  # the edges of the goal, which the agent does not see


def test_a_recording_of_a_pointer_task_shows_the_place_before_the_object_vanishes(tmp_path):
    file = tmp_path / "match.gif"
    play.main(["MatchDigit", "--record", str(file), "--episodes", "2", "--seed", "3"])
    shown, times = _read(file)
    assert [_edge(picture) for picture in shown] == [GREY, GREY, GREEN] * 2
    assert times == [750, 750, 1500] * 2
    env: Any = gym.make("LAVAE/MatchDigit-v0")
    env.reset(seed=4)
    world = env.unwrapped.simulation.world
    row, column = world.scenes.location[0, world.targets[0].argmax()] * 3 + 1 + 6
    for picture, expected in zip(shown[3:], (False, True, True), strict=True):
        assert (tuple(picture[row, column]) == ORANGE) == expected
    white = [(picture == 255).all(axis=2).sum() for picture in shown[3:]]
    assert white[0] > white[1] > white[2] + 100


def test_failure_has_a_red_border_and_random_actions_a_seed(tmp_path, capsys):
    files = [tmp_path / f"{i}.gif" for i in range(3)]
    for file, seed in zip(files, "115", strict=True):
        play.main(["Largest", "--record", str(file), "--policy", "random", "--seed", seed, "--episodes", "2"])
        assert f"{file.name}: 0 of 2 episodes with success" in capsys.readouterr().out
    ends = [_edge(picture) for picture in _read(files[0])[0]]
    assert ends.count(RED) == 2
    assert set(ends) == {GREY, RED}
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


def test_options_reach_the_environment_and_tokens_are_drawn_in_full_size(tmp_path):
    file = tmp_path / "tokens.gif"
    play.main(["MatchDigit", "--record", str(file), "--tokens", "--num-objects", "8", "9", "--episodes", "1"])
    assert _read(file)[0][0].shape == (384 + 2 * 48 + 12, 384 + 12, 3)  # ten slots are two rows of eight
    args = play.parse_args(["Collect", "--num-objects", "3", "--mode", "test"])
    simulation = play.make_game(args, "Collect").simulation
    assert (simulation.range, simulation.task.mode) == ((3, 3), "test")


@pytest.mark.parametrize("keys", [(UP, DOWN, LEFT, RIGHT), b"wsad", b"WSAD"], ids=str)
def test_keys_move_the_agent_and_q_quits(keys):
    start = np.array(_agent(_play("OddOneOut", seed=1)[0]))
    for key, move in zip(keys, ([-4, 0], [4, 0], [0, -4], [0, 4]), strict=True):
        assert _agent(_play("OddOneOut", key, seed=1)[0]) == (start + move).tolist()
    game, shown = _play("OddOneOut", SPACE, ord("x"), -1, (200, 200), seed=1)
    assert _agent(game) == start.tolist()
    assert [title for title, _ in shown] == ["OddOneOut: 0 / 0"] * 5


def test_an_episode_that_is_over_waits_for_space_and_r_begins_a_new_one_at_once():
    game = play.Game("Largest")
    game.reset(1)
    policy, keys = ScriptedPolicy(game.simulation), []
    while not game.over:
        keys.append([SPACE, UP, DOWN, LEFT, RIGHT][policy()[0]])
        game.step(policy()[0])
    game, shown = _play("Largest", *keys, UP, LEFT, seed=1)
    assert [title for title, _ in shown[-3:]] == ["Largest: 1 / 1 - success, space or click: next"] * 3
    assert [_edge(picture) for _, picture in shown[-4:]] == [GREY, GREEN, GREEN, GREEN]
    for given in (SPACE, ord("r"), (1, 1)):
        game, shown = _play("Largest", *keys, given, seed=1)
        assert (shown[-1][0], _edge(shown[-1][1]), game.over) == ("Largest: 1 / 1", GREY, False)
    game, shown = _play("Largest", ord("R"), seed=1)
    assert game.title == "Largest: 0 / 0"  # an episode that is not over does not count
    assert (shown[0][1] != shown[1][1]).any()


def test_a_click_points_at_what_is_under_it():
    game, _ = _play("MatchDigit", UP, SPACE, (2, 200), (200, 393))
    assert game.title == "MatchDigit: 0 / 0"
    world, right = game.simulation.world, game.simulation.world.targets[0].argmax()
    for slot, end in ((right, "1 / 1 - success"), (3 if right != 3 else 2, "0 / 1 - failure")):
        row, column = (world.scenes.location[0, slot] * 6 + 6 + 3).tolist()
        game, shown = _play("MatchDigit", (column, row))
        assert end in game.title
        assert tuple(shown[-1][1][row, column]) == ORANGE
    for pixel in (0, 1, 31, 62, 63):
        for inside in (0, 5):
            place = (game.action((6 + pixel * 6 + inside, 6)) + 1) / 2 * 63
            np.testing.assert_allclose(place, [pixel, 0], atol=1e-4)


@pytest.fixture
def window(monkeypatch):
    """A window of which nothing is ever seen."""
    for name in ("namedWindow", "setMouseCallback", "setWindowTitle", "imshow"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: -1)
    monkeypatch.setattr(play, "has_screen", lambda: True)
    return play.Window()


def test_a_window_reads_keys_clicks_and_its_end(window, monkeypatch):
    assert window.read(0.0) == -1
    window._click(cv2.EVENT_MOUSEMOVE, 1, 2, 0, None)
    window._click(cv2.EVENT_LBUTTONDOWN, 3, 4, 0, None)
    assert window.read() == (3, 4)
    for code, meant in ((0x10FF51, LEFT), (0x110071, ord("q")), (0x250000, 0x250000)):
        monkeypatch.setattr(cv2, "waitKeyEx", lambda _, code=code: code)
        assert window.read() == meant
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 0.0)
    assert window.read() == 27

    def fail(*_):
        raise cv2.error("NULL guiReceiver")  # as Qt does when no window is left

    monkeypatch.setattr(cv2, "getWindowProperty", fail)
    assert window.read() == 27


@pytest.mark.usefixtures("window")
def test_a_policy_can_be_watched_until_somebody_quits(monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr(play.Window, "show", lambda _, title, picture: shown.append(title))
    play.main(["MatchDigit", "--policy", "scripted", "--episodes", "2", "--fps", "50", "--seed", "1"])
    ends = [f"MatchDigit: {n} / {n} - success, space or click: next" for n in (1, 2)]
    assert shown == [*["MatchDigit: 0 / 0"] * 2, ends[0], *["MatchDigit: 1 / 1"] * 2, ends[1]]
    shown.clear()
    monkeypatch.setattr(cv2, "waitKeyEx", lambda _: 27)
    play.main(["MatchDigit", "--policy", "random"])
    play.main(["MatchDigit"])
    assert shown == ["MatchDigit: 0 / 0"] * 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["Sokoban"], f"expected one of {', '.join(f'LAVAE/{name}-v0' for name in TASKS)}, got 'Sokoban'"),
        (["Push"], "there is no screen (DISPLAY is not set); --record FILE.gif needs none"),
        (["Push", "--policy", "random"], "there is no screen (DISPLAY is not set); --record FILE.gif needs none"),
        (["Push", "--record", "push.mp4"], "expected a file *.gif in a folder that exists, got push.mp4"),
        (["Push", "--record", "/nowhere/push.gif"], "in a folder that exists, got /nowhere/push.gif"),
        (["Push", "--num-objects", "1", "2", "3"], "(low, high), low <= high, of at least 1, got [1, 2, 3]"),
        (["OddOneOut", "--num-objects", "2"], "of at least 3"),
        (["Push", "--episodes", "0"], "expected --episodes of at least 1"),
        (["Push", "--fps", "0"], "--fps above 0"),
        (["Push", "--seed", "-1"], "--seed of at least 0"),
    ],
)
def test_what_cannot_work_is_refused(argv, message, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    code, told = _error(capsys, *argv)
    assert code == 1
    assert message in told


@pytest.mark.parametrize("argv", [[], ["Push", "--gallery", "."], ["Push", "--policy", "clever"]], ids=str)
def test_unusable_arguments_end_with_status_2(argv, capsys):
    code, told = _error(capsys, *argv)
    assert code == 2
    assert "expected the ID of a task, or --gallery FOLDER" in told or "invalid choice: 'clever'" in told


def test_a_gallery_has_every_task_and_so_has_the_page_about_them(tmp_path):
    play.main(["--gallery", str(tmp_path), "--episodes", "1"])
    page = (DOCS / "tasks.md").read_text()
    for folder in (tmp_path, DOCS / "images" / "tasks"):
        assert {file.stem for file in folder.iterdir()} == set(TASKS)
        assert all(file.stat().st_size < 150_000 for file in folder.iterdir())
    assert re.findall(r"\]\(images/tasks/(\w+)\.gif\)", page) == list(TASKS)
    assert all(f"`LAVAE/{name}-v0`" in page for name in TASKS)
