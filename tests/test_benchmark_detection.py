import json
from itertools import islice
from pathlib import Path

import detection
import numpy as np
import pytest
from truths.games import open_game
from truths.sprites import paint
from truths.truth import Game, Moment, Truth, record

from lavae_rl.data.sources import load_dataset
from lavae_rl.evaluation.components import ComponentDetector, background_states


def truth_of(boxes: list[list[list[int]]], category: list[list[str]], playfield=(0, 0, 50, 50)) -> Truth:
    frames = np.zeros((len(boxes), 50, 50, 3), np.uint8)
    return Truth(frames, [np.array(b, int).reshape(-1, 4) for b in boxes], [np.array(c) for c in category], playfield)


def test_category_that_stays_put_is_static_even_if_some_of_it_vanishes():
    pills = [[[2, 2, 2, 2], [2, 6, 2, 2]]] * 30 + [[[2, 6, 2, 2]]] * 10
    boxes = [[*p, [10 + i % 20, 5, 4, 4]] for i, p in enumerate(pills)]
    truth = truth_of(boxes, [["pill"] * len(p) + ["ghost"] for p in pills])
    assert truth.static() == {"pill"}
    assert [each.tolist() for each in truth.judged().category] == [["ghost"]] * 40


def test_objects_that_are_placed_anew_in_each_episode_are_not_static():
    boxes = [[[2 + 3 * (i // 10), 2, 2, 2]] for i in range(60)]
    assert truth_of(boxes, [["key"]] * 60).static() == set()


def test_objects_outside_the_playfield_do_not_count():
    truth = truth_of([[[0, 0, 8, 8], [6, 0, 8, 8], [30 + i, 0, 8, 8]] for i in range(9)], [["a", "b", "c"]] * 9)
    inner = Truth(truth.frames, truth.boxes, truth.category, (10, 0, 26, 50)).judged()
    # Box b has its centre on the border of the playfield, which belongs to it, but b never moves.
    assert [c.tolist() for c in inner.category] == [["c"], ["c"], *[[]] * 7]


def test_object_is_visible_if_a_pixel_of_its_box_differs():
    truth = truth_of([[[5, 5, 4, 4], [20, 20, 4, 4], [-3, 47, 5, 9]]], [["a", "b", "c"]])
    different = np.zeros((1, 50, 50), bool)
    different[0, 8, 8] = different[0, 24, 20] = different[0, 0, 49] = True
    assert truth.visible(different)[0].tolist() == [True, False, True]


def test_covered_sprite_counts_if_half_of_it_shows():
    square = np.full((8, 8, 4), 255, np.uint8)
    background = np.zeros((40, 40, 3), np.uint8)
    for shift, boxes in ((4, [(5, 5, 8, 4), (5, 9, 8, 8)]), (3, [(5, 8, 8, 8)])):
        frame, found, _ = paint(background, [square, square], np.array([[5, 5], [5, 5 + shift]]))
        assert found == boxes
        assert (frame[..., 0] > 0).sum() == 8 * (8 + shift)


@pytest.mark.parametrize("name", ["sprites-plain", "sprites-coloured", "sprites-textured", "sprites-changing"])
def test_boxes_of_sprites_are_exact(name: str):
    play = open_game(name, None).play
    for moment in islice(play(3), 0, 40, 13):
        for row, column, height, width in moment.boxes:
            assert 0 <= row < row + height <= 96
            assert 0 <= column < column + width <= 96
    again = next(play(3))
    assert (next(play(3)).frame == again.frame).all()
    assert not (next(play(4)).frame == again.frame).all()


def test_boxes_cover_every_sprite_over_a_plain_background():
    full = 0
    for moment in islice(open_game("sprites-plain", None).play(0), 60):
        different = (moment.frame != (40, 70, 110)).any(2)
        covered = np.zeros_like(different)
        for row, column, height, width in moment.boxes:
            covered[row : row + height, column : column + width] = True
            edges = (row, slice(column, column + width)), (slice(row, row + height), column)
            assert all(different[edge].any() for edge in edges)
        full += (different <= covered).all()
    assert full > 30  # in other frames, a sprite is covered so far that it does not count


def test_unknown_games_are_refused():
    with pytest.raises(ValueError, match="sprites- and a background"):
        open_game("sprites-none", None)


def test_minatar_has_an_object_in_each_cell_that_is_not_black():
    pytest.importorskip("minatar")
    truth = open_game("minatar-space_invaders", None).truth(10_000, 60)
    assert truth.frames.shape == (12, 80, 80, 3)
    for frame, boxes in zip(truth.frames, truth.boxes, strict=True):
        assert (frame[::8, ::8].any(2)).sum() == len(boxes)
        assert all(frame[row, column].any() for row, column, *_ in boxes.tolist())
    assert "alien_left" not in np.concatenate(truth.category)


def test_gauges_of_seaquest_lie_outside_its_playfield():
    pytest.importorskip("minatar")
    assert open_game("minatar-seaquest", None).truth(10_000, 10).playfield == (0, 0, 72, 80)


def test_minigrid_objects_are_all_found_without_learning():
    pytest.importorskip("minigrid")
    game = open_game("MiniGrid-Dynamic-Obstacles-16x16-v0", None)
    truth = game.truth(10_000, 100).judged()
    assert {name for each in truth.category for name in each.tolist()} == {"agent", "ball"}
    detector = ComponentDetector(background_states(np.stack([m.frame for m in islice(game.play(0), 0, 400, 4)])))
    found = detection.measure(detector, truth, truth.visible(detector.foreground(truth.frames)))
    assert found.recall > 0.85  # where two touch, they are one component
    assert found.precision > 0.95


def test_pong_by_ocatari_agrees_with_its_picture():
    pytest.importorskip("ocatari")
    game = open_game("Pong", None)
    truth = game.truth(10_000, 300).judged()
    assert truth.frames.shape == (60, 210, 160, 3)
    detector = detection.components_predictor(game, 0, truth.playfield)
    assert detection.measure(detector, truth, truth.visible(detector.foreground(truth.frames))).f1 > 0.95


def test_files_stand_in_for_ocatari(tmp_path: Path):
    boxes = np.full((4, 2, 4), -1, np.int16)
    boxes[:, 0] = [[40 + i, 20, 4, 2] for i in range(4)]
    np.savez(
        tmp_path / "Pong.npz",
        index=np.zeros((4, 210, 160), np.uint8),
        palette=np.array([[1, 2, 3]], np.uint8),
        boxes=boxes,
        category=np.array([[0, -1]] * 4),
        categories=np.array(["Ball"]),
    )
    truth = open_game("Pong", tmp_path).truth(0, 11)
    assert [each.tolist() for each in truth.boxes] == [[[40 + i, 20, 4, 2]] for i in range(3)]
    assert truth.frames[0, 0, 0].tolist() == [1, 2, 3]
    assert truth.playfield == (34, 0, 160, 160)
    with pytest.raises(ValueError, match="Skiing"):
        open_game("Skiing", tmp_path)


def still(seed: int):
    for step in range(10**6):
        yield Moment(np.full((8, 8, 3), seed, np.uint8), [(0, 0, 4, 4)], ["x"], step % 30 == 0)


def test_training_frames_are_one_file_for_each_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(detection, "TRAINING_FRAMES", 70)
    detection.write_episodes(
        Game("still", lambda seed, steps: record(still, (0, 0, 8, 8), seed, steps), still, None), 5, tmp_path
    )
    assert [np.load(file).shape for file in sorted(tmp_path.iterdir())] == [(30, 8, 8, 3)] * 2 + [(10, 8, 8, 3)]


FAKE = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
folder.mkdir()
signal.signal(signal.SIGTERM, signal.default_int_handler)
(folder / "flags").write_text(" ".join(sys.argv[1:]))
try:
    time.sleep({seconds})
except KeyboardInterrupt:
    (folder / "model.safetensors").touch()
    sys.exit(130)
"""


@pytest.mark.slow
def test_training_is_interrupted_in_time_and_must_leave_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(detection, "TRAIN", tmp_path / "train.py")
    game = Game("x", lambda seed, steps: record(still, (0, 0, 8, 8), seed, steps), still, "ALE/Pong-v5")
    detection.TRAIN.write_text(FAKE.format(seconds=60))
    detection.train(game, 3, 0.1, tmp_path / "good")
    flags = (tmp_path / "good" / "flags").read_text()
    assert flags == f"--env ALE/Pong-v5 --seed 3 --out {tmp_path / 'good'}"
    detection.TRAIN.write_text(FAKE.format(seconds=0))
    with pytest.raises(ValueError, match="left no model"):
        detection.train(game, 3, 1, tmp_path / "bad")


@pytest.mark.slow
def test_model_predicts_centres_on_the_scale_of_the_truth():
    data = load_dataset("multi-dsprites", "validation")
    scenes = data.scenes[:50]
    corners = scenes.location - data.bank.size // 2
    boxes = [
        np.pad(c[:n], ((0, 0), (0, 2)), constant_values=data.bank.size)
        for c, n in zip(corners, scenes.count, strict=True)
    ]
    truth = Truth(data[:50], boxes, [np.full(len(b), "sprite") for b in boxes], (0, 0, 64, 64))
    predict = detection.lavae_predictor(Path("multi-dsprites"))
    found = detection.measure(predict, truth, [np.ones(len(b), bool) for b in boxes])
    assert found.f1 > 0.95
    assert found.near_f1 > 0.95


def test_predictions_count_by_confidence_and_inside_the_playfield():
    truth = truth_of([[[20, 20, 8, 8]]], [["a"]], (10, 0, 40, 50))
    boxes = np.array([[23, 20, 8, 8], [20, 20, 8, 8], [0, 0, 8, 8]])
    found = detection.measure(lambda frames: [(boxes, np.array([0.2, 0.9, 1.0]))], truth, [np.array([True])])
    assert (found.predictions, found.hits, found.duplicates) == (2, 1, 1)


def test_program_writes_the_row_without_learning(tmp_path: Path):
    detection.main(
        ["--games", "sprites-plain", "--seeds", "0", "1", "--minutes", "0", "--steps", "60", "--out", str(tmp_path)]
    )
    stored = json.loads((tmp_path / "detection.json").read_text())
    assert [(row["method"], row["seed"]) for row in stored["results"]] == [("components", 0), ("components", 1)]
    assert all(row["f1"] > 0.5 and row["frames"] == 12 and row["switches_per_100"] is None for row in stored["results"])
    assert (tmp_path / "detection.csv").read_text().startswith("game,method,seed,frames,")
