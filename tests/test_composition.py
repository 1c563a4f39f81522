import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lavae_rl.model.image.composition import OPAQUE, add_sprites, cover, over
from lavae_rl.model.image.windows import crop_windows
from lavae_rl.model.objects import Detections

NONE = Detections(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64), torch.zeros(2).long())


def test_composition_is_the_convolution_with_a_kronecker_delta():
    generator = torch.Generator().manual_seed(0)
    sprites = torch.rand(3, 2, 5, 5, generator=generator)
    location = torch.tensor([[0, 0], [6, 3], [4, 10]])  # two at the border, two on the same image
    found = Detections(torch.tensor([0, 1, 1]), location, torch.tensor([1, 2]))
    mean = add_sprites(sprites, found, torch.zeros(2, 2, 7, 11))
    expected = torch.zeros(2, 2, 7, 11)
    for sprite, image, (row, column) in zip(sprites, found.image_index, location.tolist(), strict=True):
        delta = torch.zeros(1, 1, 7, 11)
        delta[0, 0, row, column] = 1
        # conv2d correlates, so the kernel is flipped to convolve.
        expected[image] += F.conv2d(delta, sprite.flip(1, 2)[:, None], padding=2)[0]
    torch.testing.assert_close(mean, expected)


def test_sprites_are_added_to_the_background():
    background = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    sprites = torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    found = Detections(torch.tensor([0, 0]), torch.tensor([[4, 4], [4, 5]]), torch.tensor([2]))
    kept = background.clone()
    mean = add_sprites(sprites, found, background)
    torch.testing.assert_close(mean, background + add_sprites(sprites, found, torch.zeros_like(background)))
    assert torch.equal(background, kept)


