import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.recipes import WORLD
from lavae_rl.pretraining.run import dream_sizes
from lavae_rl.pretraining.survey import BACKGROUNDS, survey

HEIGHT, WIDTH, FRAMES = 60, 80, 120
EPISODES = np.array([0, 60, 120])


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


def _frames(*sides, channels=3, width=WIDTH):
    """A textured background on which squares of some sides move, in lanes of their own."""
    picture = np.random.default_rng(0).integers(80, 120, (HEIGHT, width, channels)).astype(np.uint8)
    frames = np.repeat(picture[None], FRAMES, axis=0)
    for time, frame in enumerate(frames):
        row = 1
        for i, side in enumerate(sides):
            column = time * (3 + 2 * i) % (width - side)
            frame[row : row + side, column : column + side] = 250 - 20 * i
            row += side + 4
    return frames


def _survey(frames, **options):
    return survey(Recorded(frames), EPISODES, **options)


@pytest.fixture(scope="module")
def moving():
    """Frames in which squares of 6, 8 and 9 pixels move."""
    return _frames(6, 8, 9)


def test_sizes_and_numbers_are_those_of_what_moves(moving):
    found = _survey(moving)
    assert found.choices.count == 3
    assert found.choices.largest_count == 3
    assert found.choices.side == pytest.approx(9, abs=1)
    assert found.choices.max_objects == 6
    assert found.choices.sprite_size >= found.choices.side + 2
    assert found.choices.sprite_size % 2 == 1
    assert found.choices.scales == (1,)
    assert found.choices.background_states == 1
    assert len(found.frames) == len(found.nats) == len(found.components) == FRAMES


def test_a_model_of_the_survey_reads_the_frames_and_shows_their_background(moving):
    found = _survey(moving)
    config = found.model_config(latents=4)
    assert (config.channels, config.canvas_size, config.latents) == (3, (HEIGHT, WIDTH), 4)
    assert (config.max_objects, config.sprite_size) == (6, found.choices.sprite_size)
    model = LAVAE(config)
    found.install(model)
    background = model.scene(model.images(moving[:2])).background
    expected = np.random.default_rng(0).integers(80, 120, (HEIGHT, WIDTH, 3)) / 255
    np.testing.assert_allclose(background[1].permute(1, 2, 0), expected, atol=1e-6)


def test_a_few_large_objects_have_a_larger_scale():
    found = _survey(_frames(6, 6, 6, 24, width=160)).choices
    assert found.largest_side == 24
    assert found.sprite_size < 24
    assert found.scales[0] == 1
    assert found.sprite_size * found.scales[-1] >= 24 + 2


def test_windows_of_objects_that_are_all_large_are_shrunk_to_sprites():
    found = _survey(_frames(30, width=160)).choices
    assert found.largest_side == pytest.approx(30, abs=1)
    assert found.sprite_size <= 31
    assert found.sprite_size * max(found.scales) >= found.largest_side + 2


def test_windows_are_never_larger_than_the_frame():
    found = _survey(_frames(4, 4, 4, 4, 24, width=160), sprite_size=21).choices
    assert found.scales == (1, 2)
    found = _survey(_frames(4, 40, width=200), sprite_size=21).choices
    assert found.largest_side == 40
    assert found.scales == (1, 2)  # twice as large again would be 84 of 60 pixels


def test_given_sizes_and_numbers_are_kept(moving):
    found = _survey(moving, sprite_size=15, max_objects=2)
    assert (found.choices.sprite_size, found.choices.max_objects) == (15, 2)
    assert found.choices.count == 3


@pytest.mark.parametrize(("background", "states"), [("static", 1), ("states", 2)])
def test_a_background_has_states_if_it_may(moving, background, states):
    frames = moving.copy()
    frames[np.arange(FRAMES) % 40 < 16, 50:58, 60:76] = (255, 0, 0)
    found = _survey(frames, background=background)
    assert (found.choices.background, found.choices.background_states) == (background, states)
    assert found.choices.largest_count == (3 if states == 2 else 4)
    model: Any = LAVAE(found.model_config())
    found.install(model)
    if states == 2:
        drawn = model.background.sample(400, torch.Generator().manual_seed(0))[:, :, 54, 70]
        red = torch.tensor([1.0, 0.0, 0.0])
        assert (drawn == red).all(1).float().mean().item() == pytest.approx(0.4, abs=0.1)


