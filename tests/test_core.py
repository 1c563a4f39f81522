"""The image model is made of exchangeable parts: whatever explains a scene asks the model for them."""

import pytest
import torch

from lavae_rl.model.image.likelihood import Bernoulli
from lavae_rl.model.objective import elbo_terms, explain
from lavae_rl.model.objects import Detections
from lavae_rl.pretraining.proposals import propose_by_surprise

SIDE = 24


@pytest.fixture
def found():
    return Detections(torch.tensor([0]), torch.tensor([[12, 12]]), torch.tensor([1]))


def _explain(model, images, found):
    """Theta and log-likelihood of one object with appearance 0."""
    thetas = []

    def compose(sprites, background):
        thetas.append(model.composition(sprites, found, background))
        return thetas[-1]

    log_likelihood, _ = explain(model, model.scene(images), torch.zeros(1, model.config.latents), compose)
    return thetas[0], log_likelihood


def test_another_background_changes_what_a_scene_is_explained_by(untrained, found):
    images = torch.zeros(1, 1, SIDE, SIDE)
    black, on_black = _explain(untrained, images, found)
    untrained.background = lambda images: torch.full_like(images, 0.25)
    grey, on_grey = _explain(untrained, images, found)
    torch.testing.assert_close(grey, black + 0.25)
    assert on_grey < on_black
    objects = untrained.sample_objects(1, 0, (SIDE, SIDE))
    assert untrained.decode(objects).unique().tolist() == [0.25]


def test_another_background_is_no_surprise_where_it_is_seen(untrained):
    images = torch.zeros(1, 1, 64, 64)
    images[:, :, 20:40, 20:40] = 1
    assert propose_by_surprise(untrained, images).count.tolist() == [1]
    untrained.background = lambda images: 0.5 * images + 0.5 * images.amax() * (images > 0)
    assert propose_by_surprise(untrained, images).count.tolist() == [0]


def test_another_composition_changes_elbo_and_decoding(dotted, dots):
    frames = dots(SIDE, SIDE, (12, 12))
    before = elbo_terms(dotted, dotted.images(frames)).log_likelihood
    dotted.composition = lambda sprites, found, background: background + 0.5
    assert elbo_terms(dotted, dotted.images(frames)).log_likelihood.item() == pytest.approx(
        SIDE**2 * torch.tensor(0.5).log().item(), rel=1e-4
    )
    assert before.item() != pytest.approx(SIDE**2 * torch.tensor(0.5).log().item(), rel=1e-4)
    assert set(dotted.decode(dotted.encode(frames)).flatten().tolist()) == {0.5}


class Halved(Bernoulli):
    """Every pixel has half the log-probability; expected pixels are inverted."""

    def log_prob(self, images, theta):
        return super().log_prob(images, theta) / 2

    def mean(self, theta):
        return 1 - super().mean(theta)


def test_another_likelihood_changes_elbo_and_decoding(dotted, dots):
    frames = dots(SIDE, SIDE, (12, 12))
    images = dotted.images(frames)
    first, decoded = elbo_terms(dotted, images, _generator()).log_likelihood, dotted.decode(dotted.encode(frames))
    dotted.likelihood = Halved(1)
    torch.testing.assert_close(elbo_terms(dotted, images, _generator()).log_likelihood, first / 2)
    assert dotted.decode(dotted.encode(frames)).flatten().tolist() == pytest.approx((1 - decoded).flatten().tolist())


def test_nothing_is_proposed_where_every_scene_is_as_likely(untrained):
    images = torch.zeros(1, 1, 64, 64)
    images[:, :, 20:40, 20:40] = 1
    assert propose_by_surprise(untrained, images).count.tolist() == [1]
    untrained.likelihood.log_prob = lambda images, theta: torch.zeros_like(images)
    assert propose_by_surprise(untrained, images).count.tolist() == [0]


def _generator():
    return torch.Generator().manual_seed(0)


def test_frames_smaller_than_a_sprite_are_refused(untrained, dots):
    with pytest.raises(ValueError, match=r"at least 21 px a side, got \(20, 64\)"):
        untrained.images(dots(20, 64))
