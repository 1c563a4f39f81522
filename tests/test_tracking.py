import numpy as np
import pytest

from lavae_rl.perception.tracking import SlotTracker, TrackingConfig

RED, BLUE = np.array([3.0, 0.0]), np.array([0.0, 3.0])


def _tracker(slots=3, **settings):
    return SlotTracker(slots, TrackingConfig(**settings))


def _update(tracker, *objects):
    xy = np.array([place for place, _ in objects], float).reshape(-1, 2)
    appearance = np.array([look for _, look in objects], float).reshape(-1, 2)
    slot, velocity = tracker.update(xy, appearance)
    return slot.tolist(), velocity


def test_objects_keep_their_slots_when_their_order_changes():
    tracker = _tracker()
    assert _update(tracker, ((0, 0), RED), ((0.5, 0), BLUE))[0] == [0, 1]
    slots, velocity = _update(tracker, ((0.6, 0), BLUE), ((0.1, 0), RED))
    assert slots == [1, 0]
    np.testing.assert_allclose(velocity, [[0.1, 0], [0.1, 0]])


def test_looks_decide_where_places_do_not():
    tracker = _tracker()
    _update(tracker, ((-0.1, 0), RED), ((0.1, 0), BLUE))
    assert _update(tracker, ((-0.01, 0), BLUE), ((0.01, 0), RED))[0] == [1, 0]


def test_a_jump_past_the_gate_is_another_object():
    tracker = _tracker(gate=0.2)
    _update(tracker, ((0, 0), RED))
    slots, velocity = _update(tracker, ((0.9, 0), RED))
    assert slots == [1]
    assert not velocity.any()


def test_the_slot_of_a_lost_object_is_held_and_then_given_away():
    tracker = _tracker(slots=2, hold=2)
    _update(tracker, ((0, 0), RED), ((0.8, 0), BLUE))
    _update(tracker, ((0.8, 0), BLUE))
    slots, velocity = _update(tracker, ((0.1, 0), RED), ((0.8, 0), BLUE))
    assert slots == [0, 1]
    np.testing.assert_allclose(velocity[0], [0.05, 0])  # 0.1 in two steps
    for _ in range(4):
        _update(tracker, ((0.8, 0), BLUE))
    assert _update(tracker, ((-0.8, 0), RED), ((0.8, 0), BLUE))[0] == [0, 1]


def test_a_full_house_gives_up_the_longest_unseen():
    tracker = _tracker(slots=2, gate=0.1, hold=9)
    _update(tracker, ((0, 0), RED), ((0.8, 0), BLUE))
    _update(tracker, ((0.8, 0), BLUE))
    assert _update(tracker, ((-0.8, 0), RED), ((0.8, 0), BLUE))[0] == [0, 1]


def test_two_new_objects_never_share_a_slot():
    tracker = _tracker(slots=3)
    _update(tracker, ((0, 0), RED))
    slots, _ = _update(tracker, ((0.9, 0.9), RED), ((-0.9, -0.9), BLUE), ((0.01, 0), RED))
    assert sorted(slots) == [0, 1, 2]
    assert slots[2] == 0


def test_reset_and_empty_frames():
    tracker = _tracker()
    assert _update(tracker)[0] == []
    _update(tracker, ((0, 0), RED), ((0.5, 0), BLUE))
    tracker.reset()
    slots, velocity = _update(tracker, ((0.5, 0), BLUE))
    assert slots == [0]
    assert not velocity.any()


@pytest.mark.parametrize("values", [{"gate": 0.0}, {"hold": -1}, {"appearance_weight": -1.0}], ids=str)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="expected gate above 0"):
        TrackingConfig(**values)
