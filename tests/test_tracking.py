import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from lavae_rl.model.objects import Objects
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig, _assign, track

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


def test_a_new_object_needs_more_confidence_than_one_that_is_tracked():
    tracker = _tracker(appear=0.5)
    red, blue = np.array([[0.0, 0.0], [0.8, 0.0]]), np.array([RED, BLUE])
    assert tracker.update(red, blue, np.array([0.9, 0.4]))[0].tolist() == [0, -1]
    assert tracker.update(red, blue, np.array([0.4, 0.6]))[0].tolist() == [0, 1]
    assert tracker.update(red, blue, np.array([0.4, 0.4]))[0].tolist() == [0, 1]


def _objects(*columns, presence=0.9):
    """One frame of 101 x 101 pixels with objects in row 50."""
    number = len(columns)
    mask = np.arange(3)[None] < number
    location = np.zeros((1, 3, 2), int)
    location[0, :number] = np.reshape([(50, column) for column in columns], (-1, 2))
    appearance = np.where(mask[..., None], [1.0, 2.0], 0.0)
    return Objects(
        count=np.array([number]),
        location=location,
        appearance=appearance,
        appearance_variance=appearance,
        presence=np.where(mask, presence, 0.0),
        mask=mask,
        dropped=np.zeros(1, int),
        canvas_size=(101, 101),
    )


def test_a_missed_object_coasts_for_some_frames_and_no_longer():
    trackers = [_tracker(coast=2, gate=0.3)]
    owners = np.zeros(1, int)
    for column in (40, 44):
        found, velocity = track(_objects(column), trackers, owners)
    for column in (48, 52):
        found, velocity = track(_objects(), trackers, owners)
        assert found.count.tolist() == [1]
        assert found.location[0, 0].tolist() == [50, column]
        assert found.box[0, 0, :2].tolist() == [50, column]
        assert found.presence[0, 0] == 0
        assert found.appearance[0, 0].tolist() == [1.0, 2.0]
        np.testing.assert_allclose(velocity[0, 0], [0.08, 0])
    assert not track(_objects(), trackers, owners)[0].mask.any()
    found, velocity = track(_objects(60), trackers, owners)  # it kept its slot
    assert found.mask[0].tolist() == [True, False, False]
    np.testing.assert_allclose(velocity[0, 0], [0.08, 0])


def test_objects_that_do_not_appear_leave_no_trace():
    trackers = [_tracker(appear=0.5, coast=1)]
    for _ in range(3):
        found, velocity = track(_objects(40, presence=0.4), trackers, np.zeros(1, int))
        assert not found.mask.any()
        assert found.count.tolist() == [0]
        assert not velocity.any()
        assert not found.location.any()


@pytest.mark.parametrize("values", [{"appear": 1.5}, {"coast": 4}, {"coast": -1}], ids=str)
def test_hysteresis_has_its_range(values):
    with pytest.raises(ValueError, match="expected appear of 0 to 1 and coast of 0 to hold, 3"):
        TrackingConfig(**values)


def test_the_cheapest_assignment_is_found_with_and_without_a_search():
    rng = np.random.default_rng(0)
    for _ in range(200):
        cost = rng.random(rng.integers(1, 6, 2))
        rows, columns = _assign(cost)
        expected = cost[linear_sum_assignment(cost)].sum()
        assert cost[rows, columns].sum() == pytest.approx(expected)
        assert len(set(columns.tolist())) == len(columns) == min(cost.shape)
