import gzip
import hashlib
import struct
from importlib.resources import files

import numpy as np
import pytest

from lavae_rl.data.digits import digits_bank, load_mnist_idx
from lavae_rl.data.sprites import ANGLES, COLORS, SCALES, SHAPES, SpriteBank, dsprites_bank


@pytest.fixture(scope="module")
def dsprites():
    return dsprites_bank()


@pytest.fixture(scope="module")
def digits():
    """The digits in the package: images (10000, 28, 28) and labels."""
    with (files("lavae_rl") / "assets" / "mnist_10k.npz").open("rb") as stream, np.load(stream) as data:
        return data["x"], data["y"]


def test_every_combination_of_shape_scale_angle_and_colour_occurs_once(dsprites):
    names = ("shape", "scale", "angle", "color")
    combinations = set(zip(*(dsprites.attributes[name].tolist() for name in names), strict=True))
    assert len(dsprites) == len(combinations) == 3 * 6 * 40 * 7
    assert (len(SHAPES), len(SCALES), len(ANGLES), len(COLORS)) == (3, 6, 40, 7)
    assert dsprites.patches.shape == (5040, 18, 18, 3)
    assert (dsprites.size, dsprites.channels) == (18, 3)


def test_a_sprite_has_its_colour_and_no_other(dsprites):
    lit = dsprites.patches.any(axis=3)
    for color, rgb in enumerate(COLORS):
        chosen = dsprites.attributes["color"] == color
        assert (dsprites.patches[chosen][lit[chosen]] == rgb).all()
    assert len({tuple(rgb) for rgb in COLORS.tolist()}) == 7
    assert COLORS.any(axis=1).all()
    assert set(COLORS.ravel().tolist()) == {0, 255}


@pytest.mark.parametrize("scale", [1.0, 0.8, 0.5])
@pytest.mark.parametrize(
    ("shape", "unit_area"),
    [("square", 2), ("ellipse", np.pi * 2 / 3), ("triangle", 3 * np.sqrt(3) / 4)],
    ids=SHAPES,
)
def test_the_mean_area_of_a_shape_over_all_angles_is_the_analytic_one(dsprites, shape, unit_area, scale):
    attributes = dsprites.attributes
    chosen = (attributes["shape"] == SHAPES.index(shape)) & (attributes["scale"] == scale)
    area = dsprites.patches[chosen].any(axis=3).sum(axis=(1, 2)).mean()
    # "At least half covered" also lights pixels that are covered by half exactly, hence a little more than less.
    assert area == pytest.approx(unit_area * (9 * scale) ** 2, rel=0.04)


def _sprite(bank, shape, angle):
    """The white sprite of full size at the ``angle``-th of 40 angles, as bool (18, 18)."""
    at = bank.attributes
    chosen = (at["shape"] == SHAPES.index(shape)) & (at["scale"] == 1) & (at["angle"] == ANGLES[angle])
    return bank.patches[chosen & (at["color"] == 6)][0].all(axis=2)


def test_shapes_stand_as_their_angle_says(dsprites):
    # The longer axis of the ellipse lies along the columns at angle 0 and along the rows a quarter turn later.
    ellipse = _sprite(dsprites, "ellipse", 0)
    assert ellipse.any(axis=0).all()
    assert ellipse.any(axis=1).sum() == 12
    np.testing.assert_array_equal(_sprite(dsprites, "ellipse", 10), ellipse.T)
    # A corner of the square points right at angle 0; an eighth of a turn later its sides are level.
    assert _sprite(dsprites, "square", 0)[[8, 9], 17].any()
    assert not _sprite(dsprites, "square", 0)[0, 0]
    level = _sprite(dsprites, "square", 5)
    assert level[3:15, 3:15].all()
    assert level.sum() == 144
    # The triangle points right at angle 0; its base, on the left, is its longest column.
    triangle = _sprite(dsprites, "triangle", 0)
    assert triangle.sum(axis=0).argmax() < 9
    assert triangle[:, 16].sum() <= 2
    np.testing.assert_array_equal(triangle, triangle[::-1])


def test_boxes_are_tight_and_exclude_their_far_sides():
    patches = np.zeros((3, 6, 6, 1), np.uint8)
    patches[0, 1, 4] = patches[0, 3, 2] = 255
    patches[1] = 255
    patches[2, 5, 0] = 255
    assert SpriteBank(patches, {}).boxes.tolist() == [[1, 2, 4, 5], [0, 0, 6, 6], [5, 0, 6, 1]]


