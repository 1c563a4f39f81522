import dataclasses
import hashlib
import zipfile

import numpy as np
import pytest

from lavae_rl.data.files import load_npz, save_npz
from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.scenes import Scenes, sample_scenes
from lavae_rl.data.sources import (
    DATASETS,
    Prepared,
    SceneDataset,
    SceneSpec,
    load_bank,
    load_dataset,
    open_source,
    prepared,
)


@pytest.fixture
def small():
    """20 scenes of multi-dsprites."""
    bank = load_bank("multi-dsprites")
    return SceneDataset(sample_scenes(np.random.default_rng(0), bank, 20, (0, 3)), bank)


@pytest.mark.parametrize(
    ("split", "num_scenes", "counts"),
    [("train", 190_000, {0, 1, 2, 3}), ("validation", 2_000, {0, 1, 2, 3}), ("test", 10_000, {0, 1, 2, 3})],
)
def test_splits_have_the_sizes_and_counts_of_the_paper(split, num_scenes, counts):
    dataset = load_dataset("multi-mnist-1k", split)
    assert len(dataset) == num_scenes
    values, numbers = np.unique(dataset.scenes.count, return_counts=True)
    assert set(values.tolist()) == counts
    assert np.abs(numbers / num_scenes - 1 / 4).max() < 0.03


def test_the_second_test_split_has_seven_objects():
    dataset = load_dataset("multi-dsprites", "test-7")
    assert len(dataset) == 10_000
    assert (dataset.scenes.count == 7).all()
    assert dataset[:2].shape == (2, 64, 64, 3)


@pytest.mark.parametrize(
    ("name", "sprites", "channels"),
    [("multi-mnist-1k", 1000, 1), ("multi-mnist-10k", 10_000, 1), ("multi-dsprites", 5040, 3)],
)
def test_data_sets_have_their_banks_and_use_all_of_them(name, sprites, channels):
    dataset = load_dataset(name, "validation")
    assert len(dataset.bank) == sprites
    assert dataset[:3].shape == (3, 64, 64, channels)
    used = dataset.scenes.sprite_index[dataset.scenes.mask]
    # 3,000 draws on average: about 1 - exp(-3000 / sprites) of the bank.
    assert len(np.unique(used)) / sprites == pytest.approx(1 - np.exp(-len(used) / sprites), abs=0.03)


def test_splits_seeds_and_data_sets_differ_from_each_other():
    validation = load_dataset("multi-dsprites", "validation")
    others = [
        load_dataset("multi-dsprites", "test"),
        load_dataset("multi-dsprites", "train"),
        load_dataset("multi-dsprites", "validation", seed=1),
        load_dataset("multi-mnist-1k", "validation"),
    ]
    for other in others:
        for name in ("count", "sprite_index", "location"):
            ours, theirs = getattr(validation.scenes, name), getattr(other.scenes, name)[:2000]
            # Independent draws agree here and there, but not more than chance has it: 1/4 of the counts.
            assert (ours == theirs).mean() < 0.45, name


DIGESTS = {
    "multi-mnist-1k": (
        "03a7c113fa64be60fd549b47466ab9e660820d22bc88ce715349d79d6f39936d",
        "51b88758f5ddc3f32ee4469048e62c3b086fff5ac07255baa3b9e7152e17565d",
    ),
    "multi-mnist-10k": (
        "ccec246b8c5afaf6931e02c019711be65f5743857092cd9ea626f61a28202e5b",
        "178d97cbf3c7d11b5409f1b6d00a1d2ce4a2b354c5c3af785d5ffa772e2d3638",
    ),
    "multi-dsprites": (
        "40da250041f1bcb26a9ed6882e92f5a60deeafb90941e2b725b2b27117bc2ef8",
        "2191973d8768a103421b3ddbae385a79aabd426971c73ab2c4d2c1bb9ae30bb7",
    ),
}


@pytest.mark.parametrize("name", DATASETS)
def test_the_same_name_and_seed_give_the_same_bytes_on_every_machine(name):
    dataset = load_dataset(name, "validation", seed=0)
    scenes = dataset.scenes
    raw = b"".join(array.tobytes() for array in (scenes.sprite_index, scenes.location, scenes.count))
    digests = tuple(hashlib.sha256(part).hexdigest() for part in (raw, dataset[:100].tobytes()))
    assert digests == DIGESTS[name]


