import dataclasses

import numpy as np
import pytest
import torch

from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.lavae import LAVAE
from lavae_rl.model.networks.families import fold_batch_norms
from lavae_rl.model.objective import elbo_terms


@pytest.mark.parametrize(
    "values",
    [
        {"channels": 2},
        {"sprite_size": 20},
        {"sprite_size": 3},
        {"latents": 0},
        {"max_objects": 0},
        {"networks": "huge"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="expected"):
        LAVAEConfig(**values)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (np.zeros((1, 64, 64, 1), np.float32), TypeError, "uint8 array, got float32"),
        (torch.zeros(1, 64, 64, 1), TypeError, "uint8 array, got torch.float32"),
        (np.zeros((64, 64, 1), np.uint8), ValueError, r"frame\[None\]"),
        (np.zeros((1, 64, 64, 3), np.uint8), ValueError, r"\(batch, height, width, 1\), got \(1, 64, 64, 3\)"),
        (np.zeros((1, 1, 64, 64), np.uint8), ValueError, "channel-first frames need"),
        (np.zeros((1, 20, 64, 1), np.uint8), ValueError, "at least 21 px"),
        (np.full((1, 64, 64, 1), 7, np.uint8), ValueError, "0 and 255 only, got 7"),
    ],
    ids=["float", "torch float", "one frame", "colour", "channel first", "small", "grey"],
)
def test_frames_that_cannot_be_read_are_refused_with_the_remedy(untrained, frames, error, message):
    with pytest.raises(error, match=message):
        untrained.encode(frames)


def test_encoding_finds_number_and_locations_on_a_canvas_that_is_not_square(dotted, dots):
    frames = np.concatenate([dots(40, 70, (9, 60), (30, 12)), dots(40, 70), dots(40, 70, (20, 33))])
    objects = dotted.encode(frames)
    assert objects.count.tolist() == [2, 0, 1]
    assert objects.mask.tolist() == [[True, True], [False, False], [True, False]]
    assert objects.location[0].tolist() == [[9, 60], [30, 12]]
    assert objects.location[2].tolist() == [[20, 33], [0, 0]]
    assert objects.appearance.shape == (3, 2, 4)
    assert (objects.appearance[~objects.mask] == 0).all()


def test_torch_frames_give_the_same_objects_as_tensors(dotted, dots):
    frames = dots(40, 70, (9, 60), (30, 12))
    array, tensor = dotted.encode(frames), dotted.encode(torch.from_numpy(frames))
    assert isinstance(tensor.count, torch.Tensor)
    np.testing.assert_array_equal(array.location, tensor.location.numpy())
    np.testing.assert_allclose(array.appearance, tensor.appearance.numpy())


def test_read_only_and_reversed_frames_are_read_all_the_same(dotted, dots):
    frames = dots(40, 70, (9, 60), (30, 12))
    reversed_frames = frames[:, :, ::-1]
    reversed_frames.flags.writeable = False
    np.testing.assert_array_equal(dotted.encode(reversed_frames).location, [[[9, 9], [30, 57]]])


def test_frames_without_objects_and_batches_without_frames_work(dotted, dots):
    assert dotted.encode(dots(32, 32)).location.shape == (1, 0, 2)
    assert dotted.encode(dots(32, 32)[:0]).count.shape == (0,)
    assert dotted.decode(dotted.encode(dots(32, 32))).max() == 0


def test_batches_without_frames_work_on_a_real_network(untrained, dots):
    none = dots(32, 32)[:0]
    assert untrained.encode(none).count.shape == (0,)
    assert untrained.log_likelihood(none, num_samples=2).shape == (0,)
    assert untrained.sample(0).shape == (0, 64, 64, 1)
    assert elbo_terms(untrained, untrained.images(none)).elbo.shape == (0,)


def test_a_new_model_encodes_without_the_batch_and_without_changing(dots):
    model = LAVAE(LAVAEConfig(channels=1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.encode(dots(32, 32, (9, 9)))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_encoding_follows_weights_that_change_in_place(untrained, dots):
    frames = dots(40, 40, (9, 30))
    assert untrained.encode(frames).count.tolist() == [0]
    with torch.no_grad():
        untrained.location_network.head.bias.fill_(50.0)
    assert untrained.encode(frames).count.sum() > 0


def test_folded_batch_norms_change_nothing(untrained):
    network = untrained.location_network
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.weight, 0.5, 2)
    images = torch.rand(2, 1, 40, 56)
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(images), network(images), atol=1e-4, rtol=1e-4)


def test_too_many_objects_for_the_slots_are_dropped_counted_and_warned_about_once(dotted, dots):
    frames = dots(60, 60, (9, 9), (30, 30), (50, 50))
    with pytest.warns(
        UserWarning, match="a frame has 3 objects, and max_objects=2 keeps .*: pass max_objects=3 or more"
    ):
        objects = dotted.encode(frames, max_objects=2)
    assert objects.count.tolist() == [2]
    assert objects.dropped.tolist() == [1]
    dotted.encode(frames, max_objects=2)
    assert dotted.encode(frames, max_objects=5).mask.tolist() == [[True] * 3 + [False] * 2]
    with pytest.raises(ValueError, match="max_objects of at least 1"):
        dotted.encode(frames, max_objects=0)


