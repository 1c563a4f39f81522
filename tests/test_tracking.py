import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from lavae_rl.model.objects import Objects
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig, _cheapest, track

RED, BLUE = np.array([3.0, 0.0]), np.array([0.0, 3.0])
FIRST = np.zeros(1, int)
"""The only environment."""


def _tracker(slots=3, **settings):
    return SlotTracker(slots, TrackingConfig(**settings))


def _frame(*objects, slots=3, presence=0.9):
    """One frame of 201 x 201 pixels with objects at (x, y), in token units, with an appearance."""
    number = len(objects)
    mask = np.arange(slots)[None] < number
    location, appearance = np.zeros((1, slots, 2), int), np.zeros((1, slots, 2))
    for i, ((x, y), value) in enumerate(objects):
        location[0, i], appearance[0, i] = np.rint([100 + 100 * y, 100 + 100 * x]), value
    return Objects(
        count=np.array([number]),
        location=location,
        appearance=appearance,
        appearance_variance=appearance,
        presence=np.where(mask, presence, 0.0),
        mask=mask,
        dropped=np.zeros(1, int),
        canvas_size=(201, 201),
    )


def _update(tracker, *objects):
    """The slot of each object of the next frame, identified by its location, and the velocity of each."""
    given = _frame(*objects, slots=tracker._xy.shape[1])
    found, velocity = tracker.track(given, FIRST)
    places = [place.tolist() for place in found.location[0]]
    slots = [places.index(place.tolist()) for place in given.location[0, : len(objects)]]
    return slots, velocity[0, slots]


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
    tracker, frame = _tracker(slots=2, appear=0.5), [((0, 0), RED), ((0.8, 0), BLUE)]
    for presence, number in (([0.9, 0.4], 1), ([0.4, 0.6], 2), ([0.4, 0.4], 2)):
        given = _frame(*frame, slots=2, presence=np.array(presence))
        found, _ = tracker.track(given, FIRST)
        assert found.mask[0].tolist() == [True, number == 2]
        assert found.location[0, :number].tolist() == given.location[0, :number].tolist()


def _at(column):
    return (column / 100 - 1, 0), RED


def test_a_missed_object_coasts_for_some_frames_and_no_longer():
    tracker = _tracker(coast=2, gate=0.3)
    for column in (40, 44):
        tracker.track(_frame(_at(column)), FIRST)
    for column in (48, 52):
        found, velocity = tracker.track(_frame(), FIRST)
        assert found.count.tolist() == [1]
        assert found.location[0, 0].tolist() == [100, column]
        assert found.box[0, 0, :2].tolist() == [100, column]
        assert found.presence[0, 0] == 0
        assert found.appearance[0, 0].tolist() == RED.tolist()
        np.testing.assert_allclose(velocity[0, 0], [0.04, 0])
    assert not tracker.track(_frame(), FIRST)[0].mask.any()
    found, velocity = tracker.track(_frame(_at(60)), FIRST)  # it kept its slot
    assert found.mask[0].tolist() == [True, False, False]
    np.testing.assert_allclose(velocity[0, 0], [0.04, 0])


def test_objects_that_do_not_appear_leave_no_trace():
    tracker = _tracker(appear=0.5, coast=1)
    for _ in range(3):
        found, velocity = tracker.track(_frame(_at(40), presence=0.4), FIRST)
        assert not found.mask.any()
        assert found.count.tolist() == [0]
        assert not velocity.any()
        assert not found.location.any()


def test_environments_are_tracked_apart_and_in_any_order():
    together = SlotTracker(3, TrackingConfig(appear=0.5, coast=2, gate=0.3), num_envs=3)
    alone = [_tracker(appear=0.5, coast=2, gate=0.3) for _ in range(3)]
    rng = np.random.default_rng(0)
    for step in range(60):
        owners = rng.permutation(3)[: rng.integers(1, 4)]
        if step % 20 == 19:
            together.reset(owners[:1])
            alone[owners[0]].reset()
        frames = [_frame(*(_at(x) for x in rng.integers(0, 201, rng.integers(0, 4)))) for _ in owners]
        objects = Objects.concatenate(frames)
        (found, velocity), (expected, moved) = together.track(objects, owners), track(objects, alone, owners)
        for values, ones in zip(found.arrays(), expected.arrays(), strict=True):
            np.testing.assert_array_equal(values, ones)
        np.testing.assert_array_equal(velocity, moved)


@pytest.mark.parametrize("values", [{"appear": 1.5}, {"coast": 4}, {"coast": -1}], ids=str)
def test_hysteresis_has_its_range(values):
    with pytest.raises(ValueError, match="expected appear of 0 to 1 and coast of 0 to hold, 3"):
        TrackingConfig(**values)


def test_the_cheapest_assignment_of_the_most_allowed_pairs_is_found_with_and_without_a_search():
    rng = np.random.default_rng(0)
    for _ in range(200):
        cost = rng.random((4, *rng.integers(1, 6, 2)))
        allowed = rng.random(cost.shape) < rng.choice([0.3, 0.8, 1])
        for slot, costs, pairs in zip(_cheapest(cost, allowed), cost, allowed, strict=True):
            rows, columns = linear_sum_assignment(np.where(pairs, costs, 100))
            chosen = np.flatnonzero(slot >= 0)
            assert pairs[chosen, slot[chosen]].all()
            assert len(set(slot[chosen])) == len(chosen) == pairs[rows, columns].sum()
            assert costs[chosen, slot[chosen]].sum() == pytest.approx((costs * pairs)[rows, columns].sum())
