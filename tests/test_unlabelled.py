import math

import numpy as np
import pytest

from lavae_rl.data.npy import write_frames
from lavae_rl.data.recordings import open_recording
from lavae_rl.evaluation.unlabelled import Findings, measure_findings

GREEN, RED = (20, 200, 30), (255, 40, 40)


@pytest.fixture
def recording(tmp_path, color_dots):
    """Makes a recording of episodes, each a list of frames, each a list of coloured pixels."""

    def make(*episodes):
        for i, episode in enumerate(episodes):
            write_frames(tmp_path / f"episode-{i}.npy", (color_dots(*dots)[0] for dots in episode))
        return open_recording(tmp_path)

    return make


def test_frames_that_objects_explain_are_explained(colored, recording):
    found = measure_findings(colored, recording([[(9, 9, GREEN)], [(9, 10, GREEN), (30, 30, GREEN)]]), 2)
    assert found.explained > 0.99
    assert found.counts == [0, 1, 1]
    assert found.mean_count == 1.5


def test_what_no_object_explains_is_not(colored, recording):
    # Of two neighbours, one is the peak, and sprites show one pixel.
    found = measure_findings(colored, recording([[(9, 9, GREEN), (9, 10, GREEN)]] * 2), 2)
    assert found.explained == pytest.approx(0.5, abs=0.01)


def test_nothing_to_explain_is_not_a_number(colored, recording):
    found = measure_findings(colored, recording([[]] * 3), 3)
    assert math.isnan(found.explained)
    assert math.isnan(found.persistence)
    assert found.counts == [2]


@pytest.mark.parametrize(
    ("then", "persistence"),
    [
        ([(9, 9, GREEN), (30, 30, GREEN)], 1.0),
        ([(12, 9, GREEN), (30, 27, GREEN)], 1.0),
        ([(9, 9, GREEN)], 0.5),
        ([(9, 9, GREEN), (30, 36, GREEN)], 0.5),
        ([(9, 15, GREEN), (36, 30, GREEN)], 0.0),
        ([(9, 9, GREEN), (12, 12, GREEN)], 0.5),
        ([], 0.0),
    ],
    ids=["at rest", "moved", "one is gone", "one is too far", "both are", "one to one", "none is left"],
)
def test_persistence_is_the_share_of_objects_found_again_within_half_a_window(colored, recording, then, persistence):
    found = measure_findings(colored, recording([[(9, 9, GREEN), (30, 30, GREEN)], then]), 2)
    assert found.persistence == persistence


def test_no_partner_is_given_up_for_a_shorter_way(colored, recording):
    # The second object has not moved if the first may move beyond its window.
    found = measure_findings(
        colored, recording([[(9, 10, GREEN), (9, 13, GREEN)], [(9, 13, GREEN), (12, 16, GREEN)]]), 2
    )
    assert found.persistence == 1.0


def test_large_objects_may_move_as_far_as_their_windows_reach(colored, recording):
    found = measure_findings(colored, recording([[(9, 9, RED)], [(9, 17, RED)]]), 2)
    assert found.persistence == 1.0


def test_objects_are_not_looked_for_beyond_the_end_of_an_episode(colored, recording):
    here, there = [(9, 9, GREEN)], [(30, 30, GREEN)]
    found = measure_findings(colored, recording([here, here], [there, there, there]), 100)
    assert found.persistence == 1.0
    assert found.counts == [0, 6]


def test_a_source_without_time_has_no_persistence_and_each_frame_counts_once(colored, color_dots):
    frames = np.concatenate([color_dots((9, 9, GREEN)), color_dots(), color_dots()])
    found = measure_findings(colored, FewFrames(frames), 100)
    assert math.isnan(found.persistence)
    assert found.counts == [2, 1]


def test_summary_has_the_numbers_that_are_logged():
    assert Findings(0.9, [1, 0, 3], 0.8).summary() == {"explained": 0.9, "mean_count": 1.5, "persistence": 0.8}


class FewFrames:
    """Frames in memory."""

    def __init__(self, frames):
        self._frames = frames
        self.shape = frames.shape[1:]

    def __len__(self):
        return len(self._frames)

    def __getitem__(self, index):
        return self._frames[index]
