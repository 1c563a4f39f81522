import copy

import pytest
import torch
from torch import nn

from lavae_rl.model.networks.world import (
    WorldAppearanceNetwork,
    WorldLocationNetwork,
    WorldSpriteDecoder,
    levels_for,
    reach_of,
)
from lavae_rl.model.objects import Detections

WINDOWS = {9: 1, 31: 1, 37: 2, 39: 2, 62: 2, 93: 3, 95: 3, 124: 3}
"""Largest windows, and the levels that they need."""


@pytest.fixture
def linear():
    """Makes a location network that adds up what it reads: all weights are positive, so no dependence hides."""

    def make(largest_window):
        network = WorldLocationNetwork(1, 2, largest_window).double().eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        return network

    return make


@pytest.fixture
def untrained():
    """Makes a location network with random weights."""

    def make(largest_window, num_scales=2):
        torch.manual_seed(0)
        network = WorldLocationNetwork(1, num_scales, largest_window).double().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -1, 1)
        return network

    return make


def _dependence(network, side, row, column):
    """(first row, last row, first column, last column) of the pixels that a logit depends on."""
    images = torch.ones(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(_logits(network, images)[0, 1, row, column], images)
    rows, columns = gradient[0].sum(0).nonzero().T
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


def _logits(network, images):
    """The logits in double precision: forward() rounds them to float32."""
    captured = []
    handle = network.head.register_forward_hook(lambda module, inputs, output: captured.append(output))
    network(images)
    handle.remove()
    return nn.functional.pixel_shuffle(captured[0], 2)


@pytest.mark.parametrize("window", [9, 39, 95])
def test_a_logit_depends_on_no_pixel_beyond_its_reach(linear, window):
    network = linear(window)
    reach, stride = network.reach, network.stride
    side = 2 * reach + 2 * stride
    farthest = 0
    # Where a pixel is in its cell of `stride` pixels decides how far to each side its logit reads.
    for row, column in ((0, stride - 1), (stride - 1, 0), (stride // 2, stride // 2 - 1), (1, stride // 2)):
        row, column = reach + row, reach + column
        top, bottom, left, right = _dependence(network, side, row, column)
        farthest = max(farthest, row - top, bottom - row, column - left, right - column)
    # The bound is tight: what a logit depends on, rounded up to the stride.
    assert reach - stride < farthest <= reach


@pytest.mark.parametrize("window", [9, 39])
def test_logits_move_with_frames_by_a_stride(untrained, window):
    network = untrained(window)
    reach, stride = network.reach, network.stride
    side = 2 * reach + 4 * stride
    images = torch.rand(1, 2, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = _logits(network, images)
    for down, right in ((stride, 0), (0, stride), (2 * stride, stride)):
        moved = _logits(network, images.roll((down, right), (2, 3)))
        inner = slice(reach + 2 * stride, side - reach)
        expected = logits.roll((down, right), (2, 3))
        torch.testing.assert_close(moved[..., inner, inner], expected[..., inner, inner], atol=1e-10, rtol=0)


def test_logits_change_otherwise_with_frames_that_move_by_less(untrained):
    network = untrained(9)
    reach, stride = network.reach, network.stride
    side = 2 * reach + 2 * stride
    images = torch.rand(1, 2, side, side, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = _logits(network, images.roll(stride // 2, 2))
    expected = _logits(network, images).roll(stride // 2, 2)
    assert (moved - expected)[..., reach + stride : -reach, reach:-reach].abs().max() > 1e-3


def test_logits_do_not_depend_on_the_canvas_beyond_their_reach(untrained):
    network = untrained(9)
    reach, stride = network.reach, network.stride
    images = torch.rand(1, 2, 2 * reach + 40, 2 * reach + 52, generator=torch.Generator().manual_seed(0)).double()
    whole = _logits(network, images)
    part = _logits(network, images[..., 2 * stride :, stride:])
    torch.testing.assert_close(
        part[..., reach:-reach, reach:-reach],
        whole[..., 2 * stride + reach : -reach, stride + reach : -reach][..., : part.shape[2] - 2 * reach, :],
        atol=1e-10,
        rtol=0,
    )


@pytest.mark.parametrize(("window", "levels"), WINDOWS.items())
def test_a_network_is_as_deep_as_its_largest_window_needs(window, levels):
    assert levels_for(window) == levels
    # A reach is rounded up to the stride of its network.
    assert reach_of(levels) - 2 ** (1 + levels) >= window // 2
    assert levels == 1 or reach_of(levels - 1) - 2**levels < window // 2
    network = WorldLocationNetwork(3, 1, window)
    assert (network.levels, network.reach, network.stride) == (levels, reach_of(levels), 2 ** (1 + levels))
    assert network.reach % network.stride == 0


@pytest.mark.parametrize("canvas", [(64, 64), (50, 91), (33, 40)])
def test_there_is_a_map_of_logits_for_each_scale_on_any_canvas(canvas):
    logits = WorldLocationNetwork(3, 2, 18).eval()(torch.rand(2, 6, *canvas))
    assert logits.shape == (2, 2, *canvas)
    assert (logits < -1).all()
    assert WorldLocationNetwork(3, 2, 18).eval()(torch.rand(0, 6, *canvas)).shape == (0, 2, *canvas)


def test_no_map_of_logits_is_that_of_another_scale(untrained):
    network = untrained(9, num_scales=3)
    images = torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = network(images)
    changed = copy.deepcopy(network)
    with torch.no_grad():
        changed.head.bias[4:8] += 1  # of the second scale: pixel_shuffle spreads four channels over a cell
    difference = changed(images) - before
    torch.testing.assert_close(difference[:, 1], torch.ones_like(difference[:, 1]))
    assert not difference[:, [0, 2]].any()


def test_appearances_of_scale_k_are_those_of_the_frame_shrunk_k_times():
    torch.manual_seed(0)
    network = WorldAppearanceNetwork(3, 9, 4)
    small = torch.rand(1, 6, 21, 25)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    one = Detections(torch.tensor([0]), torch.tensor([[10, 12]]), torch.tensor([1]))
    # The window of 18 pixels around (21, 25) has rows 12 to 29: those of rows 6 to 14 of the small frame.
    two = Detections(torch.tensor([0]), torch.tensor([[21, 25]]), torch.tensor([1]), torch.tensor([2]))
    torch.testing.assert_close(network(large, two).mean, network(small, one).mean)
    assert network(small, one).log_variance.shape == (1, 4)


def test_sprites_are_colours_and_a_faint_alpha_in_the_open_unit_interval():
    torch.manual_seed(0)
    sprites = WorldSpriteDecoder(3, 9, 4)(torch.randn(5, 4))
    assert sprites.shape == (5, 4, 9, 9)
    assert ((sprites > 0) & (sprites < 1)).all()
    assert sprites[:, 3].mean() < 0.2
    # One colour a sprite, at first: the texture starts at zero.
    assert (sprites[:, :3].flatten(2).std(2) < 1e-6).all()
