import math

import numpy as np
import pytest
import torch

from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.pretraining.recipes import BASELINE_SMOKE
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.pretraining.vae import PlainVAE


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvVAE(BaselineConfig(latents=3))


def _numel(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_it_has_about_a_million_parameters_as_the_paper_says():
    model = ConvVAE(BaselineConfig())
    assert 0.8e6 < _numel(model) < 1.2e6
    assert 0.4 < _numel(model.encoder) / _numel(model) < 0.6


@pytest.mark.parametrize("canvas", [(64, 64), (48, 96)])
def test_latents_are_a_map_and_come_back_as_frames(model, canvas):
    frames = np.zeros((2, *canvas, 3), np.uint8)
    latents = model.encode(frames)
    assert latents.shape == (2, 3, canvas[0] // 8, canvas[1] // 8)
    mean = model.decode(latents)
    assert mean.shape == frames.shape
    assert mean.min() >= 0
    assert mean.max() <= 1


def test_samples_are_frames(model):
    samples = model.sample(3, (32, 64), torch.Generator().manual_seed(0))
    assert samples.shape == (3, 32, 64, 3)
    assert set(samples.unique().tolist()) <= {0, 255}
    for size in ((60, 64), (4, 4)):
        with pytest.raises(ValueError, match="multiples of 8, got"):
            model.sample(2, size)


def test_the_bound_is_exact_where_the_decoder_ignores_the_latents(model, scenes):
    torch.nn.init.zeros_(model.decoder[-1].weight)
    torch.nn.init.constant_(model.decoder[-1].bias, -2.0)
    torch.nn.init.zeros_(model.encoder[-1].weight)
    with torch.no_grad():
        # Away from the prior, so that the bound is what importance weights make of it; wider, so that they are bounded.
        model.encoder[-1].bias.copy_(torch.tensor([0.5] * 3 + [0.6] * 3))
    frames = scenes[:2][:, 24:40, 24:40]
    lit = (frames > 0).sum(axis=(1, 2, 3))
    p = 1 / (1 + math.exp(2))
    exact = lit * math.log(p) + (frames[0].size - lit) * math.log(1 - p)
    bound = model.log_likelihood(frames, 3_000, torch.Generator().manual_seed(0))
    log_likelihood, kl = model.elbo_terms(model.images(frames), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(log_likelihood.detach(), exact, rtol=1e-3)
    assert (kl > 1).all()
    np.testing.assert_allclose(bound, log_likelihood.detach(), atol=0.2)


def test_the_bound_rises_with_the_samples(model, scenes):
    few, many = (model.log_likelihood(scenes[:8], n, torch.Generator().manual_seed(0)).mean() for n in (1, 50))
    assert few < many
    with pytest.raises(ValueError, match="at least 1 importance sample"):
        model.log_likelihood(scenes[:1], 0)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (np.zeros((1, 60, 64, 3), np.uint8), ValueError, "multiples of 8"),
        (np.zeros((1, 64, 64, 1), np.uint8), ValueError, "height, width, 3"),
        (np.zeros((1, 64, 64, 3), np.float32), TypeError, "uint8"),
        (np.full((1, 64, 64, 3), 7, np.uint8), ValueError, "0 and 255 only"),
    ],
    ids=["size", "channels", "type", "values"],
)
def test_frames_that_cannot_be_read_are_refused(model, frames, error, message):
    with pytest.raises(error, match=message):
        model.encode(frames)


@pytest.mark.parametrize("values", [{"channels": 2}, {"latents": 0}], ids=str)
def test_configurations_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        BaselineConfig(**values)


def test_it_learns_in_a_few_steps(scenes):
    accelerator = make_accelerator(cpu=True)
    method = PlainVAE(BaselineConfig(), BASELINE_SMOKE, 0, accelerator)
    training = Training(method, BASELINE_SMOKE, 0, accelerator)
    before = method.validate(training.average, scenes, BASELINE_SMOKE, 0)
    for _ in range(BASELINE_SMOKE.steps):
        terms = training.step(scenes)
    after = method.validate(training.average, scenes, BASELINE_SMOKE, 0)
    assert set(terms) == set(method.terms)
    assert set(after) == set(method.validation)
    assert after["elbo"] > before["elbo"] + 100
    assert training.progress.skipped == 0
