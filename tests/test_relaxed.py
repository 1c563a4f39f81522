import itertools
import math

import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.image.composition import add_sprites
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objects import Detections
from lavae_rl.model.posterior import ordered_log_prob
from lavae_rl.model.relaxed import add_relaxed_sprites, relax_locations, relaxed_elbo_terms

PROBABILITIES = torch.tensor([0.5, 0.3, 0.15, 0.05])


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _one_hot(location, size):
    maps = torch.zeros(len(location), *size)
    maps[torch.arange(len(location)), location[:, 0], location[:, 1]] = 1
    return maps


@pytest.mark.parametrize("canvas_size", [(12, 12), (9, 14)])
def test_relaxed_composition_with_one_hot_maps_pastes_sprites(canvas_size):
    sprites = torch.rand(6, 3, 5, 5, generator=_generator())
    location = torch.tensor([[0, 0], [8, 8], [4, 5], [8, 0], [3, 8], [4, 4]])  # some are cropped at the border
    found = Detections(torch.tensor([0, 0, 1, 1, 2, 2]), location, torch.tensor([2, 2, 2]))
    background = torch.rand(3, 3, *canvas_size, generator=_generator(1))
    pasted = add_sprites(sprites, found, background)
    weights = _one_hot(location, canvas_size).view(3, 2, *canvas_size)
    relaxed = add_relaxed_sprites(sprites.view(3, 2, 3, 5, 5), weights, background)
    torch.testing.assert_close(relaxed, pasted, atol=1e-5, rtol=0)


def test_relaxed_composition_is_linear_in_the_map():
    sprite, size = torch.rand(1, 1, 1, 5, 5, generator=_generator()), (10, 10)
    here, there = (_one_hot(torch.tensor([place]), size)[:, None] for place in ([3, 3], [6, 5]))
    mixed, at_one, at_other = (
        add_relaxed_sprites(sprite, weights, torch.zeros(1, 1, *size))
        for weights in (0.25 * here + 0.75 * there, here, there)
    )
    torch.testing.assert_close(mixed, 0.25 * at_one + 0.75 * at_other)


def test_draws_without_replacement_have_the_enumerated_probabilities():
    draws = 20_000
    weights, _ = relax_locations(PROBABILITIES.log().expand(draws, -1), 2, 0.01, _generator())
    first, second = weights.argmax(2).T
    for i, j in itertools.permutations(range(4), 2):
        expected = PROBABILITIES[i] * PROBABILITIES[j] / (1 - PROBABILITIES[i])
        measured = ((first == i) & (second == j)).float().mean()
        assert measured == pytest.approx(expected.item(), abs=4 * math.sqrt(expected * (1 - expected) / draws))
    assert (first != second).all()


@pytest.mark.parametrize("temperature", [0.5, 0.02])
def test_relaxed_locations_are_weights_that_sum_to_one(temperature):
    weights, _ = relax_locations(PROBABILITIES.log().expand(50, -1), 3, temperature, _generator())
    torch.testing.assert_close(weights.sum(2), torch.ones(50, 3))
    assert (weights >= 0).all()


def test_samples_at_low_temperature_are_nearly_one_hot():
    cold, warm = (relax_locations(PROBABILITIES.log().expand(500, -1), 1, t, _generator())[0] for t in (0.02, 0.5))
    assert cold.amax(2).mean() > 0.97 > warm.amax(2).mean()


def test_the_kl_of_each_draw_has_its_enumerated_value():
    draws = 20_000
    _, kl = relax_locations(PROBABILITIES.log().expand(draws, -1), 2, 0.5, _generator())
    entropy = -(PROBABILITIES * PROBABILITIES.log()).sum()
    torch.testing.assert_close(kl[:, 0], (math.log(4) - entropy).expand(draws))
    # The whole KL, enumerated over ordered pairs.
    pairs = torch.tensor(list(itertools.permutations(range(4), 2)))
    log_q = ordered_log_prob(PROBABILITIES.log().expand(len(pairs), -1), pairs, torch.full((len(pairs),), 2))
    exact = (log_q.exp() * (log_q + math.log(4 * 3))).sum()
    assert kl.sum(1).mean() == pytest.approx(exact.item(), abs=4 * kl.sum(1).std().item() / math.sqrt(draws))


def test_the_kl_is_finite_where_the_posterior_is_a_point():
    log_probs = torch.tensor([[0.0, -math.inf, -math.inf]])
    _, kl = relax_locations(log_probs, 1, 0.5, _generator())
    assert kl[0, 0] == pytest.approx(math.log(3))


@pytest.fixture
def model():
    generator = _generator(1)
    model = LAVAE(LAVAEConfig(1, 5, 4, 2, "paper-small"))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def test_appearances_are_read_where_the_weights_are(model):
    images = (torch.rand(2, 1, 12, 12, generator=_generator()) < 0.3).float()
    location = torch.tensor([[0, 0], [3, 7], [11, 11], [5, 2]])
    network = model.appearance_network.eval()
    read = network.read(images, _one_hot(location, (12, 12)).view(2, 2, -1))
    found = Detections(torch.tensor([0, 0, 1, 1]), location, torch.tensor([2, 2]))
    for values, expected in zip(read, network(images, found), strict=True):
        torch.testing.assert_close(values, expected)
        assert values.std() > 0


def test_the_relaxed_elbo_has_a_gradient_in_every_network(model):
    images = (torch.rand(4, 1, 12, 12, generator=_generator()) < 0.3).float()
    counts = torch.tensor([2, 1, 0, 2])
    logits = model.location_network(images)
    terms = relaxed_elbo_terms(model, images, logits, counts, counts, 0.5, _generator())
    torch.autograd.backward(terms.elbo.sum())
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {"log_sharpness"}
    for network in (model.location_network, model.appearance_network, model.sprite_decoder):
        assert any(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_objects_that_are_not_drawn_add_to_no_term(model):
    images, none = torch.zeros(3, 1, 12, 12), torch.zeros(3, dtype=torch.int64)
    logits = model.location_network(images)
    terms = relaxed_elbo_terms(model, images, logits, none, none, 0.5, _generator())
    assert terms.kl_location.tolist() == terms.kl_appearance.tolist() == [0, 0, 0]
    torch.testing.assert_close(terms.log_likelihood, torch.zeros(3), atol=1e-3, rtol=0)


def test_forced_objects_are_drawn_and_the_count_prior_is_taken_at_the_counted(model):
    images, counted = torch.zeros(3, 1, 12, 12), torch.zeros(3, dtype=torch.int64)
    logits = model.location_network(images)
    terms = relaxed_elbo_terms(model, images, logits, counted, counted + 2, 0.5, _generator())
    assert (terms.kl_appearance > 0).all()
    torch.testing.assert_close(terms.kl_count, -model.count_log_probs[counted])
