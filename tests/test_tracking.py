import numpy as np
import pytest

from lavae_rl.perception.tracking import SlotTracker, TrackingConfig

RED, BLUE = np.array([3.0, 0.0]), np.array([0.0, 3.0])


def _tracker(slots=3, **settings):
    return SlotTracker(slots, TrackingConfig(**settings))


def _update(tracker, *objects):
    xy = np.array([place for place, _ in objects], float).reshape(-1, 2)
    appearance = np.array([value for _, value in objects], float).reshape(-1, 2)
    slot, velocity = tracker.update(xy, appearance)
    return slot.tolist(), velocity


def test_objects_keep_their_slots_when_their_order_changes():
    tracker = _tracker()
    assert _update(tracker, ((0, 0), RED), ((0.5, 0), BLUE))[0] == [0, 1]
    slots, velocity = _update(tracker, ((0.6, 0), BLUE), ((0.1, 0), RED))
    assert slots == [1, 0]
    np.testing.assert_allclose(velocity, [[0.1, 0], [0.1, 0]])


def test_appearance_decides_between_objects_that_are_equally_near():
    tracker = _tracker()
    _update(tracker, ((-0.1, 0), RED), ((0.1, 0), BLUE))
    assert _update(tracker, ((-0.01, 0), BLUE), ((0.01, 0), RED))[0] == [1, 0]


def test_a_jump_past_the_gate_starts_another_slot_without_velocity():
    tracker = _tracker(gate=0.2)
    _update(tracker, ((0, 0), RED))
    slots, velocity = _update(tracker, ((0.9, 0), RED))
    assert slots == [1]
    assert not velocity.any()


def test_a_lost_object_keeps_its_slot_for_some_frames_only():
    tracker = _tracker(slots=2, hold=2)
    _update(tracker, ((0, 0), RED), ((0.8, 0), BLUE))
    _update(tracker, ((0.8, 0), BLUE))
    slots, velocity = _update(tracker, ((0.1, 0), RED), ((0.8, 0), BLUE))
    assert slots == [0, 1]
    np.testing.assert_allclose(velocity[0], [0.05, 0])  # 0.1 in two steps
    for _ in range(4):
        _update(tracker, ((0.8, 0), BLUE))
    assert _update(tracker, ((-0.8, 0), RED), ((0.8, 0), BLUE))[0] == [0, 1]


def test_full_tracker_evicts_longest_undetected_slot():
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


def test_a_tracker_forgets_on_reset_and_takes_empty_frames():
    tracker = _tracker()
    assert _update(tracker)[0] == []
    _update(tracker, ((0, 0), RED), ((0.5, 0), BLUE))
    tracker.reset()
    slots, velocity = _update(tracker, ((0.5, 0), BLUE))
    assert slots == [0]
    assert not velocity.any()


@pytest.mark.parametrize("values", [{"gate": 0.0}, {"hold": -1}, {"appearance_weight": -1.0}], ids=str)
def test_tracking_refuses_settings_out_of_range(values):
    with pytest.raises(ValueError, match="expected gate above 0"):
        TrackingConfig(**values)
