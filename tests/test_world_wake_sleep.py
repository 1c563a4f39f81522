import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from lavae_rl.model.core import Scene
from lavae_rl.model.objects import Detections
from lavae_rl.model.surprise import surprise
from lavae_rl.pretraining.components import propose_components
from lavae_rl.pretraining.recipes import WORLD
from lavae_rl.pretraining.state import Training, make_accelerator
from lavae_rl.pretraining.survey import survey
from lavae_rl.pretraining.world import WorldWakeSleep, crop_randomly, merge, mirror

HEIGHT, WIDTH = 40, 52
SMALL = dataclasses.replace(
    WORLD,
    steps=20,
    batch_size=8,
    dreams=6,
    dreams_from_step=2,
    dream_objects=5,
    dream_size=32,
    warmup_steps=2,
    memory=32,
    sharpness_scenes=4,
    sharpness_samples=1,
)
COLOURS = ((250, 40, 40), (40, 240, 60), (250, 240, 40), (60, 120, 255))
SHAPES = [np.ones((7, 7), bool), np.ones((5, 9), bool), np.add.outer(abs(np.arange(-4, 5)), abs(np.arange(-4, 5))) < 5]


class Scenes:
    """Frames of 0 to 3 coloured sprites, apart from each other, on a textured background; and where they are."""

    def __init__(self, number, seed):
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        texture = np.stack([90 + 30 * np.sin(rows / 3), 80 + 2 * rows, 120 - 40 * (columns // 6 % 2)], axis=2)
        self.frames = np.repeat(texture.astype(np.uint8)[None], number, axis=0)
        self.centres: list[np.ndarray] = []
        for frame in self.frames:
            centres: list[tuple[int, int]] = []
            for _ in range(rng.integers(4)):
                row, column = rng.integers((6, 6), (HEIGHT - 6, WIDTH - 6)).tolist()
                if all(max(abs(row - other), abs(column - beside)) > 12 for other, beside in centres):
                    shape = SHAPES[rng.integers(len(SHAPES))]
                    top, left = row - shape.shape[0] // 2, column - shape.shape[1] // 2
                    window = frame[top : top + shape.shape[0], left : left + shape.shape[1]]
                    window[shape] = COLOURS[rng.integers(len(COLOURS))]
                    centres.append((row, column))
            self.centres.append(np.array(centres).reshape(-1, 2))

    @property
    def shape(self):
        return self.frames.shape[1:]

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        return self.frames[index]


@pytest.fixture(scope="module")
def dataset():
    """300 scenes to train on."""
    return Scenes(300, seed=0)


@pytest.fixture(scope="module")
def surveyed(dataset):
    """The survey of the training scenes, which are a recording of two episodes."""
    return survey(dataset, np.array([0, 150, 300]), background="static", max_objects=4)


def _training(surveyed, seed=0, recipe=SMALL, scales=(1,)):
    accelerator = make_accelerator(cpu=True)
    choices = dataclasses.replace(surveyed.choices, scales=scales)
    method: Any = WorldWakeSleep(
        dataclasses.replace(surveyed, choices=choices).model_config(latents=4), recipe, seed, accelerator
    )
    surveyed.install(method.model)
    return Training(method, recipe, seed, accelerator)


def _dreaming(surveyed, **options):
    """A training that remembers a white square of each scale, and so dreams from its first step on."""
    training = _training(surveyed, **options)
    for memory in training.method.memories:
        size = memory.sprites.shape[-1]
        square = torch.zeros(1, 4, size, size)
        square[:, :, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = 1
        memory.write(square)
    return training


def test_a_repeated_step_is_the_same_to_the_bit(dataset, surveyed, same_weights):
    first, again, other = (_dreaming(surveyed, seed=seed) for seed in (0, 0, 1))
    for _ in range(6):
        terms, terms_again = first.step(dataset), again.step(dataset)
        other.step(dataset)
    assert list(terms) == list(WorldWakeSleep.terms)
    assert np.isfinite(list(terms.values())).all()
    assert terms == terms_again
    assert same_weights(first, again)
    assert not same_weights(first, other)


def test_a_loaded_state_takes_the_same_steps(dataset, surveyed, same_weights):
    whole, loaded = _dreaming(surveyed), _training(surveyed)
    for _ in range(5):
        whole.step(dataset)
    loaded.load(copy.deepcopy(whole.state()))
    assert loaded.progress == whole.progress
    assert [whole.step(dataset) for _ in range(3)] == [loaded.step(dataset) for _ in range(3)]
    assert same_weights(whole, loaded)
    for one, two in zip(whole.method.memories, loaded.method.memories, strict=True):
        assert torch.equal(one.sprites, two.sprites)


def test_a_loaded_state_brings_its_background(dataset, surveyed):
    whole, loaded = _training(surveyed), _training(surveyed)
    loaded.method.model.background.states.zero_()
    loaded.load(copy.deepcopy(whole.state()))
    assert torch.equal(loaded.method.model.background.states, whole.method.model.background.states)
    assert torch.equal(whole.average.background.states, whole.method.model.background.states)


def test_frames_of_the_background_alone_are_no_reason_to_stop(surveyed):
    empty = Scenes(8, seed=0)
    empty.frames[:] = np.rint(255 * surveyed.background.typical.permute(1, 2, 0).numpy())
    training = _training(surveyed)
    for _ in range(5):
        training.step(empty)
    assert training.progress.skipped == 0
    assert len(training.method.memories[0]) == 0


@pytest.mark.parametrize("scales", [(1,), (1, 2)])
def test_what_is_unexplained_is_the_surprise_under_the_composed_picture(dataset, surveyed, scales):
    method = _training(surveyed, scales=scales).method
    model = method.model
    scene = model.scene(model.images(dataset[:6]))
    nats = surprise(model.likelihood, scene.images, scene.background).clone()
    found = propose_components(model, nats).found
    found = dataclasses.replace(found, scale=torch.tensor(scales)[torch.arange(len(found.scale)) % len(scales)])
    sprites = torch.rand(len(found.scale), 4, *[model.config.sprite_size] * 2, generator=_generator())
    gain, left = method._explain(scene, nats, sprites, found)
    composed = model.composition(sprites, found, scene.background)
    exact = surprise(model.likelihood, scene.images, composed)
    torch.testing.assert_close(left, exact, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(nats.sum((1, 2)) - gain, exact.sum((1, 2)), atol=0.1, rtol=1e-4)


def test_what_the_decoder_does_not_know_is_remembered_as_its_component(dataset, surveyed):
    method = _training(surveyed).method
    scene = method.model.scene(method.model.images(dataset[:6]))
    nats = surprise(method.model.likelihood, scene.images, scene.background).clone()
    located = method._locate(scene, nats, step=0)
    number, size = len(located.found.scale), method.model.config.sprite_size
    blind = torch.zeros(number, 4, size, size)
    method._remember(scene, nats, nats, located, blind)
    memory = method.memories[0]
    assert len(memory) == number > 3
    areas = {int(shape.sum()) for shape in SHAPES}
    shown = memory.sprites[:number, -1] > 0
    assert {int(area) for area in shown.sum((1, 2))} <= areas
    colours = {tuple(memory.sprites[i, :3, shown[i]].unique(dim=1)[:, 0].tolist()) for i in range(number)}
    assert colours <= set(COLOURS)
    # Of what the location network sees, only the sprite tells what belongs to an object.
    located = located._replace(component=torch.zeros_like(located.component))
    method._remember(scene, nats, nats, located, blind)
    assert len(memory) == number


def test_an_object_in_which_the_network_sees_two_is_not_remembered(dataset, surveyed):
    method = _training(surveyed).method
    scene = method.model.scene(method.model.images(dataset[:6]))
    nats = surprise(method.model.likelihood, scene.images, scene.background).clone()
    located = method._locate(scene, nats, step=0)
    one = located.found.select(torch.arange(len(located.found.scale)) == 0)
    beside = dataclasses.replace(one, location=one.location + 1)
    twice = dataclasses.replace(
        located.found,
        image_index=torch.cat([located.found.image_index, beside.image_index]),
        location=torch.cat([located.found.location, beside.location]),
        scale=torch.cat([located.found.scale, beside.scale]),
    )
    size = method.model.config.sprite_size
    blind = torch.zeros(len(located.found.scale), 4, size, size)
    method._remember(scene, nats, nats, located._replace(seen=twice), blind)
    assert len(method.memories[0]) == len(located.found.scale) - 1


def test_every_scale_is_trained(dataset, surveyed):
    training = _dreaming(surveyed, scales=(1, 2))
    for _ in range(3):
        terms = training.step(dataset)
    assert np.isfinite(list(terms.values())).all()
    assert [memory.sprites.shape[-1] for memory in training.method.memories] == [
        surveyed.choices.sprite_size * scale for scale in (1, 2)
    ]


def test_calibration_changes_the_sharpness_alone(dataset, surveyed):
    training = _training(surveyed)
    before = {name: value.clone() for name, value in training.average.state_dict().items()}
    training.method.calibrate(training.average, dataset, last=True)
    changed = {name for name, value in training.average.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= {"log_sharpness"}


def _detections(index, location, count, scale):
    return Detections(*(torch.tensor(values, dtype=torch.int64) for values in (index, location, count, scale)))


def test_merged_objects_are_those_of_the_one_in_the_chosen_images():
    one = _detections([0, 0, 2], [[1, 1], [2, 2], [3, 3]], [2, 0, 1], [1, 2, 1])
    other = _detections([0, 1, 2, 2], [[4, 4], [5, 5], [6, 6], [7, 7]], [1, 1, 2], [4, 4, 2, 1])
    merged, origin = merge(one, other, torch.tensor([True, False, False]))
    assert origin.tolist() == [0, 0, 2, 3, 4]
    assert merged.image_index.tolist() == [0, 0, 1, 2, 2]
    assert merged.location[:, 0].tolist() == [1, 2, 5, 6, 7]
    assert merged.scale.tolist() == [1, 2, 4, 2, 1]
    assert merged.count.tolist() == [2, 1, 2]
    for chosen, expected in ((torch.ones(3, dtype=torch.bool), one), (torch.zeros(3, dtype=torch.bool), other)):
        for name, values in vars(merge(one, other, chosen)[0]).items():
            assert torch.equal(values, getattr(expected, name)), name
    first, _ = merge(one, other, torch.tensor([False, True, True]))
    assert (first.location[:, 0].tolist(), first.count.tolist()) == ([4, 3], [1, 0, 1])


def test_a_share_of_the_scenes_is_mirrored_with_all_that_belongs_to_them():
    images = torch.rand(400, 1, 3, 5, generator=_generator())
    scene = Scene(images, images + 1, torch.cat([images, images + 2], dim=1))
    assert all(torch.equal(*pair) for pair in zip(mirror(scene, 0.0, _generator()), scene, strict=True))
    assert all(torch.equal(one.flip(3), two) for one, two in zip(mirror(scene, 1.0, _generator()), scene, strict=True))
    some = mirror(scene, 0.25, _generator())
    turned = (some.images != images).any(3).flatten(1).any(1)
    assert turned.float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert torch.equal(some.background, some.images + 1)
    assert torch.equal(some.inputs, torch.cat([some.images, some.images + 2], dim=1))


def test_all_parts_of_backgrounds_are_dreamed_on():
    images = torch.arange(2 * 7 * 9.0).view(2, 1, 7, 9)
    generator = _generator()
    corners = set()
    for _ in range(300):
        part = crop_randomly(images, 5, generator)
        assert part.shape == (2, 1, 5, 5)
        row, column = divmod(int(part[0, 0, 0, 0]), 9)
        assert torch.equal(part, images[:, :, row : row + 5, column : column + 5])
        corners.add((row, column))
    assert corners == {(row, column) for row in range(3) for column in range(5)}


@pytest.mark.parametrize(("size", "shape"), [(8, (7, 8)), (20, (7, 9))])
def test_parts_are_never_larger_than_the_background(size, shape):
    assert crop_randomly(torch.zeros(1, 3, 7, 9), size, _generator()).shape == (1, 3, *shape)


def _generator():
    return torch.Generator().manual_seed(0)


def _agreement(model, scenes):
    """Share of frames whose count is right, and of true objects with a detection within 2 px of their centre."""
    objects = model.encode(scenes[:])
    right = np.mean([count == len(centres) for count, centres in zip(objects.count, scenes.centres, strict=True)])
    near = [
        (np.abs(location[:count] - centre).max(axis=1) <= 2).any()
        for location, count, centres in zip(objects.location, objects.count, scenes.centres, strict=True)
        for centre in centres
    ]
    return right, np.mean(near)


@pytest.mark.slow
def test_it_learns_to_count_and_locate_coloured_sprites_on_a_texture(dataset, surveyed):
    recipe = dataclasses.replace(
        SMALL, steps=150, dreams=12, dreams_from_step=20, dream_size=52, warmup_steps=10, memory=256, average_decay=0.95
    )
    training = _training(surveyed, recipe=recipe)
    held_out = Scenes(200, seed=1)
    assert max(_agreement(training.average, held_out)) < 0.5
    for _ in range(recipe.steps):
        training.step(dataset)
    count, located = _agreement(training.average, held_out)
    assert training.progress.skipped == 0
    assert count >= 0.9
    assert located >= 0.95
    # Dreams are made of what the sprites show and of nothing else.
    remembered = training.method.memories[0].sprites
    shown = remembered[:, :3].permute(0, 2, 3, 1)[remembered[:, 3] > 0].float()
    distance = torch.cdist(shown, torch.tensor(COLOURS).float()).amin(1)
    assert (distance < 2).float().mean() > 0.95
