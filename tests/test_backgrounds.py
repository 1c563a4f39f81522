import numpy as np
import pytest

from lavae_rl.pretraining.backgrounds import TOLERANCE, estimate_background

HEIGHT, WIDTH, FRAMES = 12, 16, 200
ONE_EPISODE = np.array([0, FRAMES])
FOUR_EPISODES = np.array([0, 50, 100, 150, 200])


class Recorded:
    """Frames in memory."""

    def __init__(self, frames):
        self.frames = frames

    @property
    def shape(self):
        return self.frames.shape[1:]

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        return self.frames[index]


@pytest.fixture
def picture():
    """A textured background, far from black and white."""
    return np.random.default_rng(0).integers(60, 180, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def _repeated(picture, number=FRAMES):
    return np.repeat(picture[None], number, axis=0)


def _estimate(frames, max_states=4, episodes=ONE_EPISODE):
    return estimate_background(Recorded(frames), episodes, max_states)


def test_what_never_moves_is_background(picture):
    found = _estimate(_repeated(picture))
    np.testing.assert_array_equal(found.colors, picture[None])
    assert (found.frequency == 1).all()


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "RGB"])
def test_a_moving_object_leaves_no_trace(picture, channels):
    picture = picture[..., :channels]
    frames = _repeated(picture)
    for time, frame in enumerate(frames):
        row, column = time * 3 % (HEIGHT - 3), time * 5 % (WIDTH - 3)
        frame[row : row + 4, column : column + 4] = 255
    found = _estimate(frames)
    np.testing.assert_array_equal(found.colors, picture[None])
    assert found.frequency.min() > 0.6
    assert found.frequency.max() <= 1


def test_an_object_that_rests_for_a_while_leaves_no_trace(picture):
    frames = _repeated(picture)
    for start in (20, 120):
        frames[start : start + 12, 4:8, 4:8] = 255
    np.testing.assert_array_equal(_estimate(frames, episodes=FOUR_EPISODES).colors, picture[None])


def test_noise_of_codecs_is_averaged(picture):
    noise = np.random.default_rng(1).integers(-4, 5, (FRAMES, *picture.shape))
    found = _estimate((picture + noise).astype(np.uint8))
    assert len(found.colors) == 1
    assert np.abs(found.colors[0].astype(int) - picture).max() <= 4
    assert np.abs(found.colors[0].astype(int) - picture).mean() < 0.7  # of one frame: 2.2
    assert found.frequency.min() > 0.95


@pytest.mark.parametrize("difference", [TOLERANCE, TOLERANCE + 1])
def test_colours_within_the_tolerance_are_one_state(picture, difference):
    frames = _repeated(picture)
    frames[::2, 3, 4, 1] += difference
    found = _estimate(frames)
    assert len(found.colors) == (1 if difference == TOLERANCE else 2)


def test_a_pixel_that_alternates_has_two_states_and_their_frequencies(picture):
    frames = _repeated(picture)
    frames[np.arange(FRAMES) % 5 < 2, 3, 4] = (255, 0, 0)
    found = _estimate(frames)
    assert len(found.colors) == 2
    assert found.colors[:, 3, 4].tolist() == [picture[3, 4].tolist(), [255, 0, 0]]
    assert found.frequency[:, 3, 4] == pytest.approx([0.6, 0.4], abs=0.03)
    # Pixels with one state repeat it, with frequency 0.
    others = np.ones((HEIGHT, WIDTH), bool)
    others[3, 4] = False
    np.testing.assert_array_equal(found.colors[1][others], picture[others])
    assert (found.frequency[:, others] == np.array([[1], [0]])).all()


def test_a_static_background_has_the_most_frequent_colours_alone(picture):
    frames = _repeated(picture)
    frames[np.arange(FRAMES) % 5 < 2, 3, 4] = (255, 0, 0)
    found = _estimate(frames, max_states=1)
    np.testing.assert_array_equal(found.colors, picture[None])
    assert found.frequency[0, 3, 4] == pytest.approx(0.6, abs=0.03)


def test_a_rare_colour_that_lasts_is_a_state_if_two_episodes_have_it(picture):
    frames = _repeated(picture)
    frames[5:48, 3, 4] = (255, 0, 0)
    frames[5:48, 7, 8] = frames[105:148, 7, 8] = (0, 0, 255)  # in two episodes of four
    found = _estimate(frames, episodes=FOUR_EPISODES)
    assert found.colors[1, 7, 8].tolist() == [0, 0, 255]
    assert found.frequency[1, 7, 8] > 0.2
    np.testing.assert_array_equal(found.colors[:, 3, 4], [picture[3, 4]] * 2)


