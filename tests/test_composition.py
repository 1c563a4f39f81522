import torch
import torch.nn.functional as F

from lavae_rl.model.image.composition import add_sprites
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
