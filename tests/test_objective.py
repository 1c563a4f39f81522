"""The bounds against answers that are known exactly: a canvas small enough to enumerate, a decoder without noise."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.composition import add_sprites
from lavae_rl.model.image.likelihood import Bernoulli
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import (
    elbo_terms,
    importance_weighted_bound,
    log_prior_locations,
    score_function_loss,
)
from lavae_rl.model.objects import Detections
from lavae_rl.model.relaxed import relaxed_elbo_terms

HEIGHT, WIDTH, NUM_MAX = 4, 5, 2
SPRITE = torch.tensor([[0.1, 0.6, 0.1], [0.6, 0.9, 0.2], [0.1, 0.3, 0.1]]).view(1, 1, 3, 3)


class FixedSprite(nn.Module):
    """The appearance integral is exact when every appearance decodes to the same sprite."""

    def __init__(self, padding=0):
        super().__init__()
        self.sprite = F.pad(SPRITE, [padding] * 4)

    def forward(self, appearance):
        return self.sprite.expand(len(appearance), -1, -1, -1)


class FixedLogits(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits.expand(len(images), -1, -1)


class FixedAppearance(nn.Module):
    """Wider than the prior, so that importance weights stay bounded."""

    def forward(self, images, found):
        return self.of(len(found.location))

    def read(self, images, weights):
        return self.of(weights.shape[0] * weights.shape[1])

    @staticmethod
    def of(objects):
        return Gaussian(torch.full((objects, 2), 0.3), torch.full((objects, 2), 0.4))


@pytest.fixture
def enumerable():
    """A model on a 4 x 5 canvas with at most two objects, which finds one peak at (1, 1) and one at (3, 4)."""
    torch.manual_seed(0)
    model = LAVAE(LAVAEConfig(channels=1, latents=2, sprite_size=5, max_objects=NUM_MAX)).eval()
    logits = torch.full((1, HEIGHT, WIDTH), -1.0)
    logits[0, 1, 1], logits[0, 3, 4] = 1.5, 1.0
    model.location_network, model.sprite_decoder = FixedLogits(logits), FixedSprite()
    model.appearance_network = FixedAppearance()
    with torch.no_grad():
        model.count_logits.copy_(torch.tensor([0.2, 0.3, 0.5]).log())
    return model


@pytest.fixture
def image():
    return (torch.rand(1, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(5)) > 0.5).float()


def _theta(places):
    """Pixel means of one scene with the sprite at each of the places, which are numbered row by row."""
    location = torch.tensor([divmod(place, WIDTH) for place in places], dtype=torch.int64).reshape(-1, 2)
    found = Detections(torch.zeros(len(places), dtype=torch.int64), location, torch.tensor([len(places)]))
    return add_sprites(SPRITE.expand(len(places), -1, -1, -1), found, torch.zeros(1, 1, HEIGHT, WIDTH))


def _log_joint_given_two(image, places):
    return Bernoulli(1).log_prob(image, _theta(places)).sum().item()


def _log_evidence_of_two(image):
    """log p(x, n = 2) by brute force over all ordered pairs of locations."""
    pairs = itertools.permutations(range(HEIGHT * WIDTH), 2)
    terms = torch.tensor([_log_joint_given_two(image, pair) for pair in pairs])
    return math.log(0.5) + torch.logsumexp(terms, 0).item() - math.log(20 * 19)


@pytest.mark.slow
def test_the_bound_rises_from_the_elbo_to_the_exact_evidence(enumerable, image):
    # q(n | x) is a point mass on 2, so the bound rises to log p(x, n = 2).
    exact = _log_evidence_of_two(image)
    many = image.expand(40, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    means = [elbo_terms(enumerable, many, generator).elbo.mean().item()]
    means += [importance_weighted_bound(enumerable, many, samples, generator).mean().item() for samples in (5, 20_000)]
    assert means[0] < means[1] < means[2]
    assert means[2] == pytest.approx(exact, abs=0.05)


@pytest.mark.slow
def test_the_bound_at_one_sample_is_the_elbo_on_average(enumerable, image):
    many = image.expand(500, -1, -1, -1)
    elbo = elbo_terms(enumerable, many, torch.Generator().manual_seed(0)).elbo
    bound = importance_weighted_bound(enumerable, many, 1, torch.Generator().manual_seed(1))
    error = (elbo.std() + bound.std()).item() / math.sqrt(500)
    assert elbo.mean().item() == pytest.approx(bound.mean().item(), abs=4 * error)


def test_each_kl_term_has_its_enumerated_value(enumerable, image):
    terms = elbo_terms(enumerable, image.expand(4000, -1, -1, -1), torch.Generator().manual_seed(0))
    assert terms.kl_count[0].item() == pytest.approx(-math.log(0.5))
    assert terms.kl_appearance[0].item() == pytest.approx(2 * 2 * 0.5 * (0.3**2 + math.exp(0.4) - 1 - 0.4), rel=1e-5)
    q = torch.softmax(enumerable.location_network.logits.flatten() * math.log(20) / math.log(4096), 0)
    exact = 0.0
    for first, second in itertools.permutations(range(20), 2):
        probability = (q[first] * q[second] / (1 - q[first])).item()
        exact += probability * (math.log(probability) + math.log(20 * 19))
    error = terms.kl_location.std().item() / math.sqrt(4000)
    assert terms.kl_location.mean().item() == pytest.approx(exact, abs=4 * error)


def test_relaxed_terms_are_on_average_those_of_the_elbo_when_they_are_cold(enumerable, image):
    images = image.expand(4000, -1, -1, -1)
    enumerable.sprite_decoder = FixedSprite(padding=1)  # to the size that the configuration says
    two = torch.full((len(images),), 2)
    exact = elbo_terms(enumerable, images, torch.Generator().manual_seed(0))
    logits = enumerable.location_network(images)
    relaxed = relaxed_elbo_terms(enumerable, images, logits, two, two, 1e-3, torch.Generator().manual_seed(1))
    for name, values in vars(exact).items():
        error = math.hypot(values.std().item(), vars(relaxed)[name].std().item()) / math.sqrt(len(images))
        assert vars(relaxed)[name].mean().item() == pytest.approx(values.mean().item(), abs=4 * error + 1e-4), name


def test_ancestral_samples_have_the_enumerated_marginals(enumerable):
    places = range(HEIGHT * WIDTH)
    exact, dark = torch.zeros(HEIGHT, WIDTH), 0.0
    for count, share in enumerate([0.2, 0.3, 0.5]):
        scenes = list(itertools.permutations(places, count))
        for scene in scenes:
            mean = _theta(scene)
            exact += share / len(scenes) * mean[0, 0].clamp(max=1)
            dark += share / len(scenes) * (1 - mean.clamp(max=1)).prod().item()
    drawn = enumerable.sample(40_000, canvas_size=(HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    lit = (drawn[..., 0] > 0).float()
    error = (exact * (1 - exact) / len(lit)).sqrt()
    assert ((lit.mean(0) - exact).abs() < 5 * error).all()
    # Not the marginals alone: how many pixels are lit together depends on the counts.
    deviation = math.sqrt(dark * (1 - dark) / len(lit))
    assert (lit.sum((1, 2)) == 0).float().mean().item() == pytest.approx(dark, abs=5 * deviation)


def test_the_elbo_is_the_likelihood_less_the_three_kl_terms(enumerable, image):
    terms = elbo_terms(enumerable, image, torch.Generator().manual_seed(0))
    total = terms.log_likelihood - terms.kl_count - terms.kl_location - terms.kl_appearance
    torch.testing.assert_close(terms.elbo, total)


def test_locations_without_replacement_have_a_uniform_prior():
    log_prior = log_prior_locations(torch.tensor([0, 1, 3]), pixels=10)
    torch.testing.assert_close(log_prior, -torch.tensor([1.0, 10.0, 10 * 9 * 8]).log())


def test_a_frame_with_more_objects_than_the_prior_allows_is_bounded_by_its_most_confident(enumerable, image):
    enumerable.location_network.logits[0, 3, 0] = 0.5  # a third peak
    bound = importance_weighted_bound(enumerable, image, 500, torch.Generator().manual_seed(0))
    assert torch.isfinite(bound).all()
    assert bound.item() < _log_evidence_of_two(image) + 0.3


@pytest.mark.parametrize("num_samples", [0, -3])
def test_a_bound_of_no_samples_is_refused(enumerable, image, num_samples):
    with pytest.raises(ValueError, match="at least 1 importance sample"):
        importance_weighted_bound(enumerable, image, num_samples)


def test_no_images_have_no_bounds(enumerable, image):
    assert importance_weighted_bound(enumerable, image[:0], 3).shape == (0,)


@pytest.mark.slow
def test_the_score_function_gradient_is_that_of_the_enumerated_elbo(enumerable, image):
    logits = enumerable.location_network.logits.requires_grad_()
    q = torch.softmax(logits.flatten() * math.log(20) / math.log(4096), 0)
    exact = q.new_zeros(())
    for first, second in itertools.permutations(range(20), 2):
        probability = q[first] * q[second] / (1 - q[first])
        value = _log_joint_given_two(image, (first, second)) - math.log(20 * 19)
        exact = exact + probability * (value - probability.log())
    (wanted,) = torch.autograd.grad(exact, logits)
    generator, gradients, means = torch.Generator().manual_seed(0), [], []
    for _ in range(40):
        loss, mean = score_function_loss(enumerable, image.expand(500, -1, -1, -1), 2, generator)
        gradients.append(-torch.autograd.grad(loss.mean(), logits)[0])
        means.append(mean.mean())
    estimates = torch.stack(gradients)
    error = estimates.std(0) / math.sqrt(len(estimates))
    assert ((estimates.mean(0) - wanted).abs() < 5 * error + 1e-6).all()
    assert wanted.abs().max() > 20 * error.max()  # the comparison says something
    kl_appearance = 2 * 2 * 0.5 * (0.3**2 + math.exp(0.4) - 1 - 0.4)
    assert torch.stack(means).mean().item() == pytest.approx(exact.item() - kl_appearance, abs=0.2)


@pytest.mark.slow
def test_gradients_of_more_samples_of_fewer_images_spread_less(enumerable, image):
    logits = enumerable.location_network.logits.requires_grad_()
    spreads = []
    for samples in (2, 8):
        generator, gradients = torch.Generator().manual_seed(0), []
        for _ in range(50):
            loss, _ = score_function_loss(enumerable, image.expand(16 // samples, -1, -1, -1), samples, generator)
            gradients.append(torch.autograd.grad(loss.mean(), logits)[0])
        spreads.append(torch.stack(gradients).std(0).mean())
    assert spreads[1] < spreads[0]


def test_a_score_function_loss_of_one_sample_is_refused(enumerable, image):
    with pytest.raises(ValueError, match=r"at least 2 samples, .* got 1"):
        score_function_loss(enumerable, image, 1, None)