@pytest.mark.parametrize(
    ("name", "split", "options", "message"),
    [
        ("multi-mnist", "test", {}, "multi-mnist-1k, multi-mnist-10k, multi-dsprites, got 'multi-mnist'"),
        ("multi-dsprites", "dev", {}, "train, validation, test, test-7, got 'dev'"),
        ("multi-dsprites", "test", {"mnist_dir": "mnist"}, "multi-dsprites has no digits: leave mnist_dir out"),
        ("multi-dsprites", "test", {"seed": -1}, "non-negative"),
    ],
    ids=["name", "split", "mnist_dir", "seed"],
)
def test_settings_that_cannot_be_are_refused(name, split, options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(name, split, **options)


def test_all_sources_of_the_same_sprites_share_their_bank():
    spec = SceneSpec("multi-dsprites", patch_size=10, canvas_size=24, max_objects=2)
    bank = spec.bank()
    assert open_source(spec, "test").bank is open_source(spec, "validation").bank is bank
    assert open_source(dataclasses.replace(spec, seed=3, canvas_size=32), "validation").bank is bank
    assert dataclasses.replace(spec, patch_size=12).bank() is not bank


def test_a_source_has_the_shape_of_its_frames(small):
    assert isinstance(small, FrameSource)
    assert small.shape == (64, 64, 3)
    assert open_source(SceneSpec("multi-mnist-1k", canvas_size=40), "validation").shape == (40, 40, 1)


def test_a_prepared_source_preprocesses_the_frames_that_are_read(small):
    preprocessing = Preprocessing(channels=1, resize=(32, 48), threshold=20)
    source = prepared(small, preprocessing)
    assert isinstance(source, FrameSource)
    assert source.shape == (32, 48, 1)
    assert len(source) == len(small)
    for index in (slice(2, 5), np.array([9, 2]), small.scenes.count == 3):
        frames = source[index]
        assert frames.shape[1:] == source.shape
        np.testing.assert_array_equal(frames, preprocessing(small[index]))


@pytest.mark.parametrize(
    ("preprocessing", "shape"),
    [
        (Preprocessing(), (64, 64, 3)),
        (Preprocessing(threshold=127), (64, 64, 3)),
        (Preprocessing(channels=1), (64, 64, 1)),
        (Preprocessing(resize=(32, 48)), (32, 48, 3)),
        (Preprocessing(palette=[((255, 0, 0), (255, 255, 255))], channels=1), (64, 64, 1)),
    ],
    ids=["none", "threshold", "grey", "resize", "palette"],
)
def test_a_prepared_source_has_the_shape_of_its_frames(preprocessing, shape, small):
    source = Prepared(small, preprocessing)
    assert source.shape == shape
    assert source[:2].shape == (2, *shape)


def test_without_preprocessing_a_source_stays_what_it_is(small):
    assert prepared(small, Preprocessing()) is small


def test_indexing_renders_the_chosen_scenes(small):
    frames = small[:]
    assert frames.shape == (20, 64, 64, 3)
    np.testing.assert_array_equal(small[4:7], frames[4:7])
    np.testing.assert_array_equal(small[np.array([9, 2])], frames[[9, 2]])
    assert (frames.any(axis=(1, 2, 3)) == (small.scenes.count > 0)).all()


def test_a_saved_file_comes_back_without_pickle(small, tmp_path):
    save_npz(tmp_path / "small.npz", small)
    frames, count = load_npz(tmp_path / "small.npz")
    np.testing.assert_array_equal(frames, small[:])
    np.testing.assert_array_equal(count, small.scenes.count)
    with np.load(tmp_path / "small.npz") as data:
        np.testing.assert_array_equal(data["location"], small.scenes.location)
        mask = small.scenes.mask
        used = small.scenes.sprite_index[mask]
        for name in ("shape", "scale", "angle", "color"):
            np.testing.assert_array_equal(data[name][mask], small.bank.attributes[name][used])


def test_a_saved_file_has_the_labels_of_the_authors_generator(small, tmp_path):
    save_npz(tmp_path / "small.npz", small)
    with np.load(tmp_path / "small.npz", allow_pickle=True) as data:
        labels = data["labels"].item()
    assert set(labels) == {"n_obj", "shape", "scale", "angle", "color", "location"}
    assert labels["n_obj"].tolist() == small.scenes.count.tolist()
    for name in ("shape", "scale", "angle", "color", "location"):
        assert [len(values) for values in labels[name]] == small.scenes.count.tolist()


def test_a_data_set_without_objects_can_be_saved(small, tmp_path):
    none = Scenes(np.zeros((2, 0), np.int32), np.zeros((2, 0, 2), np.int16), np.zeros(2, np.int64), (64, 64))
    save_npz(tmp_path / "none.npz", SceneDataset(none, small.bank))
    frames, count = load_npz(tmp_path / "none.npz")
    assert frames.shape == (2, 64, 64, 3)
    assert count.tolist() == [0, 0]


@pytest.fixture
def authors_file(tmp_path):
    """A file as the author's generator writes it: the only labels are a pickled dictionary of lists of arrays."""
    labels = {"n_obj": [1, 0, 2], "label": [np.array([7]), np.array([]), np.array([4, 9])]}
    x = np.zeros((3, 8, 9, 1), np.uint8)
    x[2, 3, 4] = 255
    np.savez_compressed(tmp_path / "author.npz", x=x, labels=np.array(labels, dtype=object))
    return tmp_path / "author.npz"


def test_pickled_labels_are_refused_unless_allowed(authors_file):
    with pytest.raises(ValueError, match=r"pickled, and unpickling runs code .* allow_pickle=True \(--allow-pickle\)"):
        load_npz(authors_file)
    frames, count = load_npz(authors_file, allow_pickle=True)
    assert count.tolist() == [1, 0, 2]
    assert frames.shape == (3, 8, 9, 1)
    assert frames[2, 3, 4, 0] == 255


def test_pickle_is_left_alone_where_plain_counts_are_there(small, tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("the file was unpickled",)

    np.savez(tmp_path / "bomb.npz", x=small[:2], labels=np.array(Bomb(), dtype=object), n_obj=small.scenes.count[:2])
    for allowed in (False, True):
        assert len(load_npz(tmp_path / "bomb.npz", allow_pickle=allowed)[1]) == 2


IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES, "n_obj": np.zeros(2, int)}, r"arrays 'x' and 'labels' .*got \['images', 'n_obj'\]"),
        ({"x": IMAGES}, r"got \['x'\]"),
        ({"x": IMAGES / 255, "n_obj": np.zeros(2, int)}, r"uint8 \(N, .*got float64 \(2, 8, 8, 3\)"),
        ({"x": IMAGES[0], "n_obj": np.zeros(8, int)}, r"got uint8 \(8, 8, 3\)"),
        ({"x": IMAGES, "n_obj": np.zeros(3, int)}, r"N counts .*got uint8 \(2, 8, 8, 3\) and \(3,\)"),
        ({"x": np.array([{}, {}]), "n_obj": np.zeros(2, int)}, "Object arrays cannot be loaded"),
        ({"x": IMAGES, "labels": {"count": [0, 0]}}, "to be a dictionary with a key 'n_obj'"),
        ({"x": IMAGES, "labels": np.array([0, 0])}, "to be a dictionary with a key 'n_obj'"),
    ],
    ids=["no x", "no labels", "float", "one frame", "counts", "pickled frames", "labels without counts", "label array"],
)
def test_foreign_files_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "foreign.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_npz(tmp_path / "foreign.npz", allow_pickle=True)


