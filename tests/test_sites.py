import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lavae_rl.model.sites import Sites, nonzero, unravel


def _sites(*places, shape=(2, 12, 8)):
    mask = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return Sites(mask)


@pytest.fixture
def scattered():
    """A tenth of two grids."""
    return Sites(torch.rand(2, 12, 8, generator=torch.Generator().manual_seed(0)) < 0.1)


def _pool(mask, *args, **options):
    return F.max_pool2d(mask.float(), *args, **options) > 0


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_growing_adds_all_within_reach_and_stays_on_the_grid(scattered, reach):
    expected = _pool(scattered.mask, 2 * reach + 1, stride=1, padding=reach)
    assert torch.equal(scattered.grow(reach).mask, expected)


def test_halving_takes_the_sites_of_the_pooled_grid_and_doubling_all_that_they_hold(scattered):
    half = scattered.halve()
    assert torch.equal(half.mask, _pool(scattered.mask, 2))
    assert torch.equal(half.double().mask, F.interpolate(half.mask[:, None].float(), scale_factor=2)[:, 0] > 0)


def test_strided_sites_are_those_whose_window_holds_one(scattered):
    assert torch.equal(scattered.stride().mask, _pool(scattered.mask, 3, stride=2, padding=1))


def test_closing_fills_holes_up_to_a_width_and_joins_nothing_wider():
    ring = _sites((0, slice(2, 9), 2), (0, slice(2, 9), 6), (0, 2, slice(2, 7)), (0, 8, slice(2, 7)))
    closed = ring.close(2)
    assert closed.mask[0].sum() == 7 * 5
    assert not closed.mask[1].any()
    apart = _sites((0, 3, 0), (0, 3, 7))
    assert torch.equal(apart.close(2).mask, apart.mask)


def test_closing_keeps_sites_at_the_border():
    corner = _sites((0, 0, 0), (1, 11, 7))
    assert torch.equal(corner.close(3).mask, corner.mask)


def test_index_lists_the_sites_in_reading_order(scattered):
    assert torch.equal(torch.stack(scattered.index, dim=1), scattered.mask.nonzero())
    assert torch.equal(torch.stack(unravel(nonzero(scattered.mask), scattered.shape), dim=1), scattered.mask.nonzero())


def test_sites_in_common(scattered):
    one = _sites((slice(None), slice(0, 6)))
    np.testing.assert_array_equal((scattered & one).mask, scattered.mask & one.mask)