def test_on_black_all_that_is_lit_is_an_object():
    frames = np.zeros((FRAMES, HEIGHT, WIDTH, 1), np.uint8)
    frames[:, 10:18, 20:28] = 255  # never moves
    found = _survey(frames, background="black")
    assert found.choices.count == 1
    assert not found.background.typical.any()
    with pytest.raises(ValueError, match="show their background alone"):
        _survey(frames)


def test_ignored_areas_have_no_components(moving):
    found = _survey(moving, ignore=((0, 0, 8, WIDTH),))
    assert found.choices.count == 2
    assert found.choices.ignore == ((0, 0, 8, WIDTH),)
    assert not found.nats[:, :8].any()
    assert found.background.ignored.sum() == 8 * WIDTH
    model = LAVAE(found.model_config())
    found.install(model)
    images = model.images(moving[:3])
    background = model.scene(images).background
    assert torch.equal(images[:, :, :8], background[:, :, :8])
    assert not torch.equal(images[:, :, 8:], background[:, :, 8:])


def test_grey_frames_are_surveyed_too():
    found = _survey(_frames(7, 7, channels=1))
    assert found.choices.count == 2
    assert found.model_config().channels == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "video"}, f"a background of {', '.join(BACKGROUNDS)}, got 'video'"),
        ({"ignore": ((0, 0, 61, 10),)}, "inside the frames of 60 x 80 pixels, got 0,0,61,10"),
        ({"ignore": ((-1, 0, 5, 10),)}, "got -1,0,5,10"),
        ({"ignore": ((0, 75, 5, 10),)}, "got 0,75,5,10"),
        ({"ignore": ((0, 0, 0, 10),)}, "got 0,0,0,10"),
        ({"ignore": ((0, 0, 30, 80), (30, 0, 30, 80))}, "leave a part of the frame"),
    ],
    ids=["background", "too high", "negative", "too far right", "empty", "all of it"],
)
def test_surveys_that_cannot_be_are_refused(moving, options, message):
    with pytest.raises(ValueError, match=message):
        _survey(moving, **options)


def test_frames_in_which_nothing_moves_are_refused_with_the_remedy(moving):
    with pytest.raises(ValueError, match=r"120 that show their background alone; record other frames"):
        _survey(np.repeat(moving[:1], FRAMES, axis=0))


@pytest.mark.parametrize(("size", "window"), [(9, 5), (15, 5), (21, 7), (29, 9), (31, 9)])
def test_the_window_of_a_peak_is_a_third_of_a_sprite(size, window, moving):
    assert _survey(moving, sprite_size=size).model_config().peak_window == window


@pytest.mark.parametrize(("noise", "expected"), [(0.0, 0.05), (0.015, 0.05), (0.035, 0.07), (0.03, 0.06)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_likelihood_is_twice_as_wide_as_the_noise_but_within_limits(moving, channels, noise, expected):
    frames = moving[..., :channels] * 0.5 + 60
    frames = frames + 255 * noise * np.random.default_rng(0).standard_normal(frames.shape)
    found = _survey(frames.clip(0, 255).astype(np.uint8), background="static", sprite_size=9)
    assert found.choices.pixel_scale == pytest.approx(expected, rel=0.15)
    assert found.choices.count == 3
    assert found.model_config().pixel_scale == found.choices.pixel_scale


@pytest.mark.parametrize(
    ("scales", "size", "dreams"),
    [((1,), 96, 24), ((1, 2), 96, 24), ((1, 2, 4), 108, 19), ((1, 2, 4, 8), 216, 6), ((1, 2, 4, 16), 432, 6)],
)
def test_dreams_have_room_for_three_windows_and_large_ones_are_fewer(moving, scales, size, dreams):
    found = _survey(moving, sprite_size=9)
    choices = dataclasses.replace(found.choices, scales=scales)
    frames, nats = np.zeros((1, 600, 800, 3), np.uint8), np.zeros((1, 600, 800), np.float32)
    found = dataclasses.replace(found, choices=choices, frames=frames, nats=nats)
    sizes = dream_sizes(found, WORLD)
    assert (sizes["dream_size"], sizes["dreams"]) == (size, dreams)
    assert 12 <= sizes["dream_objects"] <= 40