def test_a_recording_of_one_episode_asks_for_no_second(picture):
    frames = _repeated(picture, 400)
    frames[100:200, 3, 4] = (255, 0, 0)
    assert _estimate(frames, episodes=np.array([0, 400])).colors[1, 3, 4].tolist() == [255, 0, 0]
    assert len(_estimate(frames, episodes=np.array([0, 250, 400])).colors) == 1


def test_a_state_behind_a_colour_that_is_refused_comes_first(picture):
    frames = _repeated(picture)
    flickering = np.random.default_rng(0).permutation(FRAMES)[:56]  # never stays, and too rare to be a state by that
    frames[flickering, 3, 4] = 255
    frames[10:30, 3, 4] = frames[110:149, 3, 4] = (255, 0, 0)
    found = _estimate(frames, episodes=FOUR_EPISODES)
    assert len(found.colors) == 2
    assert found.colors[:, 3, 4].tolist() == [picture[3, 4].tolist(), [255, 0, 0]]


def test_no_more_states_than_asked_for_are_found(picture):
    frames = _repeated(picture)
    for state in range(3):
        frames[state::3, 3, 4] = 80 * state
    assert len(_estimate(frames, max_states=2).colors) == 2
    found = _estimate(frames, max_states=4)
    assert len(found.colors) == 3
    assert sorted(found.colors[:, 3, 4, 0].tolist()) == [0, 80, 160]
    assert (np.diff(found.frequency[:, 3, 4]) <= 0).all()


@pytest.mark.parametrize("number", [1, 2, 30])
def test_short_recordings_have_a_background(picture, number):
    found = _estimate(_repeated(picture, number), episodes=np.array([0, number]))
    np.testing.assert_array_equal(found.colors, picture[None])


def test_episodes_shorter_than_the_lags_have_a_background(picture):
    frames = _repeated(picture)
    frames[::4, 2:5, 2:5] = 255
    found = _estimate(frames, episodes=np.arange(0, FRAMES + 1, 10))
    np.testing.assert_array_equal(found.colors[0], picture)


def test_pixels_beyond_the_first_few_thousand_are_estimated_too():
    picture = np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8)
    frames = _repeated(picture, 60)
    frames[::2, 79, 89] = picture[79, 89] ^ 128
    found = _estimate(frames, episodes=np.array([0, 60]))
    assert sorted(found.colors[:, 79, 89].tolist()) == sorted(
        [picture[79, 89].tolist(), (picture[79, 89] ^ 128).tolist()]
    )
    found.colors[:, 79, 89] = picture[79, 89]
    np.testing.assert_array_equal(found.colors, [picture] * 2)


WALL, SKY, CAR = (200, 120, 40), (20, 30, 90), (240, 240, 60)


def _plain():
    return np.full((FRAMES, HEIGHT, WIDTH, 3), SKY, np.uint8)


def test_an_object_that_likes_a_place_is_no_background_there():
    """It rests at one place for four of ten frames, in all episodes, and drives about in the others."""
    frames = _plain()
    for time, frame in enumerate(frames):
        row, column = (4, 4) if time // 6 % 5 < 2 else (time * 3 % (HEIGHT - 3), time * 5 % (WIDTH - 3))
        frame[row : row + 3, column : column + 3] = CAR
    found = _estimate(frames, episodes=FOUR_EPISODES)
    assert len(found.colors) == 1
    assert (found.colors[0] == SKY).all()


def test_what_glitters_at_its_place_is_background_though_nothing_of_it_lasts():
    frames = _plain()
    rng = np.random.default_rng(0)
    frames[:, 6:9, 2:14] = np.where(rng.random((FRAMES, 3, 12, 1)) < 0.45, WALL, SKY)
    found = _estimate(frames, episodes=FOUR_EPISODES)
    assert len(found.colors) == 2
    assert (found.frequency[1, 6:9, 2:14] > 0.3).all()
    assert not found.frequency[1, :6].any()


@pytest.fixture
def crumbling():
    """A wall of 4 x 8 pixels: in each episode another pixel of its left half vanishes after a while."""
    frames = _plain()
    frames[:, 4:8, 4:12] = WALL
    for episode in range(4):
        for pixel in range(4):
            frames[50 * episode + 10 + 2 * pixel : 50 * (episode + 1), 4 + pixel, 4 + (episode + pixel) % 3] = SKY
    return _estimate(frames, episodes=FOUR_EPISODES)


def test_a_wall_may_crumble_where_no_frame_has_it_damaged(crumbling):
    assert len(crumbling.colors) == 2
    assert (crumbling.colors[1, 4:8, 4:12] == SKY).all()
    untouched = crumbling.frequency[1, 4:8, 7:12]
    assert (untouched > 0).all()
    assert untouched.max() < 1 / FRAMES < crumbling.frequency[1, 5, 5]


def test_what_is_around_a_wall_does_not_turn_into_a_wall(crumbling):
    assert not crumbling.frequency[1, :4].any()
    assert not crumbling.frequency[1, :, 12:].any()
