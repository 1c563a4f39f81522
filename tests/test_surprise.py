import pytest
import torch

from lavae_rl.model.image.likelihood import Bernoulli, Normal
from lavae_rl.model.sites import Sites
from lavae_rl.model.surprise import MARGIN, near_surprise, surprise


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


def _near(*lit, sprite_size):
    mask = torch.zeros(1, 30, 40, dtype=torch.bool)
    for row, column in lit:
        mask[0, row, column] = True
    return near_surprise(Sites(mask), sprite_size).mask[0]


def test_an_object_may_be_centred_within_a_margin_of_what_surprises():
    near = _near((10, 12), sprite_size=9)
    rows, columns = near.nonzero().T
    assert (rows.min().item(), rows.max().item()) == (10 - MARGIN, 10 + MARGIN)
    assert (columns.min().item(), columns.max().item()) == (12 - MARGIN, 12 + MARGIN)
    assert near.sum() == (2 * MARGIN + 1) ** 2


@pytest.mark.parametrize(("side", "filled"), [(9, True), (17, False)])
def test_an_object_may_be_centred_in_a_hole_of_less_than_a_sprite(side, filled):
    edge = range(side)
    ring = {(row, column) for row in edge for column in edge if {row, column} & {0, side - 1}}
    near = _near(*((row + 5, column + 5) for row, column in ring), sprite_size=15)  # 4 sites around a site
    assert near[5 + side // 2, 5 + side // 2].item() is filled


def test_nothing_is_near_where_nothing_surprises():
    assert not _near(sprite_size=21).any()
