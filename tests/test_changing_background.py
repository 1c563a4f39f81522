import math
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.image.changing import ChangingPicture
from lavae_rl.model.lavae import LAVAE
from lavae_rl.pretraining.changing import estimate_changing
from lavae_rl.pretraining.report import describe_survey
from lavae_rl.pretraining.survey import survey

HEIGHT, WIDTH, SCALE = 12, 16, 0.1


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def background():
    """Two directions around grey: brightness, and red on the left side."""
    made = ChangingPicture(2, 3, (HEIGHT, WIDTH), SCALE)
    made.mean.fill_(0.5)
    made.directions[0] = 0.1
    made.directions[1, 0, :, : WIDTH // 2] = 0.15
    return made


def test_coordinates_of_pictures_are_found(background):
    coordinates = torch.tensor([[1.0, -1.0], [0.0, 0.0], [-2.0, 1.5]])
    pictures = background.at(coordinates)
    torch.testing.assert_close(background.fit(pictures), coordinates, atol=0.01, rtol=0.01)
    torch.testing.assert_close(background(pictures), pictures, atol=0.002, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_objects_do_not_pull_the_background_away(background, value):
    """A quarter of the frame is covered."""
    pictures = background.at(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    covered = pictures.clone()
    covered[:, :, 2:10, 3:9] = value
    torch.testing.assert_close(background(covered), pictures, atol=0.01, rtol=0)


def test_ignored_pixels_show_the_mean_and_are_not_looked_at(background):
    pictures = background.at(torch.tensor([[1.0, 1.0]]))
    background.ignored[:, 10:] = True
    disturbed = pictures.clone()
    disturbed[..., 10:] = 0
    assert torch.equal(background(disturbed), background(pictures))
    assert (background(disturbed)[..., 10:] == 0.5).all()
    assert (background.cover(disturbed)[..., 10:] == 0.5).all()


def test_frames_of_another_size_are_refused(background):
    with pytest.raises(ValueError, match="a picture of 12 x 16 pixels, got frames of 16 x 12"):
        background(torch.zeros(1, 3, WIDTH, HEIGHT))


def test_samples_move_as_far_as_the_directions_are_long(background):
    background.directions *= 0.5
    drawn = background.sample(4_000, _generator())
    assert drawn[:, 1].std().item() == pytest.approx(0.05, rel=0.05)
    assert drawn[:, 0, :, 0].std().item() == pytest.approx(math.hypot(0.05, 0.075), rel=0.05)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.01)


class NothingThere(torch.nn.Module):
    """A location network that sees no object."""

    def forward(self, inputs):
        return inputs.new_full((len(inputs), 1, *inputs.shape[2:]), -20.0)


@pytest.fixture
def empty(background):
    """A model on that background which finds nothing and always expects nothing."""
    config = LAVAEConfig(
        3,
        5,
        2,
        max_objects=1,
        networks="world",
        composition="over",
        likelihood="normal",
        pixel_scale=SCALE,
        background_directions=2,
        canvas_size=(HEIGHT, WIDTH),
    )
    model: Any = LAVAE(config)
    model.background.load_state_dict(background.state_dict())
    model.location_network = NothingThere()
    with torch.no_grad():
        model.count_logits.copy_(torch.tensor([0.0, -1e9]))
    return model


def _log_evidence(background, frames):
    """Log p(x) of a normal variable of mean, directions and noise, by its covariance."""
    values = torch.from_numpy(frames).permute(0, 3, 1, 2).flatten(1).double() / 255
    basis = background.directions.flatten(1).double()
    covariance = basis.T @ basis + SCALE**2 * torch.eye(basis.shape[1], dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(background.mean.flatten().double(), covariance)
    return normal.log_prob(values)


def test_the_elbo_of_empty_scenes_is_their_log_probability(background, empty):
    frames = (background.at(torch.tensor([[0.5, -1.0], [-0.3, 0.8]])) * 255).round().to(torch.uint8)
    frames = frames.permute(0, 2, 3, 1).numpy()
    exact = _log_evidence(background, frames)
    torch.testing.assert_close(empty.elbo(frames).double(), exact, atol=0.05, rtol=0)
    torch.testing.assert_close(empty.log_likelihood(frames, 3).double(), exact, atol=0.05, rtol=0)


def test_the_elbo_is_a_lower_bound_where_pixels_do_not_fit(background, empty):
    frames = (background.at(torch.tensor([[0.5, -1.0]])) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    frames[0, 3:6, 3:6] = 255
    assert empty.elbo(frames).item() < _log_evidence(background, frames).item()


def test_a_changing_background_is_stored_with_its_model(tmp_path, empty):
    model: Any = LAVAE(empty.config)
    model.background.load_state_dict(empty.background.state_dict())
    model.save_pretrained(tmp_path)
    loaded: Any = LAVAE.from_pretrained(tmp_path)
    assert loaded.config == model.config
    for name, values in model.background.state_dict().items():
        assert torch.equal(loaded.background.state_dict()[name], values), name


class Recorded:
    """Frames in memory."""

    def __init__(self, frames):
        self.frames, self.shape = frames, frames.shape[1:]

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        return self.frames[index]


def _coloured(number, seed, same=False):
    """Frames of 40 x 52 pixels, each of another colour or all alike, with a white and a black square that move."""
    rng = np.random.default_rng(seed)
    frames = np.empty((number, 40, 52, 3), np.uint8)
    for frame in frames:
        frame[:] = (90, 120, 150) if same else rng.integers(60, 200, 3)
        for value in (0, 255):
            row, column = rng.integers((32, 44)).tolist()
            frame[row : row + 7, column : column + 7] = value
    return frames


def test_the_colour_of_a_frame_is_three_directions_and_objects_are_none():
    frames = _coloured(200, 0)
    found, different = estimate_changing(frames, np.zeros((40, 52), bool), 0.05)
    assert len(found.directions) == 3
    assert different == pytest.approx(2 * 49 / (40 * 52), rel=0.15)
    # Other frames, whose colours were never seen.
    other = _coloured(50, 1)
    images = torch.from_numpy(other).permute(0, 3, 1, 2) / 255
    behind = found(images).permute(0, 2, 3, 1).numpy() * 255
    colour = np.median(other, axis=(1, 2))
    assert np.abs(behind - colour[:, None, None]).max() < 4


def test_a_survey_takes_a_changing_background_where_states_explain_little():
    found = survey(Recorded(_coloured(300, 0)), np.arange(0, 301, 30))
    assert (found.choices.background, found.choices.background_directions) == ("changing", 3)
    assert found.choices.background_states == 0
    assert found.choices.count == 2
    model: Any = LAVAE(found.model_config())
    found.install(model)
    assert torch.equal(model.background.mean, found.background.typical)
    assert model.background.pixel_scale == found.choices.pixel_scale


def test_a_survey_takes_states_where_they_explain_as_much():
    found = survey(Recorded(_coloured(300, 0, same=True)), np.arange(0, 301, 30))
    assert (found.choices.background, found.choices.background_states) == ("states", 1)
    assert found.choices.background_directions == 0


def test_a_background_that_was_asked_for_is_kept_and_its_misfit_is_said():
    found = survey(Recorded(_coloured(300, 0, same=True)), np.arange(0, 301, 30), background="changing")
    assert found.choices.background == "changing"
    assert len(describe_survey(found)) == 3
    misfit = survey(Recorded(_coloured(300, 0)), np.arange(0, 301, 30), background="static")
    assert misfit.choices.background == "static"
    assert misfit.choices.different > 0.5
    assert "Try another --background" in describe_survey(misfit)[-1]
