import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from lavae_rl.data.sources import load_dataset
from lavae_rl.evaluation.interventions import change_appearance, measure_moves, move, pixel_means, swap_locations
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE


@pytest.fixture(scope="module")
def model():
    return LAVAE.from_pretrained("multi-dsprites")


@pytest.fixture(scope="module")
def frames():
    dataset = load_dataset("multi-dsprites", "validation")
    return dataset[np.flatnonzero(dataset.scenes.count >= 2)[:40]]


def test_each_intervention_changes_one_thing(model, frames):
    found = model.encode(frames[:2])
    moved = move(found, 1, 0, (20, 30))
    assert moved.location[1, 0].tolist() == [20, 30]
    np.testing.assert_array_equal(np.delete(moved.location[1], 0, axis=0), np.delete(found.location[1], 0, axis=0))
    np.testing.assert_array_equal(moved.location[0], found.location[0])
    np.testing.assert_array_equal(moved.appearance, found.appearance)
    swapped = swap_locations(found, 0, 0, 1)
    np.testing.assert_array_equal(swapped.location[0, :2], found.location[0, 1::-1])
    np.testing.assert_array_equal(swapped.location[1], found.location[1])
    look = np.full(model.config.latents, 0.5, np.float32)
    changed = change_appearance(found, 0, 1, look)
    np.testing.assert_array_equal(changed.appearance[0, 1], look)
    np.testing.assert_array_equal(changed.appearance[0, 0], found.appearance[0, 0])
    np.testing.assert_array_equal(changed.location, found.location)


def test_swapping_twice_changes_nothing(model, frames):
    found = model.encode(frames[:1])
    twice = swap_locations(swap_locations(found, 0, 0, 1), 0, 1, 0)
    np.testing.assert_array_equal(pixel_means(model, twice), pixel_means(model, found))


def test_a_moved_object_arrives_and_leaves_the_others_alone(model, frames):
    errors: Any = measure_moves(model, frames)
    assert errors.scenes + errors.no_room == len(frames)
    assert errors.scenes > 30
    assert errors.count_kept > 0.95
    assert errors.lost < 0.02
    assert errors.moved_px < 0.5
    assert errors.others_px < 0.5
    assert errors.moved_appearance < 0.2 * errors.unrelated_appearance
    assert errors.others_appearance < 0.2 * errors.unrelated_appearance
    assert measure_moves(model, frames) == errors


def test_errors_grow_where_appearance_depends_on_the_location(model, frames, monkeypatch):
    encode = model.encode

    def entangled(seen):
        objects = encode(seen)
        objects.appearance[:] += 0.05 * objects.location[..., :1] * objects.mask[..., None]
        return objects

    honest: Any = measure_moves(model, frames)
    monkeypatch.setattr(model, "encode", entangled)
    again: Any = measure_moves(model, frames)
    assert again.moved_appearance > 3 * honest.moved_appearance


def test_objects_find_room_on_a_canvas_little_larger_than_they_are(model):
    small = load_dataset("multi-dsprites", "validation", canvas_size=28, patch_size=10, max_objects=2)
    errors: Any = measure_moves(model, small[np.flatnonzero(small.scenes.count == 2)[:40]])
    assert errors.scenes > 30
    assert errors.others_px < 1


def test_objects_that_are_never_found_again_are_lost_and_have_no_errors(model, frames, monkeypatch):
    encode, calls = model.encode, []

    def blind(seen):
        calls.append(seen)
        return encode(seen if len(calls) == 1 else np.zeros_like(seen))

    monkeypatch.setattr(model, "encode", blind)
    errors = measure_moves(model, frames)
    assert (errors.lost, errors.count_kept) == (1, 0)
    assert errors.moved_px is errors.others_appearance is None
    json.dumps(dataclasses.asdict(errors), allow_nan=False)


def test_nothing_to_move_is_an_error(frames):
    with pytest.raises(ValueError, match="room to move, got none"):
        measure_moves(LAVAE(LAVAEConfig()), frames[:2])
