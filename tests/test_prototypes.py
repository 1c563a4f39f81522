import math
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.data.sprites import dsprites_bank
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.networks.prototypes import GRID, Layout, PrototypeDecoder, Prototypes
from lavae_rl.pretraining.prototypes import fit_prototypes, symmetry_orders

SIZE = 21


def _windows(number, seed=0):
    """Masks of sprites of the data set in the middle of windows, and their shapes."""
    bank = dsprites_bank()
    chosen = np.random.default_rng(seed).choice(len(bank), number, replace=False)
    masks = np.zeros((number, SIZE, SIZE), bool)
    masks[:, 1:19, 1:19] = bank.patches[chosen].any(3)
    return torch.from_numpy(masks), bank.attributes["shape"][chosen]


@pytest.fixture(scope="module")
def found():
    masks, _ = _windows(400)
    return fit_prototypes(masks, 5, torch.Generator().manual_seed(0))


def test_the_shapes_of_the_data_set_are_found_with_their_symmetries(found):
    assert len(found.masks) == 3  # and not five: another one would not pay
    assert sorted(found.order.tolist()) == [2, 3, 4]
    np.testing.assert_allclose(found.centre, [-0.5, -0.5], atol=0.05)  # a patch of 18 pixels has no pixel in its middle


def test_one_shape_needs_one_prototype():
    masks, shapes = _windows(600)
    found = fit_prototypes(masks[torch.from_numpy(shapes == 0)], 4, torch.Generator().manual_seed(0))
    assert found.order.tolist() == [4]


def test_clustering_needs_sprites():
    with pytest.raises(ValueError, match="expected sprites with lit pixels, got none"):
        fit_prototypes(torch.zeros(3, SIZE, SIZE, dtype=torch.bool), 2, torch.Generator())


def test_a_disc_looks_the_same_however_it_is_turned():
    line = torch.linspace(-1.9, 1.9, GRID)
    disc = ((line[:, None] ** 2 + line**2) < 1).float()
    bar = ((line[:, None].abs() < 0.4) & (line.abs() < 1.5)).float()
    corner = ((line[:, None] > -0.3) & (line > -0.3) & (line[:, None] < 1) & (line < 1)).float()
    assert symmetry_orders(torch.stack([disc, bar, corner])).tolist() == [6, 2, 1]


def _decoder(found):
    decoder = PrototypeDecoder(3, SIZE, 10)  # five prototypes
    decoder.set_prototypes(found)
    return decoder


def _appearance(decoder, shape=0, turn=0.0, scale=0.0, color=(3.0, -3.0, 3.0)):
    code = 2 * decoder.corners[shape]
    return torch.cat([code, torch.tensor([math.cos(turn), math.sin(turn), scale, *color])])[None]


def test_sprites_of_the_data_set_are_drawn(found):
    decoder, masks = _decoder(found), _windows(60, seed=1)[0].float()
    least = torch.full((60,), math.inf)
    for shape in range(3):
        for turn in np.linspace(0, 2 * math.pi, 24):
            for scale in np.linspace(-1.6, 1.6, 8):
                drawn = decoder(_appearance(decoder, shape, turn, scale))[0, 0] > 0.5
                least = torch.minimum(least, (masks - drawn.float()).abs().sum((1, 2)))
    # Of the pixels of a sprite, some 100, the best of these is wrong in a few, at the edge.
    assert least.mean() < 6


def test_each_latent_changes_what_it_stands_for(found):
    decoder = _decoder(found)
    usual = decoder(_appearance(decoder))
    turned, scaled = decoder(_appearance(decoder, turn=math.pi)), decoder(_appearance(decoder, scale=1.5))
    colored = decoder(_appearance(decoder, color=(-3.0, 3.0, 3.0)))
    assert (turned.amax(1) - usual.amax(1)).abs().max() > 0.5
    assert (scaled[:, 0] > 0.5).sum() > 1.5 * (usual[:, 0] > 0.5).sum()
    torch.testing.assert_close(colored[:, 1], usual[:, 0])  # the mask stays
    torch.testing.assert_close(decoder(_appearance(decoder, turn=2 * math.pi)), usual, atol=1e-4, rtol=0)


def test_codes_are_nearly_discrete_and_never_of_unused_prototypes(found):
    decoder = _decoder(found)
    for shape in range(3):
        codes = decoder.codes(_appearance(decoder, shape))[0]
        assert codes[shape] > 0.95
        assert not codes[3:].any()
    # Corners have the same distance from each other, so any shapes are told from the rest by a linear layer.
    distance = torch.cdist(decoder.corners, decoder.corners)
    torch.testing.assert_close(distance[~torch.eye(5, dtype=torch.bool)], distance[0, 1].expand(20))


def test_corrections_move_edges_and_teach_the_shape_nothing(found):
    decoder = _decoder(found)
    torch.nn.init.normal_(decoder.correction[-1].weight)
    appearance: Any = _appearance(decoder).requires_grad_()
    before = decoder(appearance)
    decoder.corrects.fill_(True)
    after = decoder(appearance)
    assert not torch.equal(before, after)
    inside = before[:, 0] > 0.9999
    assert (after[:, 0][inside] > 0.5).all()
    torch.nn.init.zeros_(decoder.templates)  # what is left is drawn by corrections alone
    (gradient,) = torch.autograd.grad(decoder(appearance).sum(), appearance)
    shape, turn, scale, _ = decoder.layout.split(gradient)
    assert not shape.any()
    assert turn.any()
    assert scale.any()


def test_prototypes_need_latents_for_pose_color_and_two_shapes():
    with pytest.raises(ValueError, match="expected latents of at least 7 with networks prototypes"):
        Layout.of(3, 6)
    with pytest.raises(ValueError, match="got 6"):
        LAVAEConfig(latents=6, networks="prototypes")
    assert Layout.of(3, 11).prototypes == 6
    assert Layout.of(1, 5).prototypes == 2


def test_a_single_prototype_can_be_set():
    decoder = PrototypeDecoder(1, SIZE, 5)
    decoder.set_prototypes(Prototypes(torch.ones(1, GRID, GRID), torch.tensor([6]), (1.5, 0.2), torch.zeros(2)))
    assert torch.isfinite(decoder(torch.zeros(2, 5))).all()
    assert decoder(torch.zeros(0, 5)).shape == (0, 1, SIZE, SIZE)
