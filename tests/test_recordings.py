import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.manifest import Rollouts, write_manifest
from lavae_rl.data.recordings import SPLIT_SHARES, FrameSpec, open_recording
from lavae_rl.data.sources import SceneSpec, SourceSpec, open_source
from lavae_rl.runs.config import parse


def _frames(number, start=0, shape=(8, 10, 3)):
    """Frames that are told apart by their values, from 1."""
    index = np.arange(start, start + number)
    return np.broadcast_to((index % 250 + 1).astype(np.uint8)[:, None, None, None], (number, *shape)).copy()


def _save_episodes(folder: Path, *lengths: int) -> np.ndarray:
    start = 0
    for i, length in enumerate(lengths):
        np.save(folder / f"episode-{i}.npy", _frames(length, start))
        start += length
    return _frames(start)


def test_a_folder_of_arrays_is_a_frame_source_with_episodes(tmp_path):
    frames = _save_episodes(tmp_path, 3, 1, *[2] * 10)
    found = open_recording(tmp_path)
    assert isinstance(found, FrameSource)
    assert (len(found), found.shape, found.skipped) == (24, (8, 10, 3), 0)
    assert found.episodes.tolist() == [0, 3, 4, *range(6, 25, 2)]  # episode 10 after 9
    chosen = np.random.default_rng(0).integers(24, size=50)
    for index in (slice(None), slice(2, 9), slice(20, None, -3), chosen, chosen - 24, np.arange(24) % 5 == 0):
        np.testing.assert_array_equal(found[index], frames[index])
    assert found[np.array([], int)].shape == (0, 8, 10, 3)


def test_black_frames_are_left_out_and_counted(tmp_path):
    frames = _frames(12)
    frames[[0, 4, 5, 11]] = 0
    np.save(tmp_path / "0.npy", frames[:6])
    np.save(tmp_path / "1.npy", np.zeros_like(frames))
    np.save(tmp_path / "2.npy", frames[6:])
    found = open_recording(tmp_path)
    assert found.skipped == 4 + 12
    assert found.episodes.tolist() == [0, 3, 8]
    np.testing.assert_array_equal(found[:], frames[frames.any(axis=(1, 2, 3))])


def test_files_of_every_kind_hold_the_same_frames(tmp_path):
    frames = _frames(12)
    np.save(tmp_path / "a.npy", frames)
    np.savez_compressed(tmp_path / "a.npz", x=frames)
    (tmp_path / "pngs").mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / "pngs" / f"{i}.png"), frame)
    for name in ("a.npy", "a.npz", "pngs"):
        np.testing.assert_array_equal(open_recording(tmp_path / name)[:], frames)


@pytest.mark.parametrize(
    ("lengths", "ends"),
    [
        ((100,), (70, 85)),
        ((30, 30, 40), (70, 85)),
        ((20,) * 5, (60, 80)),
        ((10,) * 10, (70, 80)),
        ((1_000, 10, 10, 10, 10), (728, 884)),
        ((10, 10, 10, 10, 1_000), (728, 884)),
        ((70, 15, 15), (70, 85)),
    ],
    ids=str,
)
def test_splits_are_whole_episodes_where_these_fit_and_parts_otherwise(tmp_path, lengths, ends):
    frames = _save_episodes(tmp_path, *lengths)
    found = open_recording(tmp_path)
    bounds = zip((0, *ends), (*ends, len(frames)), strict=True)
    for name, (first, end) in zip(SPLIT_SHARES, bounds, strict=True):
        split = found.split(name)
        np.testing.assert_array_equal(split[:], frames[first:end])
        starts = {0, *(np.cumsum(lengths) - first).tolist(), end - first}
        assert split.episodes.tolist() == sorted(start for start in starts if 0 <= start <= end - first)


def test_splits_that_cannot_be_made_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", _frames(9))
    with pytest.raises(ValueError, match="split of train, validation, test, got 'dev'"):
        open_recording(tmp_path).split("dev")
    with pytest.raises(ValueError, match="at least 10 frames to split, got 9"):
        open_recording(tmp_path).split("train")


def test_sources_open_recordings_by_their_settings(tmp_path):
    np.save(tmp_path / "a.npy", _frames(20))
    np.testing.assert_array_equal(open_source(FrameSpec(str(tmp_path)), "test")[:], _frames(3, 17))


