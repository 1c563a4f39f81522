import math

import pytest
import torch

from lavae_rl.model.gaussian import LOG_VARIANCE_RANGE, Gaussian


def test_the_kl_vanishes_at_the_prior():
    assert Gaussian(torch.zeros(1, 3), torch.zeros(1, 3)).kl().item() == 0
    assert Gaussian(torch.ones(1, 3), torch.zeros(1, 3)).kl().item() == pytest.approx(1.5)


def test_the_kl_is_the_integral():
    mean, log_variance = torch.tensor([[0.3, -1.2]]), torch.tensor([[0.4, -2.0]])
    x, step = torch.linspace(-12, 12, 100_001, dtype=torch.float64), 24 / 100_000
    exact = 0.0
    for m, v in zip(mean[0], log_variance[0].exp(), strict=True):
        log_q = -0.5 * ((x - m) ** 2 / v + v.log() + math.log(2 * math.pi))
        log_p = -0.5 * (x**2 + math.log(2 * math.pi))
        exact += (log_q.exp() * (log_q - log_p)).sum().item() * step
    assert Gaussian(mean, log_variance).kl().item() == pytest.approx(exact, rel=1e-5)


def test_a_map_has_a_kl_for_each_cell():
    posterior = Gaussian(torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5))
    posterior.mean[1, :, 2, 3] = 2
    kl = posterior.kl()
    assert kl.shape == (2, 4, 5)
    assert kl.nonzero().tolist() == [[1, 2, 3]]
    assert kl[1, 2, 3] == pytest.approx(6)


def test_the_log_variance_of_a_network_is_kept_in_range_and_in_float32():
    posterior = Gaussian.of(torch.tensor([[1.0, 2.0, -100.0, 100.0]], dtype=torch.bfloat16))
    assert posterior.mean.tolist() == [[1, 2]]
    assert tuple(posterior.log_variance[0].tolist()) == LOG_VARIANCE_RANGE
    assert posterior.mean.dtype == posterior.log_variance.dtype == torch.float32


def test_samples_have_the_mean_and_the_variance_of_the_posterior():
    posterior = Gaussian(torch.full((40_000, 1), -1.5), torch.full((40_000, 1), math.log(4.0)))
    sample, noise = posterior.draw(torch.Generator().manual_seed(0))
    assert sample.mean().item() == pytest.approx(-1.5, abs=4 * 2 / math.sqrt(40_000))
    assert sample.var().item() == pytest.approx(4, rel=4 * math.sqrt(2 / 40_000))
    torch.testing.assert_close(sample, -1.5 + 2 * noise)


def test_the_ratio_of_prior_and_posterior_is_that_of_their_densities():
    posterior = Gaussian(torch.tensor([[0.3, -1.2], [2.0, 0.0]]), torch.tensor([[0.4, -2.0], [0.0, 1.0]]))
    sample, noise = posterior.draw(torch.Generator().manual_seed(0))
    q = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    expected = (torch.distributions.Normal(0.0, 1.0).log_prob(sample) - q.log_prob(sample)).sum(1)
    torch.testing.assert_close(posterior.log_ratio(sample, noise), expected)
