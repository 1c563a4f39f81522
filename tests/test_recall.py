import numpy as np
import pytest
import torch

from lavae_rl.model import recall
from lavae_rl.model.image.background import Pictures
from lavae_rl.model.image.pixels import FramePixels
from lavae_rl.model.recall import CELL, Cells, Recall, Surroundings
from lavae_rl.model.sites import Sites

SIZE = (80, 112)
REACH = 12


def _background(uniform=True):
    background = Pictures(1, 3, SIZE)
    if not uniform:
        background.states[0, 0, 40:, :] = 90
    return background


def _keys(frames, background, reach=REACH):
    """The keys of all cells of frames, (batch, rows, columns)."""
    pixels = FramePixels(torch.from_numpy(frames), background)
    everywhere = Sites(torch.ones(len(frames), SIZE[0] // 2, SIZE[1] // 2, dtype=torch.bool))
    cells = Cells(pixels, everywhere, Surroundings(background, reach))
    return cells.keys.reshape(len(frames), SIZE[0] // CELL, SIZE[1] // CELL)


def _frame(background, *spots):
    frame = background.states[0].permute(1, 2, 0).numpy().copy()
    for row, column, color in spots:
        frame[row : row + 3, column : column + 2] = color
    return frame[None]


def test_a_key_tells_what_a_cell_and_its_surroundings_show():
    background = _background()
    one = _keys(_frame(background, (35, 53, 200)), background)
    for other in [(36, 53, 200), (35, 54, 200), (35, 53, 201)]:
        assert _keys(_frame(background, other), background)[0, 2, 3] != one[0, 2, 3]
    far = _keys(_frame(background, (35, 53, 200), (2, 2, 200)), background)
    np.testing.assert_array_equal(far[0, 2:, 3:], one[0, 2:, 3:])  # out of reach
    near = _keys(_frame(background, (35, 53, 200), (35, 48 - REACH, 200)), background)
    assert near[0, 2, 3] != one[0, 2, 3]


def test_the_same_thing_on_the_same_background_has_the_same_key_wherever_it_is():
    background = _background()
    here = _keys(_frame(background, (35, 53, 200)), background)[0]
    there = _keys(_frame(background, (35, 53 + CELL, 200)), background)[0]
    assert here[2, 3] == there[2, 4]
    assert here[2, 2] == there[2, 3]
    assert here[2, 0] != there[2, 1]  # one is at the border


def test_another_background_or_another_border_is_another_key():
    background = _background(uniform=False)
    above = _keys(_frame(background, (5, 53, 200)), background)[0]
    below = _keys(_frame(background, (5 + 3 * CELL, 53, 200)), background)[0]
    assert above[0, 3] != below[3, 3]


def test_what_is_wanted_is_part_of_the_key():
    background = _background()
    pixels = FramePixels(torch.from_numpy(_frame(background, (35, 53, 200))), background)
    mask = torch.zeros(1, SIZE[0] // 2, SIZE[1] // 2, dtype=torch.bool)
    mask[0, 17, 26] = True
    one = Cells(pixels, Sites(mask.clone()), Surroundings(background, REACH))
    mask[0, 17, 27] = True
    two = Cells(pixels, Sites(mask), Surroundings(background, REACH))
    assert len(one) == len(two) == 1
    assert one.keys != two.keys


def test_rows_are_recalled_by_their_keys():
    memory = Recall()
    keys = np.array([7, 9, 7], np.uint64)
    assert memory.find(keys).tolist() == [-1, -1, -1]
    memory.keep(keys, torch.tensor([[1.0], [2.0], [1.0]]), torch.tensor([3, 4, 3]))
    slots = memory.find(np.array([9, 8, 7], np.uint64))
    assert slots[1] == -1
    values, numbers = memory.rows(slots[[0, 2]])
    assert values.flatten().tolist() == [2.0, 1.0]
    assert numbers.tolist() == [4, 3]


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_the_oldest_make_room(monkeypatch, batch):
    monkeypatch.setattr(recall, "CAPACITY", 5)
    memory = Recall()
    for start in range(0, 21, batch):
        keys = np.arange(start, start + batch, dtype=np.uint64)
        memory.keep(keys, torch.from_numpy(keys.astype(np.int64)))
    slots = memory.find(np.arange(21, dtype=np.uint64))
    known = np.flatnonzero(slots >= 0)
    assert 1 <= len(known) <= 5
    (values,) = memory.rows(slots[known])
    assert values.tolist() == known.tolist()
    assert known.max() >= 16
