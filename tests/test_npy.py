import numpy as np
import pytest

from lavae_rl.data.npy import NpyFrames, write_frames


def _frames(number=5, shape=(4, 6, 3), seed=0):
    return np.random.default_rng(seed).integers(1, 256, (number, *shape), np.uint8)


def test_frames_written_one_by_one_make_the_file_that_numpy_saves(tmp_path):
    assert write_frames(tmp_path / "a.npy", iter(_frames(1_234))) == 1_234
    np.save(tmp_path / "b.npy", _frames(1_234))
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_frames_of_changing_size_are_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"\(4, 6, 3\) as the first, got \(5, 6, 3\) as 1"):
        write_frames(tmp_path / "a.npy", [np.zeros((4, 6, 3), np.uint8), np.zeros((5, 6, 3), np.uint8)])


@pytest.mark.parametrize("index", [slice(1, 4), np.array([3, 0, 3]), np.array([True, False, True, False, False])])
@pytest.mark.parametrize("order", ["C", "F"])
def test_frames_on_disk_are_indexed_as_arrays_are(tmp_path, index, order):
    np.save(tmp_path / "a.npy", np.asarray(_frames(), order=order))
    np.testing.assert_array_equal(NpyFrames(tmp_path / "a.npy")[index], _frames()[index])


def test_grey_frames_get_a_channel(tmp_path):
    np.save(tmp_path / "a.npy", _frames(shape=(4, 6)))
    found = NpyFrames(tmp_path / "a.npy")
    assert found.shape == (5, 4, 6, 1)
    np.testing.assert_array_equal(found[1:3], _frames(shape=(4, 6))[1:3, ..., None])


def test_a_single_bright_pixel_anywhere_makes_a_frame_lit(tmp_path):
    frames = np.zeros((300, 20, 20, 3), np.uint8)
    frames[7, 3, 5, 1] = frames[299, 19, 19, 2] = frames[100, 8, 8, 0] = 1
    np.save(tmp_path / "a.npy", frames)
    assert np.flatnonzero(NpyFrames(tmp_path / "a.npy").lit()).tolist() == [7, 100, 299]


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (
            np.zeros((2, 4, 4, 3), np.float32),
            TypeError,
            r"got float32: save .*\(frames \* 255\).round\(\).astype",
        ),
        (np.ones((2, 4, 4), bool), TypeError, "got bool"),
        (np.zeros((4, 4), np.uint8), ValueError, r"got shape \(4, 4\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), ValueError, r"frames.transpose\(0, 2, 3, 1\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), ValueError, r"a.npy.*shape \(0, 8, 8, 3\)|a.npy is damaged"),
        (np.array([None]), ValueError, "a.npy is damaged or no .npy file of numbers"),
    ],
    ids=["float", "bool", "one", "channels first", "none", "objects"],
)
def test_other_arrays_than_frames_are_refused_by_name(tmp_path, array, error, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(error, match=message):
        NpyFrames(tmp_path / "a.npy")


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00v\x00{"], ids=["empty", "text", "header"])
def test_damaged_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy is damaged"):
        NpyFrames(tmp_path / "a.npy")


def test_a_truncated_file_is_refused_by_name(tmp_path):
    np.save(tmp_path / "a.npy", _frames())
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-10])
    with pytest.raises(ValueError, match=r"a\.npy is damaged"):
        NpyFrames(tmp_path / "a.npy")
