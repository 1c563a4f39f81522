"""The bounds on frames with a background against answers that are enumerated: sites of two scales, states, counts."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.image.composition import over
from lavae_rl.model.image.likelihood import Normal
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.objective import elbo_terms, importance_weighted_bound, score_function_loss
from lavae_rl.model.objects import Detections
from lavae_rl.pretraining.sharpness import TEMPERATURES, fit_sharpness

HEIGHT, WIDTH, SCALES, NOISE = 3, 4, (1, 2), 0.07
SITES = 2 * HEIGHT * WIDTH
COUNT = (0.2, 0.3, 0.5)
_COLOUR = torch.tensor([[0.8, 0.7, 0.7], [0.6, 0.7, 0.8], [0.5, 0.6, 0.7]])
_ALPHA = torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.9, 0.8], [0.2, 0.5, 0.0]])
SPRITE = F.pad(torch.stack([_COLOUR, _ALPHA]), (1, 1, 1, 1))[None]
# The value and the probability of both states of two pixels; all others are 0.4.
STATES = {(0, 1): ((0.2, 0.7), (0.6, 0.3)), (2, 2): ((0.6, 0.6), (0.2, 0.4))}


class FixedSprite(nn.Module):
    """The appearance integral is exact when every appearance decodes to the same sprite."""

    def forward(self, appearance):
        return SPRITE.expand(len(appearance), -1, -1, -1)


class FixedLogits(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, inputs):
        return self.logits.expand(len(inputs), -1, -1, -1)


class FixedAppearance(nn.Module):
    """Wider than the prior, so that importance weights stay bounded."""

    def forward(self, inputs, found):
        return Gaussian(torch.full((len(found.location), 2), 0.3), torch.full((len(found.location), 2), 0.4))


KL_APPEARANCE = 0.5 * (0.3**2 + math.exp(0.4) - 1 - 0.4)  # of one latent


def _logits(height, width):
    """A peak at the first pixel of the small scale and one at the last of the large."""
    logits = torch.full((1, 2, height, width), -1.0)
    logits[0, 0, 0, 0], logits[0, 1, -1, -1] = 1.5, 1.0
    return logits


def _model(height, width):
    torch.manual_seed(0)
    image_model: dict[str, Any] = {"composition": "over", "likelihood": "normal", "pixel_scale": NOISE}
    image_model |= {"scales": SCALES, "background_states": 2, "canvas_size": (height, width)}
    model: Any = LAVAE(LAVAEConfig(1, 5, 2, max_objects=2, networks="world", peak_window=3, **image_model)).eval()
    model.location_network, model.sprite_decoder = FixedLogits(_logits(height, width)), FixedSprite()
    model.appearance_network = FixedAppearance()
    pictures = model.background
    pictures.states.fill_(102)
    for (row, column), states in STATES.items():
        for i, (value, probability) in enumerate(states):
            pictures.states[i, 0, row, column] = round(value * 255)
            pictures.frequency[i, row, column] = probability
    with torch.no_grad():
        model.count_logits.copy_(torch.tensor(COUNT).log())
    return model


@pytest.fixture
def enumerable():
    """A model on a 3 x 4 canvas, which finds a small object at (0, 0) and a large one at (2, 3)."""
    return _model(HEIGHT, WIDTH)


def _backgrounds():
    """Each background of the small canvas, (1, 1, height, width), and its probability."""
    for chosen in itertools.product((0, 1), repeat=len(STATES)):
        picture, probability = torch.full((1, 1, HEIGHT, WIDTH), 0.4), 1.0
        for ((row, column), states), i in zip(STATES.items(), chosen, strict=True):
            picture[0, 0, row, column] = states[i][0]
            probability *= states[i][1]
        yield picture, probability


def _thetas(scenes, background):
    """Pixel means of scenes with as many sites each, over one background."""
    count, pixels = len(scenes[0]), HEIGHT * WIDTH
    sites = torch.tensor(scenes, dtype=torch.int64).reshape(-1)
    location = torch.stack([sites % pixels // WIDTH, sites % pixels % WIDTH], dim=1)
    index = torch.arange(len(scenes)).repeat_interleave(count)
    found = Detections(index, location, torch.full((len(scenes),), count), torch.tensor(SCALES)[sites // pixels])
    return over(SPRITE.expand(len(sites), -1, -1, -1), found, background.expand(len(scenes), -1, -1, -1))


def _scenes(count):
    return list(itertools.permutations(range(SITES), count))


def _log_likelihoods(image, scenes, background):
    thetas = _thetas(scenes, background)
    return Normal(1, NOISE).log_prob(image.expand(len(scenes), -1, -1, -1), thetas).sum((1, 2, 3))


def _log_joint(image, count, background, probability):
    """Log p(x, n, b) by brute force over all ordered sites."""
    scenes = _scenes(count)
    log_likelihood = _log_likelihoods(image, scenes, background).logsumexp(0).item()
    return math.log(COUNT[count] * probability) + log_likelihood - math.log(len(scenes))


@pytest.fixture
def image():
    """A noisy scene: a small object at (0, 0), a large one at (2, 2), and the rarer state of a pixel at (0, 1)."""
    background = list(_backgrounds())[2][0]
    noise = torch.randn(1, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))
    return (_thetas([(0, HEIGHT * WIDTH + 2 * WIDTH + 2)], background) + 0.5 * NOISE * noise).clamp(0, 1)


def _nearest(image):
    return min(_backgrounds(), key=lambda each: (each[0] - image).square().sum().item())


def test_the_bound_rises_from_the_elbo_to_what_point_masses_leave_of_the_exact_evidence(enumerable, image):
    # q(n | x) and q(b | x) are point masses: at best the bound is log p(x, n, b) at n = 2 and the nearest states b.
    best = _log_joint(image, 2, *_nearest(image))
    joints = [_log_joint(image, count, *each) for count in range(3) for each in _backgrounds()]
    evidence = torch.tensor(joints).logsumexp(0).item()
    many = image.expand(40, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    means = [elbo_terms(enumerable, many, generator).elbo.mean().item()]
    means += [importance_weighted_bound(enumerable, many, samples, generator).mean().item() for samples in (5, 4_000)]
    assert means[0] < means[1] < means[2] < evidence
    assert means[2] == pytest.approx(best, abs=0.05)
    assert evidence - best > 0.2  # or the comparison with the whole evidence would say nothing


def test_the_bound_rises_to_the_evidence_itself_where_count_and_background_are_certain(enumerable, image):
    with torch.no_grad():
        enumerable.count_logits.copy_(torch.tensor([-100.0, -100.0, 0.0]))
    background, _ = _nearest(image)
    enumerable.background.states[0] = (background[0] * 255).round().to(torch.uint8)
    enumerable.background.frequency[0], enumerable.background.frequency[1] = 1, 0
    exact = _log_joint(image, 2, background, 1.0) - math.log(COUNT[2])
    bound = importance_weighted_bound(enumerable, image.expand(20, -1, -1, -1), 4_000, torch.Generator().manual_seed(0))
    assert bound.mean().item() == pytest.approx(exact, abs=0.05)


def _q():
    """Probability of each ordered pair of sites under q(l | x)."""
    first = torch.softmax(_logits(HEIGHT, WIDTH).flatten() * math.log(SITES) / math.log(4096), 0)
    return torch.stack([first[i] * first[j] / (1 - first[i]) for i, j in _scenes(2)])


def test_each_term_of_the_elbo_has_its_enumerated_value(enumerable, image):
    number = 6_000
    terms = elbo_terms(enumerable, image.expand(number, -1, -1, -1), torch.Generator().manual_seed(0))
    background, probability = _nearest(image)
    assert probability == pytest.approx(0.3 * 0.6)
    torch.testing.assert_close(terms.kl_background, torch.full((number,), -math.log(0.3 * 0.6)))
    torch.testing.assert_close(terms.kl_count, torch.full((number,), -math.log(0.5)))
    torch.testing.assert_close(terms.kl_appearance, torch.full((number,), 2 * 2 * KL_APPEARANCE))
    q = _q()
    assert q.sum().item() == pytest.approx(1, rel=1e-5)
    log_likelihood = (q * _log_likelihoods(image, _scenes(2), background)).sum().item()
    kl_location = (q * (q.log() + math.log(SITES * (SITES - 1)))).sum().item()
    for values, exact in ((terms.log_likelihood, log_likelihood), (terms.kl_location, kl_location)):
        error = values.std().item() / math.sqrt(number)
        assert values.mean().item() == pytest.approx(exact, abs=4 * error)
        assert abs(exact) > 10 * error
    parts = terms.kl_count + terms.kl_location + terms.kl_appearance + terms.kl_background
    torch.testing.assert_close(terms.elbo, terms.log_likelihood - parts)


def test_the_score_function_reads_the_enumerated_elbo_of_scaled_sites(enumerable, image):
    q, (background, _) = _q(), _nearest(image)
    values = _log_likelihoods(image, _scenes(2), background) - q.log() - math.log(SITES * (SITES - 1))
    generator = torch.Generator().manual_seed(0)
    _, mean = score_function_loss(enumerable, image.expand(3_000, -1, -1, -1), 2, generator)
    error = mean.std().item() / math.sqrt(len(mean))
    exact = (q * values).sum().item() - 2 * 2 * KL_APPEARANCE
    assert mean.mean().item() == pytest.approx(exact, abs=4 * error)


def test_sharpness_is_fitted_to_the_sites_of_all_scales(enumerable, image):
    before = elbo_terms(enumerable, image.expand(200, -1, -1, -1), torch.Generator().manual_seed(0)).elbo.mean()
    with torch.no_grad():
        enumerable.log_sharpness.fill_(-20.0)  # uniform over all sites
    fit_sharpness(enumerable, image.expand(200, -1, -1, -1), seed=0)
    assert any(
        enumerable.sharpness.item() * math.log(SITES) == pytest.approx(1 / each, rel=1e-4) for each in TEMPERATURES
    )
    after = elbo_terms(enumerable, image.expand(200, -1, -1, -1), torch.Generator().manual_seed(0)).elbo.mean()
    assert after > before


def test_every_image_pays_for_its_own_states(enumerable):
    pictures, probabilities = zip(*_backgrounds(), strict=True)
    terms = elbo_terms(enumerable, torch.cat(pictures), torch.Generator().manual_seed(0))
    torch.testing.assert_close(terms.kl_background, -torch.tensor(probabilities).log())


def test_no_images_have_no_terms_and_no_bounds(enumerable, image):
    assert elbo_terms(enumerable, image[:0]).elbo.shape == (0,)
    assert importance_weighted_bound(enumerable, image[:0], 3).shape == (0,)


def _moments():
    """E[theta] and E[theta theta^T] over counts, sites and states."""
    mean, second = torch.zeros(HEIGHT * WIDTH), torch.zeros(HEIGHT * WIDTH, HEIGHT * WIDTH)
    for count, (picture, probability) in itertools.product(range(3), list(_backgrounds())):
        theta = _thetas(_scenes(count), picture).flatten(1)
        mean += COUNT[count] * probability * theta.mean(0)
        second += COUNT[count] * probability * theta.T @ theta / len(theta)
    return mean, second


def test_ancestral_samples_have_the_enumerated_moments(enumerable):
    number = 40_000
    mean, second = _moments()
    drawn = enumerable.sample(number, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (number, HEIGHT, WIDTH, 1)
    values = drawn.flatten(1).double() / 255
    assert ((values.mean(0) - mean).abs() < 5 * values.std(0) / math.sqrt(number) + 1e-4).all()
    # Products of pixels depend on what they have in common: an object, its scale, the number of objects.
    second = second + NOISE**2 * torch.eye(HEIGHT * WIDTH)
    products = values[:, :, None] * values[:, None]
    error = products.std(0) / math.sqrt(number)
    assert ((products.mean(0) - second).abs() < 5 * error + 2e-4).all()
    covariance = second - mean.outer(mean)
    assert covariance[0, 1].abs() > 10 * error[0, 1]


def test_sampled_objects_are_uniform_over_sites_and_distinct(enumerable):
    objects = enumerable.sample_objects(6_000, 2, generator=torch.Generator().manual_seed(0))
    pixel = objects.location[..., 0] * WIDTH + objects.location[..., 1]
    site = (objects.scale == 2) * HEIGHT * WIDTH + pixel
    assert objects.canvas_size == (HEIGHT, WIDTH)
    assert set(objects.scale.unique().tolist()) == set(SCALES)
    assert (site[:, 0] != site[:, 1]).all()
    share = torch.bincount(site.flatten(), minlength=SITES) / site.numel()
    assert (share - 1 / SITES).abs().max() < 5 * math.sqrt(1 / SITES / site.numel())


def test_encoding_and_decoding_know_scales_boxes_and_backgrounds():
    height, width = 7, 8
    model = _model(height, width)
    rare, frequent = torch.full((2, 1, 1, height, width), 0.4)
    for (row, column), ((first, _), (second, _)) in STATES.items():
        frequent[0, 0, row, column], rare[0, 0, row, column] = first, second
    frames = (rare.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    assert model.encode(frames).count.tolist() == [0]  # where nothing differs from the background, nothing is
    frames[0, [0, 6], [0, 7]] = 255
    objects = model.encode(frames)
    assert objects.location.tolist() == [[[0, 0], [6, 7]]]
    assert objects.scale.tolist() == [[1, 2]]
    assert objects.presence[0].tolist() == pytest.approx([1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(-1))], rel=1e-5)
    # Alpha of at least half of its largest is a cross of three pixels a side, which is cropped, and enlarged.
    assert objects.box.tolist() == [[[0, 0, 2, 2], [3, 4, 4, 4]]]
    found = Detections(torch.tensor([0, 0]), torch.tensor([[0, 0], [6, 7]]), torch.tensor([2]), torch.tensor([1, 2]))
    sprites = SPRITE.expand(2, -1, -1, -1)
    np.testing.assert_allclose(model.decode(objects)[..., 0], over(sprites, found, frequent)[:, 0], atol=1e-5)
    mean, centres = model.reconstruct(frames)
    np.testing.assert_allclose(mean[..., 0], over(sprites, found, rare)[:, 0], atol=1e-5)
    assert [each.tolist() for each in centres] == [[[0, 0], [6, 7]]]
    shown = (SPRITE[0, :1] * SPRITE[0, 1:]).permute(1, 2, 0)
    np.testing.assert_allclose(model.decode_sprites(objects)[0], [shown, shown], atol=1e-6)


def test_a_background_fits_frames_of_its_size_alone(enumerable):
    with pytest.raises(ValueError, match="a picture of 3 x 4 pixels, got frames of 7 x 8"):
        enumerable.encode(np.zeros((1, 7, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="got frames of 7 x 8"):
        enumerable.sample(1, canvas_size=(7, 8))
