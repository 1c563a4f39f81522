import math
from dataclasses import replace

import pytest
import torch

from lavae_rl.model.image.composition import add_sprites
from lavae_rl.model.image.windows import (
    as_rows,
    crop_scaled_windows,
    crop_windows,
    gather_windows,
    gaussian_blur,
    sprite_boxes,
    window_pixels,
)
from lavae_rl.model.objects import Detections


def test_a_window_is_centred_on_its_location_and_dark_beyond_the_border():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    found = Detections(torch.tensor([0, 0]), torch.tensor([[1, 2], [0, 0]]), torch.tensor([2]))
    windows = crop_windows(image, found, 3)
    assert windows[0, 0].tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]
    assert windows[1, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 4, 5]]


def test_the_blur_of_one_pixel_is_a_gaussian_of_peak_one_inside_its_window():
    one = torch.zeros(1, 9, 11)
    one[0, 1, 5] = 1
    blurred = gaussian_blur(one, half=2, sigma=1.5)[0]
    assert blurred[1, 5] == 1
    assert blurred[2, 7].item() == pytest.approx(math.exp(-0.5 * (1 + 4) / 1.5**2))
    assert blurred[1, 8] == blurred[4, 5] == 0


def test_a_window_of_scale_k_is_averaged_over_blocks_of_k_pixels_a_side():
    image = torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    location = torch.tensor([[8, 9], [7, 10], [6, 11]])
    found = Detections(torch.tensor([0, 1, 1]), location, torch.tensor([1, 2]), torch.tensor([2, 1, 3]))
    windows = crop_scaled_windows(image, found, 3)
    block = image[0, :, 5:11, 6:12].view(3, 3, 2, 3, 2).mean((2, 4))
    torch.testing.assert_close(windows[0], block)
    assert torch.equal(windows[1], image[1, :, 6:9, 9:12])
    torch.testing.assert_close(windows[2], image[1, :, 2:11, 7:16].reshape(3, 3, 3, 3, 3).mean((2, 4)))


def test_scaled_windows_are_dark_beyond_the_border():
    found = Detections(torch.tensor([0]), torch.tensor([[0, 7]]), torch.tensor([1]), torch.tensor([2]))
    # The window has rows -3 to 2 and columns 4 to 9, of which 0 to 2 and 4 to 7 are on the canvas.
    window = crop_scaled_windows(torch.ones(1, 1, 8, 8), found, 3)[0, 0]
    assert window.tolist() == [[0, 0, 0], [0.5, 0.5, 0], [1, 1, 0]]


def test_no_objects_have_no_scaled_windows():
    none = Detections(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64), torch.zeros(2).long())
    assert crop_scaled_windows(torch.ones(2, 3, 8, 8), none, 5).shape == (0, 3, 5, 5)


@pytest.mark.parametrize(
    ("location", "scale", "box"),
    [
        ((10, 12), 1, (9, 10, 2, 4)),
        ((10, 12), 2, (7, 7, 4, 8)),
        ((0, 2), 1, (0, 0, 1, 4)),
        ((1, 19), 2, (0, 14, 2, 6)),
        ((15, 19), 1, (14, 17, 2, 3)),
    ],
    ids=["scale 1", "scale 2", "top left", "top right", "bottom right"],
)
def test_the_box_of_a_sprite_holds_its_lit_pixels_on_the_canvas(location, scale, box):
    lit = torch.zeros(1, 5, 5, dtype=torch.bool)
    lit[0, 1, 0] = lit[0, 2, 3] = True
    found = Detections(torch.tensor([0]), torch.tensor([location]), torch.tensor([1]), torch.tensor([scale]))
    assert sprite_boxes(lit, found, (16, 20))[0].tolist() == list(box)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_box_of_a_sprite_is_that_of_what_is_drawn(scale):
    generator = torch.Generator().manual_seed(0)
    lit = torch.rand(12, 5, 5, generator=generator) > 0.8
    lit[:, 2, 2] = True
    location = torch.stack([torch.randint(side, (12,), generator=generator) for side in (16, 20)], dim=1)
    own = torch.arange(12)
    found = Detections(own, location, torch.ones_like(own), torch.full_like(own, scale))
    # Enlarged by repetition, not bilinearly, so that the edges are where the cells end.
    drawn = lit[:, None].float().repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    margin = 8
    canvas = add_sprites(drawn, replace(found, location=location + margin), torch.zeros(12, 1, 32, 36))[:, 0]
    for picture, (row, column, height, width) in zip(canvas, sprite_boxes(lit, found, (16, 20)).tolist(), strict=True):
        rows, columns = (picture.nonzero() - margin).T
        assert [row, row + height] == [min(max(edge, 0), 16) for edge in (rows.min(), rows.max() + 1)]
        assert [column, column + width] == [min(max(edge, 0), 20) for edge in (columns.min(), columns.max() + 1)]


@pytest.mark.parametrize("size", [1, 5, 6, 30])
def test_gathered_windows_are_cropped_windows(size):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 2, 9, 12, generator=generator)
    location = torch.stack([torch.randint(side, (20,), generator=generator) for side in (9, 12)], dim=1)
    index = torch.randint(3, (20,), generator=generator).sort().values
    found = Detections(index, location, torch.bincount(index, minlength=3))
    assert torch.equal(gather_windows(images, found, size), crop_windows(images, found, size))


def test_the_pixels_of_a_window_are_indices_into_all_images():
    images = torch.arange(2 * 3 * 4).view(2, 1, 3, 4)
    found = Detections(torch.tensor([1]), torch.tensor([[0, 2]]), torch.tensor([0, 1]))
    pixel, inside = window_pixels(found, 3, (3, 4))
    assert inside[0].tolist() == [[False] * 3, [True] * 3, [True] * 3]
    assert as_rows(images.float())[pixel[inside]].flatten().tolist() == [13, 14, 15, 17, 18, 19]