@pytest.mark.parametrize("spec", [FrameSpec("a/b"), SceneSpec("multi-mnist-1k", seed=3)], ids=["frames", "scenes"])
def test_settings_of_sources_survive_json(spec):
    from dataclasses import make_dataclass

    holder = make_dataclass("Holder", [("data", SourceSpec)])
    assert parse(holder, {"data": asdict(spec)}, Path("config.json")).data == spec


def _collected(folder: Path, *lengths: int) -> Rollouts:
    _save_episodes(folder, *lengths)
    for i in range(len(lengths)):
        (folder / f"episode-{i}.npy").rename(folder / f"episode-{i:05d}.npy")
    manifest = Rollouts("Some-v0", {}, "random", sum(lengths), episodes=list(lengths), skipped=7)
    write_manifest(manifest, folder)
    return manifest


def test_of_a_collected_folder_the_episodes_of_the_manifest_are_read(tmp_path):
    manifest = _collected(tmp_path, 4, 6)
    (tmp_path / "episode-00002.tmp.npy").write_bytes(b"of a run that was killed")
    found = open_recording(tmp_path)
    assert (found.episodes.tolist(), found.skipped) == ([0, 4, 10], 7)
    np.save(tmp_path / "episode-00001.npy", _frames(5))
    with pytest.raises(ValueError, match=r"expected 6 frames in .*episode-00001\.npy by its manifest, got 5"):
        open_recording(tmp_path)
    (tmp_path / "episode-00001.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"episode-00001\.npy"):
        open_recording(tmp_path)
    manifest.episodes = []
    write_manifest(manifest, tmp_path)
    with pytest.raises(ValueError, match=r"got none yet: go on collecting them with --resume"):
        open_recording(tmp_path)


def test_what_holds_no_frames_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file or folder"):
        open_recording(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="there are none"):
        open_recording(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"a folder, \.npy, \.npz or a video .*, got .*a\.txt"):
        open_recording(tmp_path / "a.txt")
    np.save(tmp_path / "a.npy", np.zeros((5, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"expected frames that show something in .*, got 5 that are black"):
        open_recording(tmp_path)


def test_the_first_file_of_another_size_is_named(tmp_path):
    np.save(tmp_path / "0.npy", _frames(4))
    np.save(tmp_path / "1.npy", _frames(4, shape=(8, 10, 1)))
    with pytest.raises(ValueError, match=r"\(8, 10, 3\) in .*0\.npy and \(8, 10, 1\) in .*1\.npy"):
        open_recording(tmp_path)


def test_errors_name_the_file_that_was_given_and_no_temporary_one(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((5, 4, 4, 3)))
    with pytest.raises(TypeError, match=rf"expected frames as uint8 in {tmp_path}/a\.npz, got float64"):
        open_recording(tmp_path / "a.npz")


_MEASURE = """
import resource, sys
import numpy as np
from lavae_rl.data.recordings import open_recording

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak()
source = open_recording(sys.argv[1]).split("train")
for seed in range(20):
    source[np.random.default_rng(seed).integers(len(source), size=64)]
print(len(source), peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units elsewhere")
def test_100_000_frames_stay_on_disk(tmp_path):
    block = np.full((2_000, 64, 64, 1), 3, np.uint8)
    for i in range(50):
        np.save(tmp_path / f"{i}.npy", block)
    done = subprocess.run([sys.executable, "-c", _MEASURE, tmp_path], capture_output=True, text=True, check=True)
    number, megabytes = map(float, done.stdout.split())
    assert number == 70_000
    assert megabytes < 60  # the file has 410


@pytest.mark.parametrize(
    ("saved", "name", "folder"),
    [("a.npy", "b.npz", False), ("a.npz", "b.npy", False), ("a.npz", "b.npy", True), ("a.npy", "b.NPY", False)],
)
def test_arrays_are_opened_by_what_they_hold(saved, name, folder, tmp_path):
    frames = _frames(12)
    if saved.endswith("npz"):
        np.savez_compressed(tmp_path / saved, x=frames)
    else:
        np.save(tmp_path / saved, frames)
    (tmp_path / "folder").mkdir()
    (tmp_path / saved).rename(tmp_path / "folder" / name)
    recording = open_recording(tmp_path / "folder" if folder else tmp_path / "folder" / name)
    np.testing.assert_array_equal(recording[:], frames)
