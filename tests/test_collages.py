import itertools

import pytest
import torch

from lavae_rl.pretraining.collages import (
    OVERLAP,
    Collage,
    CutOutMemory,
    alpha_boxes,
    collage,
    grow,
    recentre,
)

HEIGHT, WIDTH, NUMBER, MOST = 40, 52, 200, 5
RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _rectangle(size, height, width, colour=RED):
    """A cut-out that shows one rectangle, centred as ``recentre`` does."""
    sprite = torch.zeros(1, 4, size, size)
    row, column = size // 2 - height // 2, size // 2 - width // 2
    sprite[0, :, row : row + height, column : column + width] = torch.tensor([*colour, 1.0])[:, None, None]
    return sprite


def _memory(*sprites, capacity=8):
    memory = CutOutMemory(capacity, 3, sprites[0].shape[-1])
    memory.write(torch.cat(sprites))
    return memory


def _boxes(sites, height, width):
    """(top, left, bottom, right) of the rectangles of one scene, also beyond the border, at its sites."""
    corner = sites.nonzero()[:, -2:] - torch.tensor([height // 2, width // 2])
    return torch.cat([corner, corner + torch.tensor([height, width])], dim=1).tolist()


def _paint(boxes):
    """True where the canvas is covered by boxes."""
    painted = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for top, left, bottom, right in boxes:
        painted[max(top, 0) : bottom, max(left, 0) : right] = True
    return painted


def _shared(one, other):
    """Pixels that two boxes share; of boxes that neither overlap nor touch at a corner or side, a negative number."""
    rows, columns = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    if min(rows, columns) < 0:
        return -1
    return rows * columns


@pytest.mark.parametrize(("height", "width"), [(7, 4), (6, 6), (5, 9), (1, 2)])
def test_the_labelled_centre_is_that_of_the_box_of_what_was_pasted(height, width):
    images, sites = collage([_memory(_rectangle(11, height, width))], _black(), MOST, _generator())
    assert images.shape == (NUMBER, 3, HEIGHT, WIDTH)
    assert sites.shape == (NUMBER, 1, HEIGHT, WIDTH)
    for image, places in zip(images, sites, strict=True):
        assert torch.equal(image[0] > 0.5, _paint(_boxes(places, height, width)))
        assert not image[1:].any()


def _black(number=NUMBER):
    return torch.zeros(number, 3, HEIGHT, WIDTH)


def test_sprites_lie_on_the_backgrounds_which_are_kept_elsewhere():
    backgrounds = torch.rand(NUMBER, 3, HEIGHT, WIDTH, generator=_generator())
    kept = backgrounds.clone()
    images, sites = collage([_memory(_rectangle(9, 5, 6, GREEN))], backgrounds, MOST, _generator())
    assert torch.equal(backgrounds, kept)
    for image, background, places in zip(images, backgrounds, sites, strict=True):
        painted = _paint(_boxes(places, 5, 6))
        assert (image[:, painted] == torch.tensor(GREEN)[:, None]).all()
        assert torch.equal(image[:, ~painted], background[:, ~painted])


def test_half_of_the_scenes_keep_their_sprites_apart_and_none_covers_too_much():
    # So many sprites that those that may touch nearly always do; those that keep apart have a gap of a pixel.
    _, sites = collage([_memory(_rectangle(11, 9, 9))], _black(1_000), 12, _generator())
    largest = []
    for places in sites:
        shared = [_shared(*pair) for pair in itertools.combinations(_boxes(places, 9, 9), 2)]
        assert max(shared, default=0) <= OVERLAP * 81
        if len(shared) >= 6:
            largest.append(max(shared))
    touching = sum(shared >= 0 for shared in largest) / len(largest)
    assert 0.3 < touching < 0.5
    assert max(largest) > OVERLAP * 81 / 2


def test_scenes_have_counts_from_none_to_the_most():
    _, sites = collage([_memory(_rectangle(5, 3, 3))], _black(600), MOST, _generator())
    counts = torch.bincount(sites.sum((1, 2, 3)), minlength=MOST + 1) / 600
    assert len(counts) == MOST + 1
    assert counts[:-1].min() > 0.1
    assert counts.max() < 0.25


def test_the_same_generator_makes_the_same_scenes():
    memories = [_memory(_rectangle(9, 5, 6)), _memory(_rectangle(18, 15, 12, GREEN))]
    (images, sites), (again, sites_again) = (collage(memories, _black(), MOST, _generator(3)) for _ in range(2))
    other, _ = collage(memories, _black(), MOST, _generator(4))
    assert torch.equal(images, again)
    assert torch.equal(sites, sites_again)
    assert not torch.equal(images, other)


def test_sprites_are_often_put_on_a_row_or_column_with_another():
    _, sites = collage([_memory(_rectangle(7, 5, 5))], _black(1_000), 2, _generator())
    pairs = [places.nonzero()[:, 1:] for places in sites if places.sum() == 2]
    aligned = [pair for pair in pairs if (pair[0] == pair[1]).any()]
    near = [pair for pair in aligned if 5 <= (pair[0] - pair[1]).abs().max() <= 5 + 1 + 6]
    assert len(near) / len(pairs) > 0.12  # by chance, 1 in 40


def test_scales_are_drawn_as_often_as_they_were_remembered():
    small, large, empty = _memory(_rectangle(9, 5, 6)), _memory(_rectangle(18, 14, 12, GREEN)), CutOutMemory(8, 3, 36)
    for _ in range(3):
        small.write(_rectangle(9, 5, 6))
    generator = _generator()
    scenes = [collage([small, large, empty], _black(8), 2, generator) for _ in range(60)]
    images, sites = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    found = sites.sum((0, 2, 3))
    assert found[2] == 0
    assert 2 < found[0] / found[1] < 8
    for image, places in zip(images, sites, strict=True):
        assert not (image[1] > 0.5)[~_paint(_boxes(places[1], 14, 12))].any()
        assert torch.equal(image.amax(0) > 0.5, _paint(_boxes(places[0], 5, 6)) | _paint(_boxes(places[1], 14, 12)))


@pytest.fixture
def scene():
    """Three scenes in the making, which want two sprites each but for the last, which wants none."""
    return Collage(torch.zeros(3, 3, 12, 14), torch.tensor([2, 2, 0]), num_scales=2, margin=5)


def _place(scene, sprite, location, allowed=0.0, scale_index=0):
    size = len(scene.wanted)
    scene.place(
        sprite.expand(size, -1, -1, -1), scale_index, torch.tensor([location] * size), torch.full((size,), allowed)
    )


def test_no_scene_has_more_sprites_than_it_wants(scene):
    for column in (2, 7, 12):
        _place(scene, _rectangle(5, 3, 3), (5, column))
    assert scene.placed.tolist() == [2, 2, 0]
    assert scene.sites.nonzero().tolist() == [[0, 0, 5, 2], [0, 0, 5, 7], [1, 0, 5, 2], [1, 0, 5, 7]]
    assert not scene.images[2].any()


@pytest.mark.parametrize(
    ("location", "lit"), [((0, 0), (2, 2)), ((11, 13), (2, 2)), ((0, 6), (2, 3)), ((5, 13), (3, 2))]
)
def test_sprites_at_the_border_are_cropped(scene, location, lit):
    _place(scene, _rectangle(11, 3, 3), location, scale_index=1)
    rows, columns = scene.images[0, 0].nonzero().T
    assert (len(rows.unique()), len(columns.unique())) == lit
    assert scene.sites[0].nonzero().tolist() == [[1, *location]]


@pytest.mark.parametrize("location", [(-1, 3), (12, 3), (3, -2), (3, 14)])
def test_no_sprite_is_centred_off_the_canvas(scene, location):
    _place(scene, _rectangle(5, 3, 3), location)
    assert not scene.placed.any()
    assert not scene.images.any()
    assert not scene.sites.any()


@pytest.mark.parametrize(("column", "placed"), [(7, 1), (8, 1), (9, 2)])
def test_sprites_that_keep_apart_have_a_gap_of_a_pixel(scene, column, placed):
    _place(scene, _rectangle(5, 3, 3), (5, 5))
    _place(scene, _rectangle(5, 3, 3), (5, column))
    assert scene.placed[0] == placed


@pytest.mark.parametrize(("row", "column", "placed"), [(5, 8, 2), (7, 7, 2), (6, 7, 1), (5, 7, 1), (5, 5, 1)])
def test_sprites_that_may_touch_cover_little_of_each_other(scene, row, column, placed):
    _place(scene, _rectangle(5, 3, 3), (5, 5), OVERLAP)
    _place(scene, _rectangle(5, 3, 3, GREEN), (row, column), OVERLAP)  # 0, 1, 2, 3 and 9 of 9 pixels
    assert scene.placed[0] == placed
    if placed == 2:  # the later one lies on top
        assert scene.images[0, 1].sum() == 9
        assert (scene.images[0, 0] * scene.images[0, 1]).sum() == 0


def test_an_empty_cut_out_is_not_placed(scene):
    _place(scene, torch.zeros(1, 4, 5, 5), (5, 5))
    assert not scene.placed.any()


def test_a_memory_keeps_the_latest_and_draws_no_others():
    memory = CutOutMemory(4, 3, 5)
    assert len(memory) == 0
    for value in range(6):
        memory.write(torch.full((1, 4, 5, 5), value / 10))
    assert len(memory) == 4
    drawn = memory.read(200, _generator())
    assert sorted(round(value * 10) for value in drawn[:, 0, 0, 0].unique().tolist()) == [2, 3, 4, 5]
    memory.write(torch.rand(9, 4, 5, 5))
    assert len(memory) == 4
    fresh = CutOutMemory(4, 3, 5)
    fresh.load_state_dict(memory.state_dict())
    assert len(fresh) == 4
    assert torch.equal(fresh.read(9, _generator()), memory.read(9, _generator()))


def test_writing_nothing_changes_no_memory():
    memory = _memory(_rectangle(5, 3, 3))
    memory.write(torch.zeros(0, 4, 5, 5))
    assert len(memory) == 1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 4), (4, 3), (2, 2), (5, 1)])
@pytest.mark.parametrize("size", [11, 10])
def test_cut_outs_are_centred_by_the_box_of_what_they_show(size, height, width):
    expected = _rectangle(size, height, width)
    for row, column in itertools.product((-2, 0, 1), (-1, 0, 2)):
        moved = recentre(expected.roll((row, column), (2, 3)))
        assert torch.equal(moved, expected)
    first, extent = alpha_boxes(expected)
    assert (first + extent // 2).tolist() == [[size // 2, size // 2]]
    assert extent.tolist() == [[height, width]]


def test_recentring_drops_empty_cut_outs():
    sprites = torch.cat([_rectangle(7, 3, 3), torch.zeros(1, 4, 7, 7), _rectangle(7, 1, 1, GREEN)])
    assert torch.equal(recentre(sprites), sprites[[0, 2]])
    assert recentre(sprites[1:2]).shape == (0, 4, 7, 7)


def test_alpha_grows_by_pixels_from_one_half_on():
    shown = torch.zeros(1, 1, 9, 9)
    shown[0, 0, 4, 4], shown[0, 0, 0, 8] = 0.51, 0.5
    grown = grow(shown, 2)[0, 0]
    assert grown.sum() == 25
    assert (grown[2:7, 2:7] == 1).all()
