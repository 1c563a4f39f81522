import numpy as np

from lavae_rl.data.frame_maximum import FrameMaximum


def _frames(*values):
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)


def _values(frames):
    return frames[:, 0, 0, 0].tolist()


def test_each_frame_is_joined_with_the_one_before_it_of_its_environment():
    maximum = FrameMaximum(2)
    assert _values(maximum.update(_frames(5, 1), np.array([0, 1]))) == [5, 1]
    assert _values(maximum.update(_frames(3, 2), np.array([0, 1]))) == [5, 2]
    assert _values(maximum.update(_frames(1, 1), np.array([0, 1]))) == [3, 2]
    assert _values(maximum.update(_frames(0), np.array([1]))) == [1]


def test_nothing_of_the_last_episode_remains_after_a_reset():
    maximum = FrameMaximum(2)
    maximum.update(_frames(9, 9), np.array([0, 1]))
    maximum.reset(np.array([1]))
    assert _values(maximum.update(_frames(1, 1), np.array([0, 1]))) == [9, 1]


def test_frames_that_environments_write_again_do_not_change_what_is_remembered():
    maximum, frames = FrameMaximum(1), _frames(7)
    first = maximum.update(frames, np.array([0]))
    frames[:] = 0
    assert _values(first) == [7]
    assert _values(maximum.update(frames, np.array([0]))) == [7]