def test_presence_is_a_probability_and_uncertainty_is_positive(dotted, dots):
    objects = dotted.encode(dots(60, 60, (9, 9)))
    assert objects.presence[0, 0] == pytest.approx(1 / (1 + np.exp(-5)))
    assert (objects.appearance_variance > 0).all()


def test_encoding_does_not_depend_on_the_batch_or_on_chance(dotted, dots):
    frames = np.concatenate([dots(40, 40, (9, 30)), dots(40, 40, (20, 12), (30, 30))])
    both, again, alone = dotted.encode(frames), dotted.encode(frames), dotted.encode(frames[1:])
    np.testing.assert_array_equal(both.appearance, again.appearance)
    np.testing.assert_allclose(both.appearance[1], alone.appearance[0], atol=1e-5)


def test_decoding_draws_each_object_at_its_location(dotted, dots):
    objects = dotted.encode(dots(50, 60, (10, 45)))
    mean = dotted.decode(objects)
    assert mean.shape == (1, 50, 60, 1)
    rows, columns = mean[0, :, :, 0].nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 20, 35, 55)


def test_decoding_off_the_canvas_is_refused(dotted, dots):
    objects = dataclasses.replace(dotted.encode(dots(50, 60, (10, 45))), canvas_size=(40, 40))
    with pytest.raises(ValueError, match="expected locations on the"):
        dotted.decode(objects)


def test_samples_have_distinct_locations_and_the_given_count(untrained):
    objects = untrained.sample_objects(50, 6, canvas_size=(3, 4), generator=torch.Generator().manual_seed(0))
    flat = objects.location[..., 0] * 4 + objects.location[..., 1]
    assert all(len(set(row.tolist())) == 6 for row in flat)
    assert objects.location.amax((0, 1)).tolist() == [2, 3]


def test_samples_follow_the_learned_count_prior(untrained):
    with torch.no_grad():
        untrained.count_logits.copy_(torch.tensor([0.1, 0.2, 0.0001, 0.6999]).log())
    count = untrained.sample_objects(4_000, generator=torch.Generator().manual_seed(0)).count
    frequency = torch.bincount(count, minlength=4) / 4_000
    torch.testing.assert_close(frequency, untrained.count_logits.exp().detach(), atol=0.03, rtol=0)


def test_more_objects_than_pixels_are_refused(untrained):
    with pytest.raises(ValueError, match="one per pixel"):
        untrained.sample(1, num_objects=13, canvas_size=(3, 4))


def test_sampled_frames_are_frames_with_the_pixel_means_of_their_objects(untrained):
    objects, frames = (
        draw(2_000, 1, (25, 30), torch.Generator().manual_seed(0))
        for draw in (untrained.sample_objects, untrained.sample)
    )
    assert frames.shape == (2_000, 25, 30, 1)
    assert set(frames.unique().tolist()) == {0, 255}
    torch.testing.assert_close(frames.float().mean() / 255, untrained.decode(objects).mean(), atol=2e-3, rtol=0)
    untrained.encode(frames[:2])


def test_objects_without_boxes_are_else_the_same(dotted, dots):
    frames = dots(60, 90, (20, 30), (40, 70))
    objects, bare = dotted.encode(frames), dotted.encode(frames, boxes=False)
    assert (objects.box[..., 2:] > 0).all()
    assert bare.box.tolist() == np.concatenate([bare.location, 0 * bare.location], axis=2).tolist()
    for name in ("count", "location", "appearance", "presence", "scale", "mask"):
        np.testing.assert_array_equal(getattr(bare, name), getattr(objects, name))


@pytest.mark.parametrize("method", ["log_likelihood", "elbo"])
def test_likelihoods_of_more_objects_than_the_prior_allows_are_warned_of_once(dotted, dots, method):
    spread = [(row, column) for row in (20, 40) for column in (20, 40)]
    few, many = dots(64, 64, *spread[:3]), dots(64, 64, *spread)
    samples = {"num_samples": 2} if method == "log_likelihood" else {}
    bound = getattr(dotted, method)
    assert (bound(few, **samples).shape, bound(few[:0], **samples).shape) == ((1,), (0,))
    frames = np.concatenate([few, many, many])
    with pytest.warns(UserWarning, match="2 of 3 frames have more objects than N_max = 3, .*leave those frames out"):
        bound(frames, **samples)
    bound(frames, **samples)  # once
    left = frames[dotted.encode(frames).count <= dotted.config.max_objects]  # what the warning proposes
    assert len(left) == 1
    dotted._warned_of_counts = False
    bound(left, **samples)
