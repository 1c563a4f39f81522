import math

import pytest
import torch

from lavae_rl.data.sources import load_dataset
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import elbo_terms
from lavae_rl.pretraining.sharpness import TEMPERATURES, fit_sharpness


@pytest.fixture
def model():
    return LAVAE.from_pretrained("multi-dsprites")


@pytest.fixture
def images(model):
    return model.images(load_dataset("multi-dsprites", "train")[:60])


def _elbo(model, images):
    return elbo_terms(model, images, torch.Generator().manual_seed(0)).elbo.mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [2.0, 1.0, 1e-3])
def test_fitting_never_lowers_the_elbo_and_moves_no_location(model, images, temperature):
    with torch.no_grad():
        model.log_sharpness.fill_(-math.log(temperature * math.log(64 * 64)))
    before, found = _elbo(model, images), model.detect(images)
    fit_sharpness(model, images, seed=0)
    assert _elbo(model, images) >= before
    scale = model.sharpness.item() * math.log(64 * 64)
    assert any(scale == pytest.approx(1 / t, rel=1e-4) for t in (temperature, *TEMPERATURES))
    assert scale > 1.9
    assert model.detect(images).location.equal(found.location)


@pytest.mark.slow
def test_the_fitted_sharpness_has_the_best_mean_elbo_of_all_samples(model, images):
    model.log_sharpness.detach().fill_(-math.log(0.5 * math.log(64 * 64)))
    elbos = {}
    for temperature in TEMPERATURES:
        log_sharpness = -math.log(temperature * math.log(64 * 64))
        model.log_sharpness.detach().fill_(log_sharpness)
        generator = torch.Generator().manual_seed(3)
        elbos[log_sharpness] = sum(elbo_terms(model, images[:20], generator).elbo.mean().item() for _ in range(5))
    fit_sharpness(model, images[:20], seed=3, num_samples=5)
    best = max(elbos, key=lambda log_sharpness: elbos[log_sharpness])
    assert model.log_sharpness.item() == pytest.approx(best)


def test_the_elbo_is_as_high_on_a_canvas_of_another_size(model):
    frames = load_dataset("multi-dsprites", "train")[:40]
    wide = torch.nn.functional.pad(model.images(frames), (0, 32, 0, 32))
    fit_sharpness(model, wide, seed=0)
    terms = elbo_terms(model, wide, torch.Generator().manual_seed(1))
    assert terms.elbo.mean() > -60
