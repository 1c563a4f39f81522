"""Properties of all scenes, tokens, tracks, preprocessed frames and files, on examples drawn by hypothesis."""

import dataclasses
import tempfile
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lavae_rl.data.coordinates import to_location, to_xy
from lavae_rl.data.files import load_npz, save_npz
from lavae_rl.data.npy import NpyFrames, write_frames
from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.scenes import GAP, render_scenes, sample_scenes
from lavae_rl.data.sources import SceneDataset
from lavae_rl.data.sprites import dsprites_bank
from lavae_rl.model.objects import Objects
from lavae_rl.perception.tokens import TokenLayout
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig
from lavae_rl.perception.wrappers import LAVAEObservation, VectorLAVAEObservation

BANK = dsprites_bank()
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def scenes(draw):
    """Up to 40 scenes of up to 5 sprites on a canvas with room for them."""
    counts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=40))
    canvas = draw(st.tuples(st.integers(80, 120), st.integers(80, 120)))
    return sample_scenes(np.random.default_rng(draw(SEEDS)), BANK, len(counts), np.array(counts), canvas)


@given(scenes())
def test_sprites_stay_inside_and_apart(some):
    boxes = BANK.boxes[some.sprite_index] + np.tile(some.location - BANK.size // 2, 2)
    for row, count in zip(boxes, some.count, strict=True):
        for one, other in combinations(row[:count], 2):
            assert max(*(one[:2] - other[2:]), *(other[:2] - one[2:])) >= 2 * GAP
    corner = some.location[some.mask] - BANK.size // 2
    assert (corner >= 0).all()
    assert (corner + BANK.size <= some.canvas_size).all()
    assert not some.location[~some.mask].any()
    assert not some.sprite_index[~some.mask].any()


@given(scenes())
def test_a_batch_is_rendered_as_its_scenes_one_by_one_and_shows_every_pixel_of_every_sprite(some):
    frames = render_scenes(some, BANK)
    alone = np.concatenate([render_scenes(some[i : i + 1], BANK) for i in range(len(some))])
    np.testing.assert_array_equal(frames, alone)
    lit = np.where(some.mask, (BANK.patches > 0).sum((1, 2, 3))[some.sprite_index], 0).sum(1)
    np.testing.assert_array_equal((frames > 0).sum((1, 2, 3)), lit)


@st.composite
def found_objects(draw, frames=1, slots=4, latents=2):
    """Objects in the first slots of each frame; canvas, places, boxes and appearances are anything."""
    canvas = draw(st.tuples(st.integers(2, 300), st.integers(2, 300)))
    count = draw(arrays.arrays(np.int64, frames, elements=st.integers(0, slots)))
    rng = np.random.default_rng(draw(SEEDS))
    mask = np.arange(slots) < count[:, None]
    location = rng.integers(0, canvas, (frames, slots, 2)) * mask[..., None]
    appearance = draw(st.sampled_from([0.1, 1.0, 100.0])) * rng.normal(size=(frames, slots, latents)) * mask[..., None]
    extent = rng.integers(0, np.array(canvas) + 1, (frames, slots, 2)) * mask[..., None]
    return Objects(
        count=count,
        location=location,
        appearance=appearance,
        appearance_variance=np.abs(appearance),
        presence=rng.uniform(size=(frames, slots)) * mask,
        mask=mask,
        dropped=np.zeros(frames, int),
        canvas_size=canvas,
        box=np.concatenate([location - extent // 2, extent], -1),
    )


@given(found_objects(frames=3), st.booleans(), st.booleans(), st.booleans(), SEEDS)
def test_tokens_are_in_their_space_and_flat_ones_hold_the_same(found, presence, velocity, box, seed):
    layout = TokenLayout(4, 2, presence=presence, velocity=velocity, box=box)
    moving = np.random.default_rng(seed).normal(scale=3, size=(3, 4, 2))
    tokens = layout.tokens(found, moving)
    for i in range(3):
        assert layout.space().contains({name: values[i] for name, values in tokens.items()})
    assert not tokens["tokens"][~found.mask].any()
    flat = dataclasses.replace(layout, flatten=True)
    values = flat.tokens(found, moving)
    assert flat.space().contains(values[0])
    values = values.reshape(3, 4, -1)
    np.testing.assert_array_equal(values[..., 0], tokens["mask"])
    np.testing.assert_array_equal(values[..., 1:], tokens["tokens"])


@given(st.tuples(st.integers(2, 500), st.integers(2, 500)), SEEDS)
def test_coordinates_are_converted_there_and_back(canvas, seed):
    location = np.random.default_rng(seed).integers(0, canvas, (5, 2))
    xy = to_xy(location, canvas)
    assert np.abs(xy).max() <= 1
    np.testing.assert_allclose(to_location(xy, canvas), location, atol=1e-9)


# Built in the tests, since checks of types draw random numbers, which no strategy may.
SETTINGS = st.fixed_dictionaries(
    {
        "hold": st.integers(2, 4),
        "coast": st.integers(0, 2),
        "gate": st.floats(0.05, 3),
        "appearance_weight": st.floats(0, 1),
        "appear": st.sampled_from([0.0, 0.5, 1.0]),
    }
)


@given(SETTINGS, st.lists(found_objects(frames=2), min_size=1, max_size=6))
def test_environments_are_tracked_as_if_each_were_alone(tracking, sequence):
    config = TrackingConfig(**tracking)
    sequence = [dataclasses.replace(found, canvas_size=sequence[0].canvas_size) for found in sequence]
    both, alone = SlotTracker(4, config, num_envs=2), [SlotTracker(4, config) for _ in range(2)]
    for found in sequence:
        together, velocity = both.track(found, np.arange(2))
        for i, tracker in enumerate(alone):
            own, moving = tracker.track(found[i : i + 1], np.zeros(1, int))
            np.testing.assert_array_equal(moving[0], velocity[i])
            for values, expected in zip(own.arrays(), together[i : i + 1].arrays(), strict=True):
                np.testing.assert_array_equal(values, expected)


@given(SETTINGS, st.lists(found_objects(), min_size=1, max_size=6))
def test_what_is_confident_enough_is_reported_once_and_nothing_is_made_up(tracking, sequence):
    config = TrackingConfig(**tracking)
    sequence = [dataclasses.replace(found, canvas_size=sequence[0].canvas_size) for found in sequence]
    tracker = SlotTracker(4, config)
    for found in sequence:
        tracked, velocity = tracker.track(found, np.zeros(1, int))
        seen = tracked.mask & (tracked.presence > 0)  # others coast
        reported = sorted(map(tuple, np.column_stack([tracked.presence[seen], tracked.location[seen]])))
        given_ = sorted(map(tuple, np.column_stack([found.presence[found.mask], found.location[found.mask]])))
        assert set(reported) <= set(given_)
        assert len(reported) == len(set(reported))
        sure = [each for each in given_ if each[0] >= config.appear]
        assert set(sure) <= set(reported)
        assert np.isfinite(velocity).all()
        assert tracked.count == tracked.mask.sum()
        assert config.coast or seen.sum() == tracked.count


@given(st.lists(st.integers(-4, 4), min_size=2, max_size=8), SEEDS)
def test_objects_that_stay_far_from_each_other_keep_their_slots(steps, seed):
    rng, tracker = np.random.default_rng(seed), SlotTracker(4, TrackingConfig(gate=0.2))
    place, slots = np.array([[50, 50], [50, 150], [150, 50]]), []
    for step in steps:
        place = place + step
        order = rng.permutation(3)
        location = np.zeros((1, 4, 2), int)
        location[0, :3] = place[order]
        mask = np.arange(4)[None] < 3
        zeros = np.zeros((1, 4, 2))
        found = Objects(np.array([3]), location, zeros, zeros, 0.9 * mask, mask, np.zeros(1, int), (201, 201))
        tracked, _ = tracker.track(found, np.zeros(1, int))
        slots.append([np.flatnonzero((tracked.location[0] == one).all(1) & tracked.mask[0]).item() for one in place])
    assert all(before == after for before, after in pairwise(slots))


@st.composite
def preprocessings(draw):
    """Options of preprocessing, and the shape of a frame that they fit."""
    layout = draw(st.sampled_from(["hwc", "chw", "hw"]))
    channels = 1 if layout == "hw" else draw(st.sampled_from([1, 3]))
    height, width = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    rows, columns = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    options = {
        "layout": layout,
        "crop": draw(st.none() | st.just((top, left, rows, columns))),
        "channels": draw(st.sampled_from([None, 1, 3])),
        "resize": draw(st.none() | st.tuples(st.integers(1, 60), st.integers(1, 60))),
        "threshold": draw(st.none() | st.integers(0, 254)),
    }
    shape = {"hwc": (height, width, channels), "chw": (channels, height, width), "hw": (height, width)}[layout]
    return options, shape


@given(preprocessings(), SEEDS)
def test_preprocessed_frames_have_the_shape_that_was_promised(drawn, seed):
    options, shape = drawn
    preprocessing = Preprocessing(**options)
    frames = np.random.default_rng(seed).integers(0, 256, (3, *shape), np.uint8)
    before = frames.copy()
    prepared = preprocessing(frames)
    assert prepared.shape == (3, *preprocessing.output_shape(shape))
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(frames, before)
    np.testing.assert_array_equal(prepared[1:2], preprocessing(frames[1:2]))
    if preprocessing.threshold is not None:
        assert set(np.unique(prepared)) <= {0, 255}
    if preprocessing.layout == "chw":
        channels_last = dataclasses.replace(preprocessing, layout="hwc")
        np.testing.assert_array_equal(prepared, channels_last(frames.transpose(0, 2, 3, 1)))


@given(arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3, st.sampled_from([1, 3]))))
def test_written_frames_are_read_as_they_were(frames):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.npy"
        assert write_frames(path, frames) == len(frames)
        read = NpyFrames(path)
        np.testing.assert_array_equal(read[:], frames)
        np.testing.assert_array_equal(read.lit(), frames.any(axis=(1, 2, 3)))


@given(scenes(), st.data())
def test_a_dataset_is_read_as_it_was_written_and_never_in_part(some, data):
    assume(len(some) < 8)  # files of many scenes take long to compress
    dataset = SceneDataset(some, BANK)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.npz"
        save_npz(path, dataset)
        frames, counts = load_npz(path)
        np.testing.assert_array_equal(frames, dataset[:])
        np.testing.assert_array_equal(counts, some.count)
        whole = path.read_bytes()
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        with pytest.raises(ValueError, match=r"scenes\.npz"):
            load_npz(path)


@pytest.mark.slow
@settings(max_examples=3)
@given(
    st.sampled_from(["OddOneOut", "Collect", "Push", "ObjectGoal"]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12),
    st.sampled_from([{}, {"tracking": "hungarian", "velocity": True, "box": True}, {"flatten": True}]),
    SEEDS,
)
def test_a_vector_of_environments_observes_what_each_observes_alone(task, actions, options, seed):
    """Episodes are cut after 5 steps, so that new ones begin; Gymnasium's vectors do so at the next step."""
    limits: Any = {"max_episode_steps": 5}
    vector = VectorLAVAEObservation(gym.make_vec(f"LAVAE/{task}-v0", num_envs=2, **limits), **options)
    singles = [LAVAEObservation(gym.make(f"LAVAE/{task}-v0", **limits), **options) for _ in range(2)]
    seeds = [seed % 2**31, seed % 2**31 + 1]
    observed = [vector.reset(seed=seeds)[0]]
    expected = [[env.reset(seed=each)[0]] for env, each in zip(singles, seeds, strict=True)]
    ended = [False, False]
    for pair in actions:
        observed.append(vector.step(np.array(pair))[0])
        for i, env in enumerate(singles):
            if ended[i]:
                observation, ended[i] = env.reset()[0], False
            else:
                observation, _, terminated, truncated, _ = env.step(pair[i])
                ended[i] = terminated or truncated
            expected[i].append(observation)
    for i in range(2):
        for together, alone in zip(observed, expected[i], strict=True):
            for name in alone if isinstance(alone, dict) else [None]:
                values = (together[i], alone) if name is None else (together[name][i], alone[name])
                np.testing.assert_allclose(*values, atol=1e-4)