def test_a_pixel_lit_in_one_channel_counts_for_the_box():
    patches = np.zeros((1, 5, 5, 3), np.uint8)
    patches[0, 1, 2, 0] = patches[0, 2, 3, 2] = 255
    assert SpriteBank(patches, {}).boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("patches", "attributes", "message"),
    [
        (np.full((1, 4, 4, 1), 128, np.uint8), {}, "0 and 255 only"),
        (np.zeros((1, 4, 4, 1), np.uint8), {}, "at least one lit pixel"),
        (np.full((2, 4, 4, 1), 255, np.uint8), {"label": np.arange(3)}, "2 values of 'label', got 3"),
    ],
    ids=["grey", "black", "labels"],
)
def test_unusable_banks_are_refused(patches, attributes, message):
    with pytest.raises(ValueError, match=message):
        SpriteBank(patches, attributes)


@pytest.mark.parametrize("size", [5, 8, 18, 32])
def test_shapes_of_any_size_fill_their_patch(size):
    bank = dsprites_bank(size)
    assert bank.patches.shape[1:3] == (size, size)
    extent = bank.boxes[:, 2:] - bank.boxes[:, :2]
    assert extent.max() == size


@pytest.mark.parametrize("size", [4, 0, -18])
def test_patches_too_small_for_a_shape_are_refused(size):
    with pytest.raises(ValueError, match=f"at least 5 pixels, got {size}"):
        dsprites_bank(size)


@pytest.mark.slow
@pytest.mark.parametrize("pool_size", [1, 1000, 10_000])
def test_a_pool_of_digits_has_the_size_asked_for_and_is_binary(pool_size):
    bank = digits_bank(pool_size)
    assert len(bank) == pool_size
    assert bank.patches.shape == (pool_size, 18, 18, 1)
    assert set(np.unique(bank.patches).tolist()) == {0, 255}
    assert bank.attributes["label"].shape == (pool_size,)


@pytest.mark.slow
def test_the_small_pool_is_part_of_the_large_one_and_without_repetition(digits):
    small, large = digits_bank(1000), digits_bank(10_000)
    np.testing.assert_array_equal(small.patches, large.patches[:1000])
    np.testing.assert_array_equal(small.attributes["label"], large.attributes["label"][:1000])
    np.testing.assert_array_equal(np.bincount(large.attributes["label"]), np.bincount(digits[1]))
    assert np.bincount(small.attributes["label"], minlength=10).min() > 50


@pytest.mark.slow
def test_digits_at_their_own_size_are_only_thresholded(digits):
    bank = digits_bank(10_000, size=28)
    original = np.where(digits[0] >= 128, 255, 0).astype(np.uint8)
    assert sorted(patch.tobytes() for patch in bank.patches) == sorted(patch.tobytes() for patch in original)


@pytest.mark.slow
def test_shrunk_digits_keep_the_share_of_lit_pixels(digits):
    lit = (digits_bank(10_000).patches > 0).mean()
    assert lit == pytest.approx((digits[0] >= 128).mean(), rel=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pool_size": 10_001}, r"1 to 10000 digits, got 10001; more digits: --mnist-dir"),
        ({"pool_size": 0}, "1 to 10000 digits, got 0"),
        ({"pool_size": 5, "size": 29}, "4 to 28 pixels, got 29"),
        ({"pool_size": 5, "size": 3}, "4 to 28 pixels, got 3"),
    ],
    ids=str,
)
def test_pools_and_sizes_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        digits_bank(**values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "digest"),
    [
        (dsprites_bank, "db891851b9afd418aec37ab5b6e288d5516f2cc770f00d72f9fd2f45479c0a2e"),
        (lambda: digits_bank(1000), "59785c72d5f51f85f7174d6f34c510baec2146d4b0bcf19641f24f20c1333025"),
        (lambda: digits_bank(10_000), "2211e9060752e8163cbd24d450b782500012e6dd13d78c67a9f2358bbccf63dc"),
    ],
    ids=["dsprites", "1k digits", "10k digits"],
)
def test_banks_are_the_same_bytes_on_every_machine(make, digest):
    assert hashlib.sha256(make().patches.tobytes()).hexdigest() == digest


