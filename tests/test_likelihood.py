import math

import numpy as np
import pytest
import torch

from lavae_rl.model.image.likelihood import EPSILON, Bernoulli, Normal, as_images

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("pixel", "mean", "probability"),
    [(1, 0.25, 0.25), (0, 0.25, 0.75), (1, 0.0, EPSILON), (0, 1.7, EPSILON)],
    ids=["lit", "dark", "lit but unexplained", "dark under overlapping sprites"],
)
def test_the_likelihood_of_a_pixel_is_its_mean_or_one_minus_its_mean(pixel, mean, probability):
    value = Bernoulli(1).log_prob(torch.full((1, 1, 1, 1), float(pixel)), torch.full((1, 1, 1, 1), mean))
    # float32 near 1 is coarse, hence 5 %.
    assert value.item() == pytest.approx(math.log(probability), rel=0.05, abs=1e-4)


def test_every_pixel_and_channel_has_a_likelihood_of_its_own():
    images = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(3, 2, 4, 5)
    value = Bernoulli(2).log_prob(images, torch.full((3, 2, 4, 5), 0.25))
    assert value.shape == images.shape
    assert value[0, :, 0, 0].exp().tolist() == pytest.approx([0.25, 0.75], abs=1e-5)


def test_an_unexplained_lit_pixel_pulls_its_sprite_up():
    mean = torch.zeros(1, 1, 1, 1, requires_grad=True)
    Bernoulli(1).log_prob(torch.ones(1, 1, 1, 1), mean).sum().backward()
    assert mean.grad is not None
    assert mean.grad.item() > 0


def test_the_likelihood_of_coarse_means_is_finite():
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    mean = torch.tensor([1.0, 0.0], dtype=torch.bfloat16).view(1, 1, 1, 2)
    assert Bernoulli(1).log_prob(images, mean).isfinite().all()


def test_images_are_frames_with_channels_first_of_0_and_1():
    frames = np.zeros((2, 4, 5, 3), np.uint8)
    frames[1, 2, 3, 0] = 255
    images = as_images(Bernoulli(3).check(frames, CPU))
    assert (images.shape, images.dtype) == ((2, 3, 4, 5), torch.float32)
    assert images.nonzero().tolist() == [[1, 0, 2, 3]]
    assert images.max() == 1


def test_expected_pixels_are_probabilities_also_where_sprites_overlap():
    assert Bernoulli(1).mean(torch.tensor([0.2, 1.7]).view(1, 1, 1, 2)).flatten().tolist() == pytest.approx([0.2, 1])


def test_sampled_pixels_are_lit_with_their_probability():
    theta = torch.tensor([0.3, 1.7, 0.0]).view(1, 1, 1, 3).expand(4_000, 1, 1, 3)
    pixels = Bernoulli(1).sample(theta, torch.Generator().manual_seed(0))
    assert set(pixels.unique().tolist()) == {0, 1}
    assert pixels.mean(0).flatten().tolist() == pytest.approx([0.3, 1, 0], abs=4 * math.sqrt(0.3 * 0.7 / 4_000))


def test_the_normal_likelihood_is_the_density_of_each_pixel_and_channel():
    images = torch.tensor([0.2, 0.9, 0.0]).view(1, 3, 1, 1)
    mean = torch.tensor([0.3, 0.9, 1.2]).view(1, 3, 1, 1)
    expected = torch.distributions.Normal(mean, 0.1).log_prob(images)
    torch.testing.assert_close(Normal(3, 0.1).log_prob(images, mean), expected)
    surprise = Normal(3, 0.1).surprise(images, mean)
    assert surprise.flatten().tolist() == pytest.approx([0.5, 0, 72], rel=1e-4)


def test_normal_images_are_frames_of_any_values_with_channels_first():
    frames = np.zeros((2, 4, 5, 3), np.uint8)
    frames[1, 2, 3, 0], frames[0, 0, 0, 2] = 51, 255
    images = as_images(Normal(3, 0.1).check(frames, CPU))
    assert (images.shape, images.dtype) == ((2, 3, 4, 5), torch.float32)
    assert images[1, 0, 2, 3].item() == pytest.approx(0.2)
    assert images[0, 2, 0, 0] == 1
    assert images.count_nonzero() == 2


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), TypeError, "uint8 array, got float32"),
        (np.zeros((8, 8, 3), np.uint8), ValueError, r"frame\[None\]"),
        (np.zeros((1, 8, 8, 1), np.uint8), ValueError, r"width, 3\), got \(1, 8, 8, 1\)"),
    ],
    ids=["float", "one frame", "grey"],
)
def test_frames_without_a_density_are_refused(frames, error, message):
    with pytest.raises(error, match=message):
        Normal(3, 0.1).check(frames, CPU)


def test_normal_samples_spread_around_their_means_and_stay_in_range():
    theta = torch.tensor([0.4, 0.0, 1.0]).view(1, 1, 1, 3).expand(10_000, 1, 1, 3)
    pixels = Normal(1, 0.1).sample(theta, torch.Generator().manual_seed(0))[:, 0, 0]
    assert (pixels.min().item(), pixels.max().item()) == (0, 1)
    assert pixels[:, 0].mean().item() == pytest.approx(0.4, abs=0.004)
    assert pixels[:, 0].std().item() == pytest.approx(0.1, abs=0.004)
    # Half of the values around 0 are clamped: the mean of a half-normal, halved.
    assert pixels[:, 1].mean().item() == pytest.approx(0.1 / math.sqrt(2 * math.pi), abs=0.003)


def test_normal_means_are_clamped():
    assert Normal(1, 0.1).mean(torch.tensor([-0.1, 0.4, 1.3]).view(1, 1, 1, 3)).flatten().tolist() == pytest.approx(
        [0, 0.4, 1]
    )


def test_the_normal_likelihood_of_coarse_means_is_finite_and_pulls_towards_the_image():
    mean = torch.full((1, 1, 1, 1), 0.25, dtype=torch.bfloat16, requires_grad=True)
    value = Normal(1, 0.1).log_prob(torch.ones(1, 1, 1, 1), mean)
    assert value.dtype == torch.float32
    value.sum().backward()
    assert mean.grad is not None
    assert mean.grad.item() == pytest.approx(75, rel=0.01)
