import numpy as np
import pytest

from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.perception.palette import LeftOutColors

GREEN, BLUE, WHITE = (20, 200, 30), (30, 40, 230), (255, 255, 255)


def _court(position):
    """A frame with a frame of white walls and a brown court, a white ball, and a green paddle."""
    frame = np.full((64, 64, 3), (144, 72, 17), np.uint8)
    frame[[0, 1, -2, -1]] = WHITE
    frame[10 + position % 40 : 13 + position % 40, 20 + position % 30] = WHITE
    frame[5 + position % 50 : 12 + position % 50, 58:60] = GREEN
    return frame


@pytest.fixture
def court():
    """Frames in which a white ball and a green paddle move over a brown court with white walls."""
    return np.stack([_court(position) for position in range(0, 100, 3)])


def test_what_moves_is_found_though_what_stays_has_its_colour_too(court):
    left_out = LeftOutColors(Preprocessing(palette=[(GREEN, (0, 255, 0))]), 16)
    left_out.add(court)
    assert left_out.number == 16
    assert left_out.moving() == [WHITE]


def test_a_palette_may_leave_out_what_does_not_move(court):
    left_out = LeftOutColors(Preprocessing(palette=[(GREEN, (0, 255, 0)), (WHITE, WHITE)]), 16)
    left_out.add(court[:16])
    assert left_out.moving() == []


def test_a_rare_change_is_not_what_moves(court):
    frames = np.stack([_court(0)] * 16)
    frames[5:8, 30:40, 30:40] = BLUE
    left_out = LeftOutColors(Preprocessing(palette=[(GREEN, (0, 255, 0))]), 16)
    left_out.add(frames)
    assert left_out.moving() == []
    frames[9, 30:40, 30:40] = BLUE
    left_out.add(frames)
    assert left_out.moving() == [BLUE]


def test_colours_are_looked_for_in_frames_as_the_palette_reads_them(court):
    prepare = Preprocessing(
        palette=[(GREEN, (0, 255, 0))], layout="chw", crop=(0, 40, 64, 24), resize=(64, 64), threshold=9
    )
    left_out = LeftOutColors(prepare, 16)
    left_out.add(court[:16].transpose(0, 3, 1, 2))
    assert left_out.moving() == []  # the ball is left of column 40 most of the time
