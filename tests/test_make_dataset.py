import cv2
import numpy as np
import pytest

from lavae_rl.data.files import load_npz
from lavae_rl.data.sources import load_dataset
from lavae_rl.pretrain.make_dataset import main


def _export(path, *more, dataset="multi-dsprites", split="validation"):
    main(["--dataset", dataset, "--split", split, "--out", str(path), *map(str, more)])


@pytest.mark.parametrize(
    ("dataset", "split", "counts"), [("multi-dsprites", "validation", {0, 1, 2, 3}), ("multi-mnist-1k", "test-7", {7})]
)
def test_an_exported_file_holds_the_first_scenes_of_the_split(tmp_path, capsys, dataset, split, counts):
    _export(tmp_path / "some.npz", "--num-scenes", 40, "--seed", 2, dataset=dataset, split=split)
    frames, count = load_npz(tmp_path / "some.npz")
    expected = load_dataset(dataset, split, seed=2)
    np.testing.assert_array_equal(frames, expected[:40])
    np.testing.assert_array_equal(count, expected.scenes.count[:40])
    assert set(count.tolist()) == counts
    said = " ".join(capsys.readouterr().out.split())
    channels = expected.bank.channels
    assert f"some.npz: 40 frames of 64 x 64 x {channels}, " in said
    assert f"({40 * 64 * 64 * channels / 1e6:.2f} MB in memory)" in said


def test_the_whole_split_of_seed_0_is_the_default(tmp_path):
    _export(tmp_path / "all.npz", dataset="multi-mnist-1k")
    frames, _ = load_npz(tmp_path / "all.npz")
    np.testing.assert_array_equal(frames, load_dataset("multi-mnist-1k", "validation")[:])


@pytest.mark.parametrize(
    ("num_scenes", "rows", "black"), [(40, 4, 0), (6, 2, 2), (1, 1, 3)], ids=["full", "two rows", "one scene"]
)
def test_a_preview_shows_the_first_frames_with_true_centres_marked(tmp_path, num_scenes, rows, black):
    _export(tmp_path / "a.npz", "--num-scenes", num_scenes, "--preview", tmp_path / "a.png", split="test-7")
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    picture = picture[..., ::-1]
    side = 3 * 64 + 4
    assert picture.shape == (rows * side, 4 * side, 3)
    scenes = load_dataset("multi-dsprites", "test-7").scenes
    for i in range(min(num_scenes, 16)):
        for row, column in scenes.location[i].tolist():
            pixel = picture[i // 4 * side + 2 + 3 * row + 1, i % 4 * side + 2 + 3 * column + 1]
            assert pixel.tolist() == [255, 160, 0]
    empty = picture[-side:, 4 * side - black * side :]
    assert empty.shape[1] == black * side
    assert not empty.any()


def test_checking_prints_shape_type_and_how_many_scenes_have_how_many_objects(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", x=np.zeros((8, 5, 6, 3), np.uint8), n_obj=np.array([0, 3, 3, 11, 3, 0, 3, 3]))
    main(["--check", str(tmp_path / "a.npz")])
    said = capsys.readouterr().out
    assert "x is uint8 (8, 5, 6, 3)" in said
    rows = [line.replace("│", " ").split() for line in said.splitlines() if "%" in line]
    assert rows == [["0", "2", "25.0%"], ["3", "5", "62.5%"], ["11", "1", "12.5%"]]


def test_checking_unpickles_only_with_allow_pickle(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 5, 6, 3), np.uint8), labels=np.array({"n_obj": [1, 2]}, dtype=object))
    with pytest.raises(SystemExit, match="1"):
        main(["--check", str(tmp_path / "a.npz")])
    assert "--allow-pickle" in capsys.readouterr().out
    main(["--check", str(tmp_path / "a.npz"), "--allow-pickle"])
    assert "uint8 (2, 5, 6, 3)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "more", "message"),
    [
        ("there.npz", [], "there.npz is there already; remove it first"),
        ("new.npz", ["--preview", "there.png"], "there.png is there already"),
        ("no/new.npz", [], "the folder of no/new.npz does not exist"),
        ("new.npz", ["--preview", "no/new.png"], "the folder of no/new.png does not exist"),
        ("new.npy", [], "expected the name of a .npz file, got new.npy"),
        ("new.npz", ["--preview", "new.jpg"], "expected the name of a .png file, got new.jpg"),
        ("new.npz", ["--num-scenes", "0"], "expected --num-scenes of 1 to 2000 for validation, got 0"),
        ("new.npz", ["--num-scenes", "2001"], "expected --num-scenes of 1 to 2000 for validation, got 2001"),
        ("new.npz", ["--seed", "-1"], "non-negative"),
        ("new.npz", ["--mnist-dir", "[/x]"], "multi-dsprites has no digits"),
        ("[/x]/new.npz", [], "the folder of [/x]/new.npz does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_exported_is_one_line_and_exit_status_1(tmp_path, monkeypatch, capsys, out, more, message):
    monkeypatch.chdir(tmp_path)
    before = {"there.npz": b"kept", "there.png": b"kept too"}
    for name, contents in before.items():
        (tmp_path / name).write_bytes(contents)
    with pytest.raises(SystemExit, match="1"):
        _export(out, *more)
    said = capsys.readouterr().out
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_cannot_be_read_is_one_line_and_exit_status_1(tmp_path, capsys):
    (tmp_path / "[red]cat.npz").write_bytes(b"meow")
    with pytest.raises(SystemExit, match="1"):
        main(["--check", str(tmp_path / "[red]cat.npz")])
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "[red]cat.npz is not an npz file" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "one of the arguments --dataset --check is required"),
        ("--dataset multi-dsprites --check a.npz", "argument --check: not allowed with argument --dataset"),
        ("--dataset multi-dsprites --split test", "--dataset needs --split and --out as well"),
        ("--dataset multi-dsprites --out a.npz", "--dataset needs --split and --out as well"),
        ("--dataset multi-dsprites --split test --out a.npz --allow-pickle", "--allow-pickle: not allowed with"),
        ("--check a.npz --out b.npz", "--out: not allowed with argument --check"),
        ("--check a.npz --seed 0", "--seed: not allowed with argument --check"),
        ("--check a.npz --num-scenes 5", "--num-scenes: not allowed with argument --check"),
        ("--dataset dsprites --split test --out a.npz", "invalid choice: 'dsprites'"),
        ("--dataset multi-dsprites --split dev --out a.npz", "invalid choice: 'dev'"),
        ("--dataset multi-dsprites --split test --out a.npz --num 5", "unrecognized arguments: --num 5"),
    ],
    ids=str,
)
def test_unusable_arguments_are_exit_status_2(capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())
    assert message in capsys.readouterr().err


def test_help_says_how_much_memory_the_training_split_needs(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "2.3 GB" in capsys.readouterr().out
