import numpy as np
import pytest

from lavae_rl.data.checks import check_moving, flickers, hides_objects
from lavae_rl.data.recordings import open_recording


def _balls(number, shown=lambda time, ball: True, step=3):
    """Three balls of 6 pixels, that move by ``step`` pixels a frame."""
    frames = np.zeros((number, 48, 64, 3), np.uint8)
    for time in range(number):
        for ball in range(3):
            if shown(time, ball):
                column = time * step % 58
                frames[time, 4 + 15 * ball : 10 + 15 * ball, column : column + 6] = 60 + 60 * ball
    return frames


def _whole(frames):
    return np.array([0, len(frames)])


@pytest.mark.parametrize(
    ("shown", "step", "expected"),
    [
        (lambda time, ball: True, 1, False),
        (lambda time, ball: True, 7, False),
        (lambda time, ball: True, 0, False),
        (lambda time, ball: ball == 0 or time % 2 == 0, 1, True),
        (lambda time, ball: (ball + time) % 2 == 0, 1, True),
        (lambda time, ball: time % 10 < 5, 1, False),
    ],
    ids=["slow", "fast", "still", "together", "in turns", "slow blinking"],
)
def test_objects_in_every_other_frame_flicker_and_moving_ones_do_not(shown, step, expected):
    frames = _balls(60, shown, step)
    assert flickers(frames, _whole(frames)) == expected


def test_frames_of_two_episodes_are_not_compared():
    frames = np.concatenate([_balls(2)[:, :, ::way] for way in (1, -1)] * 20)
    assert not flickers(frames, np.arange(0, 81, 2))
    assert not flickers(frames[:0], np.array([0]))


@pytest.mark.parametrize(
    ("game", "options", "expected"),
    [
        ("Asteroids", {}, True),
        ("Asteroids", {"frameskip": 2}, True),
        ("Asteroids", {"frameskip": 3}, False),
        ("Pong", {}, False),
        ("SpaceInvaders", {}, False),
    ],
)
def test_games_whose_frameskip_hides_objects_are_found(game, options, expected):
    pytest.importorskip("ale_py")
    assert hides_objects(f"ALE/{game}-v5", options) == expected


def test_other_environments_hide_nothing():
    assert not hides_objects("LAVAE/OddOneOut-v0", {})


@pytest.mark.parametrize("number", [1, 2, 12, 500])
def test_frames_in_which_nothing_moves_are_refused(tmp_path, number):
    frames = np.full((number, 8, 8, 3), 9, np.uint8)
    np.save(tmp_path / "a.npy", frames)
    with pytest.raises(ValueError, match=f"something moves, got {min(number, 200)} equal ones"):
        check_moving(open_recording(tmp_path))


def test_one_pixel_that_moves_is_enough(tmp_path):
    frames = np.full((12, 8, 8, 3), 9, np.uint8)
    frames[5, 7, 7, 2] = 10
    np.save(tmp_path / "a.npy", frames)
    check_moving(open_recording(tmp_path))
