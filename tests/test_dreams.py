import math

import pytest
import torch
import torch.nn.functional as F

from lavae_rl.model.objects import Detections
from lavae_rl.pretraining.dreams import (
    OVERLAP,
    SpriteMemory,
    centre_loss,
    cut_out,
    dilate,
    dream,
    location_loss,
    recentre,
)

SIZE = 21


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _filled(side, capacity=4):
    """A memory of squares of a given odd side, centred."""
    memory = SpriteMemory(capacity, 1, SIZE)
    sprite = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
    half = side // 2
    sprite[..., 10 - half : 11 + half, 10 - half : 11 + half] = True
    memory.write(sprite)
    return memory


def test_the_memory_keeps_the_latest_sprites():
    memory = SpriteMemory(3, 1, 2)
    assert len(memory) == 0
    for number in range(5):
        memory.write(torch.tensor([number // 2 % 2, number % 2, 1, 1], dtype=torch.bool).view(1, 1, 2, 2))
    assert len(memory) == 3
    first_rows = {tuple(sprite[0, 0].tolist()) for sprite in memory.sprites}
    assert first_rows == {(True, False), (True, True), (False, False)}  # of numbers 2, 3 and 4


def test_the_memory_takes_no_black_sprites_and_no_more_than_it_holds():
    memory = SpriteMemory(3, 1, 2)
    memory.write(torch.zeros(2, 1, 2, 2, dtype=torch.bool))
    assert len(memory) == 0
    memory.write(torch.ones(10, 1, 2, 2, dtype=torch.bool))
    assert len(memory) == 3


def test_a_dream_has_a_sprite_at_each_centre_and_nothing_else():
    images, centres = dream(_filled(5), 40, 6, (50, 70), _generator())
    assert images.shape == (40, 1, 50, 70)
    expected = torch.nn.functional.max_pool2d(centres[:, None].float(), 5, stride=1, padding=2)
    torch.testing.assert_close(images, expected)


def test_dreamed_sprites_never_touch():
    _, centres = dream(_filled(5), 40, 12, (50, 50), _generator())
    for image in centres:
        at = image.nonzero()
        apart = (at[:, None] - at[None]).abs().amax(2)
        assert ((apart >= 6) | torch.eye(len(at), dtype=torch.bool)).all()  # side 5 and one dark pixel between


def test_sprites_of_crowded_dreams_share_less_than_allowed_of_the_smaller():
    side = 5  # of every sprite
    shared = []
    for row in dream(_filled(side), 100, 8, (48, 48), _generator(), 1.0)[1]:
        at = row.nonzero()
        inside = (side - (at[:, None] - at[None]).abs()).clamp(min=0)
        shared += [inside[i, j].prod().item() for i in range(len(at)) for j in range(i)]
    assert OVERLAP * side**2 / 2 < max(shared) < OVERLAP * side**2
    assert min(shared) == 0


def test_a_fraction_of_the_dreams_is_crowded_and_none_is_brighter_than_a_sprite():
    images, centres = dream(_filled(5), 400, 6, (40, 40), _generator(), 0.5)
    areas, counts = images.sum((1, 2, 3)), centres.flatten(1).sum(1)
    assert images.max() == 1
    inside = F.pad(centres[:, 3:-3, 3:-3], (3, 3, 3, 3)).flatten(1).sum(1) == counts  # none is cropped
    overlapping = (areas < 25 * counts)[inside & (counts > 3)].float().mean().item()
    assert 0.15 < overlapping < 0.5


def test_dreamed_counts_reach_from_none_to_all():
    _, centres = dream(_filled(3), 300, 4, (64, 64), _generator())
    counts = torch.bincount(centres.flatten(1).sum(1), minlength=5)
    assert len(counts) == 5
    assert (counts > 30).all()


def test_dreams_follow_their_generator():
    first, again = (dream(_filled(5), 3, 6, (50, 50), _generator(7))[0] for _ in range(2))
    other, _ = dream(_filled(5), 3, 6, (50, 50), _generator(8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_cut_out_leaves_the_neighbour_behind_and_is_recentred():
    image = torch.zeros(1, 1, 64, 64)
    image[0, 0, 28:35, 27:34] = 1  # centre (31, 30)
    image[0, 0, 28:35, 38:42] = 1  # a neighbour in the same window
    found = Detections(torch.tensor([0]), torch.tensor([[30, 32]]), torch.tensor([1]))
    decoded = torch.zeros(1, 1, SIZE, SIZE)
    decoded[..., 8:15, 5:12] = 0.9  # the model's idea of the object, in the window around (30, 32)
    sprite = recentre(cut_out(image, found, decoded))
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    expected[7:14, 7:14] = True
    assert torch.equal(sprite[0, 0], expected)


@pytest.mark.parametrize(("row", "column"), [(10, 10), (3, 5), (14, 12)])
@pytest.mark.parametrize("side", [4, 5])
def test_recentring_depends_on_the_sprite_alone(side, row, column):
    sprite = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
    sprite[..., row : row + side, column : column + side] = True
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    first = 10 - side // 2
    expected[first : first + side, first : first + side] = True
    assert torch.equal(recentre(sprite)[0, 0], expected)


def test_dilation_adds_a_pixel_below_or_to_the_right_of_half_of_the_sprites():
    sprite = torch.zeros(400, 1, SIZE, SIZE, dtype=torch.bool)
    sprite[..., 8:12, 8:12] = True
    dilated = dilate(sprite, _generator())
    assert (dilated & sprite).sum() == sprite.sum()
    areas = torch.bincount(dilated.sum((1, 2, 3)))
    # untouched, one way, both ways
    assert areas.nonzero().flatten().tolist() == [16, 20, 25]
    assert areas[[16, 20, 25]].tolist() == pytest.approx([100, 200, 100], abs=40)


def test_scenes_without_objects_give_no_cut_outs():
    none = torch.zeros(0, dtype=torch.int64)
    found = Detections(none, torch.zeros(0, 2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    assert cut_out(torch.zeros(1, 1, 64, 64), found, torch.zeros(0, 1, SIZE, SIZE)).shape == (0, 1, SIZE, SIZE)


def _centre(*places):
    centres = torch.zeros(1, 9, 9, dtype=torch.bool)
    for row, column in places:
        centres[0, row, column] = True
    return centres


def _logits(places, high=6.0):
    return torch.where(_centre(*places), high, -6.0)


def test_the_centre_loss_prefers_the_right_place_to_its_neighbour_to_nothing():
    centres = _centre((4, 4))
    right, beside, far = (
        centre_loss(_logits(places), centres).item() for places in ([(4, 4)], [(4, 4), (4, 5)], [(4, 4), (0, 0)])
    )
    assert right < beside < far
    assert centre_loss(_logits([]), centres).item() > right


def test_losses_of_scenes_without_objects_are_finite():
    nothing = _centre()
    assert centre_loss(_logits([]), nothing).item() == pytest.approx(0, abs=1e-3)
    assert location_loss(torch.zeros(1, 81), nothing).item() == 0


def test_the_location_loss_is_least_at_equal_shares():
    centres = _centre((1, 1), (5, 5))
    equal = torch.log_softmax(_logits([(1, 1), (5, 5)], high=30.0).flatten(1), 1)
    uneven = equal + torch.where(_centre((1, 1)), 0.3, 0.0).flatten(1)
    assert location_loss(equal, centres).item() == pytest.approx(math.log(2), abs=1e-3)
    assert location_loss(torch.log_softmax(uneven, 1), centres) > location_loss(equal, centres)
