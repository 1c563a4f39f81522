import math

import pytest
import torch

from lavae_rl.model.explained import explained_share, frame_surprise
from lavae_rl.model.image.likelihood import Bernoulli, Normal
from lavae_rl.model.surprise import surprise


def test_surprise_is_summed_over_channels_and_zero_where_pixels_are_as_expected():
    mean = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    images = mean.clone()
    images[1, :, 2, 3] += torch.tensor([0.1, -0.2, 0.3])
    nats = surprise(Normal(3, 0.1), images, mean)
    assert nats.shape == (2, 4, 5)
    assert nats[1, 2, 3].item() == pytest.approx((1 + 4 + 9) / 2, rel=1e-4)
    assert nats.count_nonzero() == 1


def test_surprise_of_binary_pixels_is_the_nats_beyond_those_of_the_pixel_itself():
    images = torch.tensor([1.0, 0.0, 1.0]).view(1, 1, 1, 3)
    nats = surprise(Bernoulli(1), images, torch.tensor([0.25, 0.25, 1.0]).view(1, 1, 1, 3))
    assert nats.flatten().tolist() == pytest.approx([1.3863, 0.2877, 0], abs=1e-3)


@pytest.mark.parametrize("likelihood", [Normal(1, 0.2), Bernoulli(1)], ids=["normal", "bernoulli"])
def test_surprise_is_never_negative(likelihood):
    images = (torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    mean = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    nats = surprise(likelihood, images, mean)
    assert (nats >= 0).all()
    assert nats.max() > 0


@pytest.mark.parametrize(
    ("before", "after", "share"), [(10.0, 0.0, 1), (10.0, 4.0, 0.6), (10.0, 10.0, 0), (10.0, 15.0, -0.5)]
)
def test_the_explained_share_is_what_objects_take_of_the_surprise(before, after, share):
    assert explained_share(before, after) == pytest.approx(share)


def test_of_no_surprise_no_share_is_explained():
    assert math.isnan(explained_share(0.0, 0.0))


def test_the_surprise_of_frames_is_that_of_background_and_reconstruction(dotted, dots):
    frames = dots(40, 50, (10, 12), (20, 30))
    found = frame_surprise(dotted, frames)
    images = dotted.images(frames)
    assert found.background.tolist() == pytest.approx([2 * 13.8155], rel=1e-3)  # black but for two pixels
    mean = torch.from_numpy(dotted.decode(dotted.encode(frames))).permute(0, 3, 1, 2)
    expected = surprise(dotted.likelihood, images, mean).sum()
    assert found.reconstruction.tolist() == pytest.approx([expected.item()], rel=1e-4)
