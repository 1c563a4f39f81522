import math

import pytest
import torch
import torch.nn.functional as F

from lavae_rl.model.canvas import EPSILON, bernoulli_log_likelihood, compose, crop_windows, empty_scene


def test_a_window_is_centred_on_its_location_and_dark_beyond_the_border():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    windows = crop_windows(image, torch.tensor([0, 0]), torch.tensor([[1, 2], [0, 0]]), 3)
    assert windows[0, 0].tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]
    assert windows[1, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 4, 5]]


def test_composition_is_the_convolution_with_a_kronecker_delta():
    generator = torch.Generator().manual_seed(0)
    sprites = torch.rand(3, 2, 5, 5, generator=generator)
    location = torch.tensor([[0, 0], [6, 3], [4, 10]])  # two at the border, two on the same image
    image_index = torch.tensor([0, 1, 1])
    mean = compose(sprites, image_index, location, 2, (7, 11))
    expected = torch.zeros(2, 2, 7, 11)
    for sprite, image, (row, column) in zip(sprites, image_index, location.tolist(), strict=True):
        delta = torch.zeros(1, 1, 7, 11)
        delta[0, 0, row, column] = 1
        # conv2d correlates, so the kernel is flipped to convolve.
        expected[image] += F.conv2d(delta, sprite.flip(1, 2)[:, None], padding=2)[0]
    torch.testing.assert_close(mean, expected)


def test_composing_nothing_is_the_empty_scene():
    none = torch.zeros(0, dtype=torch.int64)
    mean = compose(torch.zeros(0, 1, 5, 5), none, torch.zeros(0, 2, dtype=torch.int64), 2, (8, 9))
    torch.testing.assert_close(mean, empty_scene(torch.ones(2, 1, 8, 9)))


def test_cropping_undoes_composition():
    sprite = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    index, location = torch.tensor([0]), torch.tensor([[5, 9]])
    torch.testing.assert_close(crop_windows(compose(sprite, index, location, 1, (12, 14)), index, location, 5), sprite)


@pytest.mark.parametrize(
    ("pixel", "mean", "probability"),
    [(1, 0.25, 0.25), (0, 0.25, 0.75), (1, 0.0, EPSILON), (0, 1.7, EPSILON)],
    ids=["lit", "dark", "lit but unexplained", "dark under overlapping sprites"],
)
def test_the_likelihood_of_a_pixel(pixel, mean, probability):
    value = bernoulli_log_likelihood(torch.full((1, 1, 1, 1), float(pixel)), torch.full((1, 1, 1, 1), mean))
    # float32 near 1 is coarse, hence 5 %.
    assert value.item() == pytest.approx(math.log(probability), rel=0.05, abs=1e-4)


def test_an_unexplained_lit_pixel_pulls_its_sprite_up():
    mean = torch.zeros(1, 1, 1, 1, requires_grad=True)
    bernoulli_log_likelihood(torch.ones(1, 1, 1, 1), mean).sum().backward()
    assert mean.grad is not None
    assert mean.grad.item() > 0


def test_the_likelihood_of_coarse_means_is_finite():
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    mean = torch.tensor([1.0, 0.0], dtype=torch.bfloat16).view(1, 1, 1, 2)
    assert bernoulli_log_likelihood(images, mean).isfinite().all()
