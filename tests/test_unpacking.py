import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from lavae_rl.data.npy import NpyFrames
from lavae_rl.data.unpacking import natural, unpack


def _frames(number=12, size=(32, 48)):
    frames = np.zeros((number, *size, 3), np.uint8)
    for i in range(number):
        frames[i, 8:16, 2 * i : 2 * i + 12] = (255, 128, 0)
    return frames


def _save_png(path: Path, frame: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), frame[..., ::-1] if frame.ndim == 3 else frame)


def _read(path):
    return [NpyFrames(file)[:] for file in unpack(path)]


def test_names_are_ordered_by_their_numbers():
    names = ["frame-10.png", "frame-2.png", "a.png", "1a.png", "frame-²x.png", "frame-02b.png"]
    ordered = [path.name for path in sorted(map(Path, names), key=natural)]
    assert ordered.index("frame-2.png") < ordered.index("frame-10.png")


def test_pngs_are_rgb_in_natural_order(tmp_path):
    for i, frame in enumerate(_frames()):
        _save_png(tmp_path / f"frame-{i}.png", frame)
    (found,) = _read(tmp_path)
    np.testing.assert_array_equal(found, _frames())


def test_folders_of_pngs_are_episodes(tmp_path):
    for i, frame in enumerate(_frames()):
        _save_png(tmp_path / f"game {10 if i > 6 else 9}" / f"{i}.PNG", frame)
    first, second = _read(tmp_path)
    np.testing.assert_array_equal(first, _frames()[:7])
    np.testing.assert_array_equal(second, _frames()[7:])


def test_grey_and_transparent_pngs_are_read(tmp_path):
    grey, clear = np.full((4, 6), 9, np.uint8), np.full((4, 6, 4), (3, 2, 1, 200), np.uint8)
    (tmp_path / "grey").mkdir()
    (tmp_path / "clear").mkdir()
    cv2.imwrite(str(tmp_path / "grey" / "0.png"), grey)
    cv2.imwrite(str(tmp_path / "clear" / "0.png"), clear)
    np.testing.assert_array_equal(_read(tmp_path / "grey")[0][0], grey[..., None])
    assert _read(tmp_path / "clear")[0][0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("compressed", [True, False])
def test_of_an_npz_only_x_is_read_and_nothing_is_unpickled(tmp_path, compressed):
    labels = np.array({"n_obj": [1]}, dtype=object)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", x=_frames(), labels=labels)
    np.testing.assert_array_equal(_read(tmp_path / "a.npz")[0], _frames())


@pytest.mark.parametrize(("ending", "codec"), [(".mp4", "mp4v"), (".avi", "MJPG"), (".mkv", "mp4v")])
def test_videos_are_decoded_in_rgb(tmp_path, ending, codec):
    path = tmp_path / f"a{ending}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 30, (48, 32))
    for frame in _frames():
        writer.write(frame[..., ::-1])
    writer.release()
    (found,) = _read(path)
    assert found.shape == (12, 32, 48, 3)
    assert np.abs(found.astype(int) - _frames()).mean() < 8  # these codecs are lossy
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"a{ending} is damaged, or OpenCV cannot read its codec"):
        unpack(path)


def test_files_are_unpacked_once_until_they_change(tmp_path):
    np.savez(tmp_path / "a.npz", x=_frames())
    first = unpack(tmp_path / "a.npz")
    assert unpack(tmp_path / "a.npz") == first
    np.savez(tmp_path / "a.npz", x=_frames()[:5])
    os.utime(tmp_path / "a.npz", ns=(1, 1))
    assert len(_read(tmp_path / "a.npz")[0]) == 5


def test_damaged_files_are_refused_by_name(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"a\.npz is not an npz file or is truncated"):
        unpack(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", x=_frames())
    content = bytearray((tmp_path / "b.npz").read_bytes())
    content[100:140] = bytes(40)
    (tmp_path / "b.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"b\.npz is damaged"):
        unpack(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", y=_frames())
    with pytest.raises(ValueError, match=r"array 'x' of frames in .*c\.npz, got \['y\.npy'\]"):
        unpack(tmp_path / "c.npz")


@pytest.mark.parametrize("content", [b"", b"text"])
def test_damaged_pngs_are_refused_by_name(tmp_path, content):
    _save_png(tmp_path / "0.png", _frames()[0])
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.png is damaged or no PNG"):
        unpack(tmp_path)


def test_pngs_of_16_bits_are_refused(tmp_path):
    _save_png(tmp_path / "0.png", np.zeros((4, 4), np.uint16))
    with pytest.raises(TypeError, match=r"8 bits a channel, got uint16 in .*0\.png"):
        unpack(tmp_path)


@pytest.mark.parametrize("folders", [("", ""), ("a", "b")], ids=["in an episode", "between episodes"])
def test_the_first_png_of_another_size_is_named(tmp_path, folders):
    _save_png(tmp_path / folders[0] / "0.png", np.zeros((4, 6, 3), np.uint8))
    _save_png(tmp_path / folders[1] / "1.png", np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r"\(4, 6, 3\) in .*0\.png and \(5, 6, 3\) in .*1\.png"):
        unpack(tmp_path)


def test_folders_without_frames_or_with_two_kinds_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected .npy files, PNGs or folders of PNGs in"):
        unpack(tmp_path)
    _save_png(tmp_path / "0.png", _frames()[0])
    _save_png(tmp_path / "a" / "0.png", _frames()[0])
    with pytest.raises(ValueError, match="got both"):
        unpack(tmp_path)