@pytest.mark.parametrize("keep", [0, 100, 0.5, -1], ids=["empty", "header", "half", "last byte"])
def test_truncated_files_are_refused(small, tmp_path, keep):
    path = tmp_path / "cut.npz"
    save_npz(path, small)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="is not an npz file or is truncated"):
        load_npz(path)


@pytest.mark.parametrize("compressed", [False, True], ids=["stored", "compressed"])
def test_files_with_damaged_contents_are_refused(tmp_path, compressed):
    path = tmp_path / "damaged.npz"
    noise = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    (np.savez_compressed if compressed else np.savez)(path, x=noise, n_obj=np.zeros(4, int))
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("x.npy").header_offset + 1000
    raw = bytearray(path.read_bytes())
    raw[start : start + 500] = b"\xff" * 500
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"damaged.npz is damaged \("):
        load_npz(path)


def test_a_picture_is_not_an_npz_file(tmp_path):
    (tmp_path / "cat.npz").write_bytes(b"\x89PNG\r\n" + bytes(100))
    with pytest.raises(ValueError, match="is not an npz file"):
        load_npz(tmp_path / "cat.npz")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        load_npz(tmp_path / "nothing.npz")


def test_smaller_scenes_have_small_sprites_and_room_for_seven():
    spec = SceneSpec("multi-dsprites", canvas_size=24, patch_size=10, max_objects=2)
    few = open_source(spec, "validation")
    assert few[:2].shape == (2, 24, 24, 3)
    assert few.bank.size == 10
    assert set(few.scenes.count) == {0, 1, 2}
    seven = open_source(spec, "test-7")
    assert seven.scenes.canvas_size == (36, 36)  # 64 px for patches of 18 px
    assert set(seven.scenes.count) == {7}


def test_the_papers_sizes_are_the_default():
    given = load_dataset("multi-dsprites", "validation", canvas_size=64, patch_size=18, max_objects=3)
    np.testing.assert_array_equal(given[:50], load_dataset("multi-dsprites", "validation")[:50])


def test_an_array_in_place_of_an_npz_is_refused_with_the_way_to_save_one(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4, 1), np.uint8))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"got one array in .*a\.npz: save both, by np\.savez"):
        load_npz(tmp_path / "a.npz")