def test_composing_nothing_is_the_background():
    background = torch.rand(2, 1, 8, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(add_sprites(torch.zeros(0, 1, 5, 5), NONE, background), background)


def test_cropping_undoes_composition():
    sprite = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    found = Detections(torch.tensor([0]), torch.tensor([[5, 9]]), torch.tensor([1]))
    torch.testing.assert_close(crop_windows(add_sprites(sprite, found, torch.zeros(1, 3, 12, 14)), found, 5), sprite)


def _found(*locations, scales=None):
    """Objects of one image, by default of scale 1."""
    number = len(locations)
    location = torch.tensor(locations, dtype=torch.int64).reshape(number, 2)
    scale = torch.ones(number, dtype=torch.int64) if scales is None else torch.tensor(scales)
    return Detections(torch.zeros(number, dtype=torch.int64), location, torch.tensor([number]), scale)


def _blended(sprites, found, background):
    """``over`` in words: pixel by pixel, sprite by sprite, at scale 1."""
    result = background.clone()
    half = sprites.shape[-1] // 2
    for image, row, column in np.ndindex(len(background), *background.shape[2:]):
        clear, alphas, colours = 1.0, 0.0, torch.zeros(background.shape[1])
        for sprite, owner, location in zip(sprites, found.image_index, found.location.tolist(), strict=True):
            i, j = row - location[0] + half, column - location[1] + half
            if owner == image and 0 <= i < sprites.shape[-1] and 0 <= j < sprites.shape[-1]:
                alpha = sprite[-1, i, j].item()
                clear, alphas, colours = clear * (1 - alpha), alphas + alpha, colours + alpha * sprite[:-1, i, j]
        if alphas:
            result[image, :, row, column] = clear * background[image, :, row, column] + (1 - clear) * colours / alphas
    return result


def test_over_covers_by_the_product_and_colours_by_the_mean_of_its_sprites():
    generator = torch.Generator().manual_seed(0)
    sprites, background = torch.rand(4, 4, 5, 5, generator=generator), torch.rand(2, 3, 7, 11, generator=generator)
    location = torch.tensor([[0, 0], [6, 3], [5, 4], [4, 10]])
    found = Detections(torch.tensor([0, 1, 1, 1]), location, torch.tensor([1, 3]))
    theta = over(sprites, found, background)
    torch.testing.assert_close(theta, _blended(sprites, found, background), atol=3e-4, rtol=0)


def test_over_of_one_sprite_is_alpha_blending():
    generator = torch.Generator().manual_seed(0)
    sprites, background = torch.rand(1, 4, 3, 3, generator=generator), torch.rand(1, 3, 6, 8, generator=generator)
    colour, alpha, behind = sprites[:, :3], sprites[:, 3:], background[:, :, 2:5, 4:7]
    theta = over(sprites, _found((3, 5)), background)
    torch.testing.assert_close(
        theta[:, :, 2:5, 4:7], alpha * colour + (1 - alpha) * behind, atol=2 * (1 - OPAQUE), rtol=0
    )
    outside = torch.ones(6, 8, dtype=torch.bool)
    outside[2:5, 4:7] = False
    assert torch.equal(theta[..., outside], background[..., outside])


@pytest.mark.parametrize("scales", [(1, 1, 1), (2, 1, 3)])
def test_over_does_not_depend_on_the_order_of_sprites(scales):
    generator = torch.Generator().manual_seed(0)
    sprites, background = torch.rand(3, 4, 5, 5, generator=generator), torch.rand(1, 3, 12, 15, generator=generator)
    locations = [(5, 6), (6, 7), (7, 4)]
    expected = over(sprites, _found(*locations, scales=scales), background)
    for order in itertools.permutations(range(3)):
        found = _found(*(locations[i] for i in order), scales=[scales[i] for i in order])
        torch.testing.assert_close(over(sprites[list(order)], found, background), expected)


def test_an_opaque_sprite_hides_the_background():
    sprite = torch.full((1, 4, 3, 3), 0.25)
    sprite[:, 3] = 1
    black, white = (over(sprite, _found((3, 3)), torch.full((1, 3, 7, 7), value)) for value in (0.0, 1.0))
    assert (white - black)[:, :, 2:5, 2:5].abs().max() <= 2 * (1 - OPAQUE)
    torch.testing.assert_close(black[:, :, 2:5, 2:5], torch.full((1, 3, 3, 3), 0.25), atol=2e-4, rtol=0)


@pytest.mark.parametrize("behind", [0.0, 1.0])
def test_a_transparent_sprite_shows_the_background_and_nothing_of_its_colour(behind):
    sprite = torch.ones(1, 2, 3, 3) * (1 - behind)
    sprite[:, 1] = 0
    background = torch.full((1, 1, 7, 7), behind)
    assert torch.equal(over(sprite, _found((3, 3)), background), background)


@pytest.mark.parametrize(("scale", "box"), [(1, (5, 7, 3, 3)), (2, (3, 5, 6, 6)), (3, (2, 4, 9, 9))])
def test_a_sprite_of_scale_k_covers_k_times_the_pixels_a_side_around_its_location(scale, box):
    theta = over(torch.ones(1, 2, 3, 3), _found((6, 8), scales=(scale,)), torch.zeros(1, 1, 14, 18))
    row, column, height, width = box
    expected = torch.zeros(14, 18)
    expected[row : row + height, column : column + width] = 1
    torch.testing.assert_close(theta[0, 0], expected, atol=2e-4, rtol=0)


def test_a_scaled_sprite_is_enlarged_without_a_shift():
    # Bilinear enlargement averaged over blocks of its factor changes a linear ramp only beside its ends.
    sprite = torch.ones(1, 2, 5, 5)
    sprite[0, 0] = torch.linspace(0.1, 0.9, 5)
    sprite[0, 0] += torch.linspace(0, 0.08, 5)[:, None]
    theta = over(sprite, _found((10, 10), scales=(2,)), torch.zeros(1, 1, 20, 20))
    blocks = F.avg_pool2d(theta[:, :, 5:15, 5:15], 2)
    torch.testing.assert_close(blocks[0, 0, 1:4, 1:4], sprite[0, 0, 1:4, 1:4], atol=3e-4, rtol=0)


def test_scaled_sprites_are_cropped_at_every_border():
    for row, column in itertools.product((0, 8), (0, 9)):
        theta = over(torch.ones(1, 2, 5, 5), _found((row, column), scales=(4,)), torch.zeros(1, 1, 9, 10))
        assert theta.min() > 0.99


@pytest.mark.parametrize("alpha", [0.5, 0.99, 0.99995, 1.0])
def test_gradient_reaches_alpha_where_a_sprite_is_nearly_opaque(alpha):
    sprite = torch.full((1, 2, 1, 1), 0.75)
    sprite[:, 1] = alpha
    sprite.requires_grad_()
    over(sprite, _found((2, 2)), torch.full((1, 1, 5, 5), 0.25))[0, 0, 2, 2].backward()
    assert sprite.grad is not None
    # One sprite blends: the derivative by alpha is its colour less what is behind, by its colour it is alpha.
    assert sprite.grad.flatten().tolist() == pytest.approx([alpha, 0.5], abs=3e-4)


def test_gradient_reaches_every_sprite_under_opaque_ones():
    sprites = torch.full((2, 2, 1, 1), 0.75)
    sprites[:, 1] = 1
    sprites.requires_grad_()
    over(sprites, _found((2, 2), (2, 2)), torch.full((1, 1, 5, 5), 0.25))[0, 0, 2, 2].backward()
    assert sprites.grad is not None
    assert sprites.grad.isfinite().all()
    assert sprites.grad[:, 0].flatten().tolist() == pytest.approx([0.5, 0.5], abs=3e-4)


@pytest.mark.parametrize("scale", [1, 2])
def test_over_of_nothing_is_the_background(scale):
    background = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    none = replace(NONE, scale=torch.full((0,), scale))
    torch.testing.assert_close(over(torch.zeros(0, 4, 5, 5), none, background), background)


def test_over_of_no_images_is_no_images():
    none = Detections(NONE.image_index, NONE.location, NONE.count[:0])
    assert over(torch.zeros(0, 4, 5, 5), none, torch.zeros(0, 3, 8, 9)).shape == (0, 3, 8, 9)


def test_covered_pixels_are_all_that_sprites_reach_once_and_in_order():
    generator = torch.Generator().manual_seed(0)
    sprites, background = torch.rand(3, 4, 3, 3, generator=generator), torch.rand(2, 3, 8, 9, generator=generator)
    sprites[0, -1] = 0  # reaches its pixels all the same
    location = torch.tensor([[0, 8], [4, 4], [5, 5]])
    found = Detections(torch.tensor([0, 1, 1]), location, torch.tensor([1, 2]), torch.tensor([1, 2, 1]))
    reached = torch.zeros(2, 8, 9, dtype=torch.bool)
    reached[0, :2, 7:] = reached[1, 1:7, 1:7] = True
    pixels, theta = cover(sprites, found, background)
    assert pixels.tolist() == reached.flatten().nonzero()[:, 0].tolist()
    assert torch.equal(theta, over(sprites, found, background).permute(0, 2, 3, 1)[reached])


def test_nothing_covers_no_pixels():
    pixels, theta = cover(torch.zeros(0, 4, 5, 5), NONE, torch.zeros(2, 3, 8, 9))
    assert pixels.shape == (0,)
    assert theta.shape == (0, 3)
