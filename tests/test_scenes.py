import numpy as np
import pytest

from lavae_rl.data.digits import digits_bank
from lavae_rl.data.scenes import Scenes, render_scenes, sample_scenes
from lavae_rl.data.sprites import SpriteBank, dsprites_bank


@pytest.fixture(scope="module")
def dsprites():
    return dsprites_bank()


@pytest.fixture(scope="module")
def digits():
    return digits_bank(100)


@pytest.fixture(scope="module")
def corner_bank():
    """One asymmetric 4 x 4 sprite in two colours: red lit at (0, 0), (0, 3), green at (0, 0), (2, 1)."""
    patches = np.zeros((1, 4, 4, 3), np.uint8)
    patches[0, 0, [0, 3], 0] = 255
    patches[0, [0, 2], [0, 1], 1] = 255
    return SpriteBank(patches, {})


def _scene(locations, canvas_size, sprite_index=None):
    """One scene with a sprite at each location."""
    n = len(locations)
    index = np.zeros(n, np.int32) if sprite_index is None else np.array(sprite_index, np.int32)
    location = np.array(locations, np.int16).reshape(1, n, 2)
    return Scenes(index[None], location, np.array([n]), canvas_size)


def test_a_location_is_the_row_and_column_of_the_centre_pixel(corner_bank):
    # Patch centre (2, 2): at location (3, 6) the patch covers rows 1 to 4 and columns 4 to 7, of 6 rows, 9 columns.
    frame = render_scenes(_scene([(3, 6)], (6, 9)), corner_bank)[0]
    red = [
        ".........",
        "....#..#.",
        ".........",
        ".........",
        ".........",
        ".........",
    ]
    green = [
        ".........",
        "....#....",
        ".........",
        ".....#...",
        ".........",
        ".........",
    ]
    for channel, picture in enumerate([red, green, ["." * 9] * 6]):
        assert ["".join(".#"[value // 255] for value in row) for row in frame[..., channel].tolist()] == picture


def test_an_odd_patch_is_centred_on_its_middle_pixel():
    patch = np.zeros((1, 3, 3, 1), np.uint8)
    patch[0, 1, 1] = 255
    frame = render_scenes(_scene([(2, 5)], (5, 8)), SpriteBank(patch, {}))[0, :, :, 0]
    assert np.argwhere(frame).tolist() == [[2, 5]]


@pytest.mark.parametrize("location", [(2, 2), (2, 7), (4, 2), (4, 7)], ids=str)
def test_sprites_may_touch_the_border(corner_bank, location):
    # On 6 rows and 9 columns, a 4 px patch fits at rows 2 to 4 and columns 2 to 7.
    assert render_scenes(_scene([location], (6, 9)), corner_bank).sum() == 4 * 255


@pytest.mark.parametrize("location", [(1, 2), (5, 2), (2, 1), (2, 8), (-20, 5), (300, 300)], ids=str)
def test_rendering_a_sprite_outside_the_canvas_is_refused(corner_bank, location):
    with pytest.raises(ValueError, match="every 4 px sprite inside the 6 x 9 canvas, got one outside"):
        render_scenes(_scene([(3, 3), location], (6, 9)), corner_bank)


def test_padding_is_never_drawn(corner_bank):
    scenes = Scenes(np.zeros((2, 3), np.int32), np.full((2, 3, 2), 3, np.int16), np.array([0, 1]), (6, 9))
    frames = render_scenes(scenes, corner_bank)
    assert frames[0].sum() == 0
    assert frames[1].sum() == 4 * 255
    assert scenes.mask.tolist() == [[False] * 3, [True, False, False]]


@pytest.mark.parametrize("canvas_size", [(64, 64), (40, 90)], ids=str)
@pytest.mark.parametrize("name", ["dsprites", "digits"])
def test_rendering_equals_a_plain_loop(request, name, canvas_size):
    bank = request.getfixturevalue(name)
    scenes = sample_scenes(np.random.default_rng(0), bank, 40, (0, 3), canvas_size)
    expected = np.zeros((40, *canvas_size, bank.channels), np.uint8)
    for i in range(40):
        for k in range(scenes.count[i]):
            row, column = (int(value) - 9 for value in scenes.location[i, k])
            window = expected[i, row : row + 18, column : column + 18]
            np.maximum(window, bank.patches[scenes.sprite_index[i, k]], out=window)
    frames = render_scenes(scenes, bank)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, expected)


def _edges(scenes, bank, i):
    """Tight boxes of scene i on the canvas as lists (top, left, bottom, right), far sides exclusive."""
    for sprite, (row, column) in zip(scenes.sprite_index[i], scenes.location[i].tolist(), strict=True):
        rows, columns = np.nonzero(bank.patches[sprite].any(axis=2))
        top, left = row - bank.size // 2, column - bank.size // 2
        yield top + rows.min(), left + columns.min(), top + rows.max() + 1, left + columns.max() + 1


def test_boxes_grown_by_one_pixel_never_meet_and_come_as_near_as_that(dsprites):
    scenes = sample_scenes(np.random.default_rng(1), dsprites, 500, 7)
    column_gaps = set()
    for i in range(500):
        taken = np.zeros((70, 70), int)
        boxes = list(_edges(scenes, dsprites, i))
        for top, left, bottom, right in boxes:
            taken[top - 1 + 2 : bottom + 1 + 2, left - 1 + 2 : right + 1 + 2] += 1
        assert taken.max() == 1, f"scene {i}"
        for top, _, bottom, right in boxes:
            for other in boxes:
                if other[1] >= right and other[0] < bottom and top < other[2]:  # right of it, some rows in common
                    column_gaps.add(int(other[1] - right))
    assert min(column_gaps) == 2
    assert {3, 4} <= column_gaps


def test_the_lit_pixels_of_two_objects_are_never_neighbours(dsprites):
    # What the rule is for, on the frames themselves: no 2 x 2 block of pixels has two colours.
    scenes = sample_scenes(np.random.default_rng(2), dsprites, 300, 7)
    frames = render_scenes(scenes, dsprites)
    color = frames.astype(int) @ [1, 2, 4] // 255
    for down, right in ((0, 1), (1, 0), (1, 1)):
        near, far = color[:, : 64 - down, : 64 - right], color[:, down:, right:]
        assert not ((near != far) & (near > 0) & (far > 0)).any()


def test_whole_patches_lie_inside_the_canvas_up_to_its_border(digits):
    scenes = sample_scenes(np.random.default_rng(0), digits, 3000, 1, (40, 64))
    assert scenes.location[..., 0].min() == 9
    assert scenes.location[..., 0].max() == 40 - 9
    assert scenes.location[..., 1].min() == 9
    assert scenes.location[..., 1].max() == 64 - 9


def test_sprites_and_locations_are_uniform(digits):
    scenes = sample_scenes(np.random.default_rng(0), digits, 47 * 1000, 1)
    rows, columns = np.bincount(scenes.location[:, 0, 0] - 9), np.bincount(scenes.location[:, 0, 1] - 9)
    sprites = np.bincount(scenes.sprite_index[:, 0])
    for observed, size in ((rows, 47), (columns, 47), (sprites, 100)):
        assert len(observed) == size
        expected = 47_000 / size
        assert np.abs(observed - expected).max() < 4.5 * np.sqrt(expected)


@pytest.mark.parametrize(("low", "high"), [(0, 3), (2, 3), (1, 1)])
def test_a_range_of_counts_is_uniform_and_includes_its_ends(digits, low, high):
    scenes = sample_scenes(np.random.default_rng(0), digits, 4000, (low, high))
    values, numbers = np.unique(scenes.count, return_counts=True)
    assert values.tolist() == list(range(low, high + 1))
    expected = 4000 / len(values)
    assert np.abs(numbers - expected).max() <= 4 * np.sqrt(expected)
    assert scenes.sprite_index.shape == (4000, high)


def test_counts_may_be_one_number_or_one_for_each_scene(digits):
    rng = np.random.default_rng(0)
    assert sample_scenes(rng, digits, 3, 2).count.tolist() == [2, 2, 2]
    scenes = sample_scenes(rng, digits, 4, np.array([3, 0, 2, 1]))
    assert scenes.count.tolist() == [3, 0, 2, 1]
    assert scenes.mask.sum(axis=1).tolist() == [3, 0, 2, 1]


def test_padded_slots_are_zero(dsprites):
    scenes = sample_scenes(np.random.default_rng(0), dsprites, 500, (0, 3))
    assert not scenes.sprite_index[~scenes.mask].any()
    assert not scenes.location[~scenes.mask].any()
    assert scenes.location[scenes.mask].all()


@pytest.mark.parametrize(
    ("num_scenes", "num_objects", "slots"),
    [(0, 3, 0), (0, (0, 3), 0), (5, 0, 0), (5, (0, 0), 0), (0, np.zeros(0, np.int64), 0)],
    ids=["no scenes", "no scenes, range", "no objects", "no objects, range", "no counts"],
)
def test_nothing_can_be_sampled_and_rendered(dsprites, num_scenes, num_objects, slots):
    scenes = sample_scenes(np.random.default_rng(0), dsprites, num_scenes, num_objects)
    assert len(scenes) == num_scenes
    assert scenes.location.shape == (num_scenes, slots, 2)
    frames = render_scenes(scenes, dsprites)
    assert frames.shape == (num_scenes, 64, 64, 3)
    assert not frames.any()


@pytest.mark.parametrize(("canvas_size", "count"), [((48, 48), 3), ((160, 96), 15), ((18, 18), 1)], ids=str)
def test_other_canvases_work_as_well(dsprites, canvas_size, count):
    scenes = sample_scenes(np.random.default_rng(0), dsprites, 50, count, canvas_size)
    frames = render_scenes(scenes, dsprites)
    assert frames.shape == (50, *canvas_size, 3)
    area = dsprites.patches.any(axis=3).sum(axis=(1, 2))
    # Nothing is cut off and nothing overlaps: every lit pixel of every sprite is on the canvas.
    np.testing.assert_array_equal(frames.any(axis=3).sum(axis=(1, 2)), area[scenes.sprite_index].sum(axis=1))


def test_the_same_seed_gives_the_same_scenes(dsprites):
    first, again, other = (sample_scenes(np.random.default_rng(s), dsprites, 100, (0, 3)) for s in (5, 5, 6))
    for name in ("sprite_index", "location", "count"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert getattr(first, name).tobytes() != getattr(other, name).tobytes()


@pytest.mark.parametrize(
    "index", [slice(3, 8, 2), np.array([7, 0, 7]), np.arange(10) % 3 == 0], ids=["slice", "indices", "mask"]
)
def test_chosen_scenes_are_those_of_their_frames(dsprites, index):
    scenes = sample_scenes(np.random.default_rng(0), dsprites, 10, (0, 3))
    chosen = scenes[index]
    assert len(chosen) == len(scenes.count[index])
    np.testing.assert_array_equal(render_scenes(chosen, dsprites), render_scenes(scenes, dsprites)[index])


@pytest.mark.parametrize(
    ("num_objects", "canvas_size", "message"),
    [
        (2, (18, 18), "could not pack 2 objects without overlap on a canvas of 18 x 18 pixels"),
        (np.array([1, 3, 0]), (18, 20), "could not pack 3 objects"),
        (1, (17, 64), r"at least 18 x 18 pixels, got \(17, 64\)"),
        (1, (64, 17), r"at least 18 x 18 pixels, got \(64, 17\)"),
        (-1, (64, 64), "counts of at least 0, got -1"),
        (np.array([1, -2, 0]), (64, 64), "counts of at least 0, got -2"),
        ((-1, 3), (64, 64), r"0 <= low <= high in num_objects, got \(-1, 3\)"),
        ((3, 2), (64, 64), r"0 <= low <= high in num_objects, got \(3, 2\)"),
        (np.array([1, 2]), (64, 64), "could not be broadcast"),
    ],
    ids=["packing", "packing one", "low", "narrow", "negative", "one negative", "below 0", "reversed", "two for three"],
)
def test_scenes_that_cannot_be_are_refused(dsprites, num_objects, canvas_size, message):
    with pytest.raises(ValueError, match=message):
        sample_scenes(np.random.default_rng(0), dsprites, 3, num_objects, canvas_size)