def _idx(array):
    """The bytes of an IDX file; the magic number holds the type (8: uint8) and the rank."""
    return struct.pack(f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist_folder(tmp_path, digits):
    """A folder of plain IDX files of the first 50 digits."""
    (tmp_path / "train-images-idx3-ubyte").write_bytes(_idx(digits[0][:50]))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(_idx(digits[1][:50]))
    return tmp_path


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_files_of_the_same_digits_give_the_bank_of_the_package(tmp_path, digits, mark, end):
    for stem, array in (("train-images", digits[0]), ("train-labels", digits[1])):
        raw = _idx(array)
        name = f"{stem}{mark}idx{array.ndim}-ubyte{end}"
        (tmp_path / name).write_bytes(gzip.compress(raw, compresslevel=1) if end else raw)
    bank, embedded = digits_bank(1000, mnist_dir=tmp_path), digits_bank(1000)
    np.testing.assert_array_equal(bank.patches, embedded.patches)
    np.testing.assert_array_equal(bank.attributes["label"], embedded.attributes["label"])


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_mnist_files_are_read_by_what_they_hold(mnist_folder, digits, end, times):
    for kind in ("images-idx3", "labels-idx1"):
        plain = mnist_folder / f"train-{kind}-ubyte"
        raw = plain.read_bytes()
        plain.unlink()
        for _ in range(times):
            raw = gzip.compress(raw)
        plain.with_name(plain.name + end).write_bytes(raw)
    images, labels = load_mnist_idx(mnist_folder)
    np.testing.assert_array_equal(images, digits[0][:50])
    np.testing.assert_array_equal(labels, digits[1][:50])


def test_mnist_files_are_read_in_order(mnist_folder, digits):
    images, labels = load_mnist_idx(str(mnist_folder))
    np.testing.assert_array_equal(images, digits[0][:50])
    np.testing.assert_array_equal(labels, digits[1][:50])


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_a_missing_mnist_file_is_named(mnist_folder, kind):
    (mnist_folder / f"train-{kind}-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=f"one of train-{kind}-ubyte,.*is it the folder of MNIST's IDX files"):
        digits_bank(10, mnist_dir=mnist_folder)


def test_a_missing_mnist_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere; is it the folder"):
        digits_bank(10, mnist_dir=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("kind", "damage", "message"),
    [
        ("images-idx3", lambda raw: raw[:-100], "header promises 39200 bytes, 39100 follow; download it again"),
        ("labels-idx1", lambda raw: raw + b"\0", "header promises 50 bytes, more than 50 follow"),
        ("images-idx3", lambda raw: raw[:10], "expected magic 2051, got None"),
        ("images-idx3", lambda raw: b"", "expected magic 2051, got None"),
        ("images-idx3", lambda raw: b"\0\0\x08\x01" + raw[4:], "not an IDX file of MNIST images.*2051, got 2049"),
        ("labels-idx1", lambda raw: b"\0\0\x08\x03" + raw[4:], "not an IDX file of MNIST labels.*2049, got 2051"),
        ("images-idx3", lambda raw: _idx(np.zeros((50, 20, 28), np.uint8)), r"28 x 28 pixels in .*got \[20, 28\]"),
        ("labels-idx1", lambda raw: _idx(np.zeros(49, np.uint8)), "as many labels as images in .*got 49 and 50"),
    ],
    ids=["cut", "longer", "cut header", "empty", "labels as images", "images as labels", "size", "labels"],
)
def test_damaged_mnist_files_are_refused(mnist_folder, kind, damage, message):
    path = mnist_folder / f"train-{kind}-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        digits_bank(10, mnist_dir=mnist_folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: b"not gzip" + packed,
        lambda packed: packed[:-20],
        lambda packed: packed[:5],
        lambda packed: packed[:100] + b"\xff" * 100 + packed[200:],
    ],
    ids=["foreign", "cut", "cut header", "overwritten"],
)
def test_damaged_gzip_files_are_refused(mnist_folder, damage):
    plain = mnist_folder / "train-images-idx3-ubyte"
    plain.with_suffix(".gz").write_bytes(damage(gzip.compress(plain.read_bytes())))
    plain.unlink()
    with pytest.raises(ValueError, match=r"damaged gzip file \(.*\); download it again"):
        digits_bank(10, mnist_dir=mnist_folder)


def test_more_digits_than_the_mnist_folder_has_are_refused(mnist_folder):
    with pytest.raises(ValueError, match="a pool of 1 to 50 digits, got 51"):
        digits_bank(51, mnist_dir=mnist_folder)


def test_digits_that_vanish_are_refused():
    with pytest.raises(ValueError, match=r"every digit is left, got 8, where [0-9]+ vanish; try 14"):
        digits_bank(1_000, size=8)
