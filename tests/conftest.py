import json
import shutil
import signal
import sys
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import settings

from lavae_rl.data.scenes import sample_scenes
from lavae_rl.data.sources import SceneDataset, load_bank
from lavae_rl.model.checkpoint import BUNDLED
from lavae_rl.model.config import LAVAEConfig
from lavae_rl.model.gaussian import Gaussian
from lavae_rl.model.lavae import LAVAE
from lavae_rl.perception.tokens import TokenLayout
from lavae_rl.perception.tracking import SlotTracker, TrackingConfig
from lavae_rl.runs.config import CONFIG_FILE

SLOTS = 6

# The same examples every time, and no limit of their time on a busy machine.
settings.register_profile("suite", derandomize=True, database=None, deadline=None, max_examples=50)
settings.load_profile("suite")

# Workers must not import this file, which imports torch.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def ctrl_c():
    """SIGINT interrupts, also where the tests run as a background job, for which shells ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def scenes():
    """64 scenes of multi-dsprites, whose truth is known."""
    bank = load_bank("multi-dsprites")
    return SceneDataset(sample_scenes(np.random.default_rng(0), bank, 64, (0, 3)), bank)


@pytest.fixture
def untrained():
    """A small LAVAE with fixed random weights."""
    torch.manual_seed(0)
    return LAVAE(LAVAEConfig(channels=1, latents=4)).eval()


class BlobDetector(torch.nn.Module):
    """A location network that needs no training: its logit is 5 at each lit pixel without lit neighbours."""

    def forward(self, images):
        lit = images[:, 0]
        neighbours = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1, divisor_override=1)[:, 0] - lit
        return torch.where((lit > 0) & (neighbours == 0), 5.0, -8.0) + 0.0 * lit


@pytest.fixture
def dotted(untrained):
    """An untrained LAVAE that finds single lit pixels exactly."""
    untrained.location_network = BlobDetector()
    return untrained


class DifferenceDetector(torch.nn.Module):
    """A location network of two scales: single pixels of another colour, at the second scale where red is full."""

    def forward(self, inputs):
        logit = torch.where(inputs[:, 3:].abs().amax(1) > 0.1, 5.0, -8.0)
        large = inputs[:, 0] == 1
        return torch.stack([torch.where(large, -8.0, logit), torch.where(large, logit, -8.0)], dim=1)


class ColorReader(torch.nn.Module):
    """An appearance network whose latents are the colour of the middle pixel."""

    def forward(self, inputs, found):
        color = inputs[found.image_index, :3, found.location[:, 0], found.location[:, 1]]
        return Gaussian(color, torch.full_like(color, -6.0))


class PixelDecoder(torch.nn.Module):
    """A decoder of sprites of one opaque pixel, whose colour is the latents."""

    def forward(self, appearance):
        sprites = appearance.new_zeros(len(appearance), 4, 9, 9)
        sprites[:, :3, 4, 4], sprites[:, 3, 4, 4] = appearance, 1
        return sprites


@pytest.fixture
def colored():
    """A LAVAE of frames of 40 x 50 with a background of two states, which explains single pixels of any colour.

    The first state is (10, 60, 90); on the right half, the second is (80, 60, 90). Full red has scale 2.
    """
    image: dict[str, Any] = {
        "likelihood": "normal",
        "composition": "over",
        "background_states": 2,
        "canvas_size": (40, 50),
    }
    model = LAVAE(LAVAEConfig(sprite_size=9, latents=3, networks="world", scales=(1, 2), **image)).eval()
    model.location_network, model.appearance_network = DifferenceDetector(), ColorReader()
    model.sprite_decoder = PixelDecoder()
    background: Any = model.background
    background.states[:] = torch.tensor([10, 60, 90])[:, None, None]
    background.states[1, 0, :, 25:] = 80
    background.frequency[:, :, 25:] = 0.5
    return model


@pytest.fixture
def colored_folder(colored, tmp_path, monkeypatch):
    """A folder of which the model ``colored`` is loaded."""
    LAVAE(colored.config).save_pretrained(tmp_path / "colored")
    monkeypatch.setattr(LAVAE, "from_pretrained", lambda *_: colored)
    return str(tmp_path / "colored")


@pytest.fixture
def color_dots(colored):
    """Makes a frame, uint8 (1, 40, 50, 3), of the first state with a pixel of a colour at each (row, column)."""

    def make(*dots):
        frame = colored.background.states[0].permute(1, 2, 0).numpy().copy()[None]
        for row, column, color in dots:
            frame[0, row, column] = color
        return frame

    return make


@pytest.fixture
def dots():
    """Makes a frame, uint8 (1, height, width, 1), with one lit pixel at each (row, column)."""

    def make(height, width, *locations):
        frame = np.zeros((1, height, width, 1), np.uint8)
        for row, column in locations:
            frame[0, row, column] = 255
        return frame

    return make


def make_env(length=5, end="truncated", dictionary=False):
    """An environment whose frames are random scenes. Its class is local, so that it pickles by value."""

    class SceneEnv(gym.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

        def __init__(self, render_mode=None):
            from lavae_rl.data.sources import load_bank

            self.render_mode = render_mode
            self.bank = load_bank("multi-dsprites")
            frame = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
            self.observation_space = (
                gym.spaces.Dict({"frame": frame, "clock": gym.spaces.Box(0, 100, (1,), np.float32)})
                if dictionary
                else frame
            )
            self.action_space = gym.spaces.Discrete(2)

        def _observation(self):
            from lavae_rl.data.scenes import render_scenes, sample_scenes

            self.frame = render_scenes(sample_scenes(self.np_random, self.bank, 1, (0, 5)), self.bank)[0]
            clock = np.array([self.clock], np.float32)
            return {"frame": self.frame.copy(), "clock": clock} if dictionary else self.frame.copy()

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.clock = 0
            return self._observation(), {"torch": "torch" in sys.modules}

        def step(self, action):
            self.clock += 1
            over = self.clock == length
            ended = {"terminated": False, "truncated": False}
            ended[end] = over
            return (
                self._observation(),
                float(self.clock),
                ended["terminated"],
                ended["truncated"],
                {"clock": self.clock},
            )

        def render(self):
            return self.frame.repeat(4, axis=0).repeat(4, axis=1)

    return SceneEnv()


FACTORIES = [
    lambda: make_env(3, "terminated"),
    lambda: make_env(4, "truncated"),
    lambda: make_env(5, "terminated"),
    lambda: make_env(7, "truncated"),
]


# Test files cannot import this one, so fixtures hand out what is above.
@pytest.fixture(name="make_env")
def _make_env():
    """The function ``make_env`` above."""
    return make_env


@pytest.fixture
def factories():
    """Four functions that make an environment; lengths and ends of their episodes differ."""
    return FACTORIES


@pytest.fixture
def slots():
    """Number of slots of the references."""
    return SLOTS


@pytest.fixture(scope="module")
def reference():
    """Tokens of one frame, straight from the model."""
    model = LAVAE.from_pretrained("multi-dsprites")
    layout = TokenLayout(SLOTS, model.config.latents)

    def encode(frame):
        return {key: value[0] for key, value in layout.tokens(model.encode(frame[None], SLOTS)).items()}

    return encode


class Reference:
    """Tracked tokens with velocity of one environment, frame by frame, from the model and a tracker of its own."""

    def __init__(self):
        self.model = LAVAE.from_pretrained("multi-dsprites")
        self.layout = TokenLayout(SLOTS, self.model.config.latents, velocity=True)
        self.tracker = SlotTracker(SLOTS, TrackingConfig())

    def start(self, frame):
        self.tracker.reset()
        return self(frame)

    def __call__(self, frame):
        objects, velocity = self.tracker.track(self.model.encode(frame[None], SLOTS), np.array([0]))
        return {key: value[0] for key, value in self.layout.tokens(objects, velocity).items()}


@pytest.fixture
def dim_square():
    """A frame of 32 x 32 pixels with one grey square, which the model reads enlarged and binary, centre (10, 20)."""
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[7:14, 17:24] = 100
    return frame


@pytest.fixture
def prepared_model(tmp_path):
    """The folder of a model with whose weights a preprocessing is stored."""
    folder = shutil.copytree(BUNDLED / "multi-dsprites", tmp_path / "model")
    stored = json.loads((folder / CONFIG_FILE).read_text())
    stored["preprocessing"] = {"resize": [64, 64], "threshold": 99}
    (folder / CONFIG_FILE).write_text(json.dumps(stored))
    return str(folder)


@pytest.fixture
def references():
    """One ``Reference`` for each of the four environments."""
    return [Reference() for _ in range(4)]


@pytest.fixture
def tracked() -> dict[str, Any]:
    """Options with which the wrappers do what a ``Reference`` does."""
    return {"max_objects": SLOTS, "tracking": "hungarian", "velocity": True}


@pytest.fixture
def assert_same():
    """Compares an observation with that of a reference."""

    def check(tokens, expected):
        assert set(tokens) == set(expected)
        np.testing.assert_array_equal(tokens["mask"], expected["mask"])
        np.testing.assert_allclose(tokens["tokens"], expected["tokens"], atol=1e-5)

    return check


@pytest.fixture
def same_weights():
    """Whether two trainings have the same weights, averages included, to the bit."""

    def weights(training):
        model, average = training.method.model.state_dict(), training.average.state_dict()
        return {**model, **{f"average.{name}": value for name, value in average.items()}}

    def check(one, other):
        found, expected = weights(one), weights(other)
        return all(torch.equal(value, expected[name]) for name, value in found.items())

    return check


class Slide(gym.Env):
    """A square slides over a screen, and what is observed is not the screen; action 1 or above 0 has its own reward."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, size, steps, rewards, continuous=False, render_mode=None):
        self.render_mode = render_mode
        self._size, self._steps, self._rewards = size, steps, rewards
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32) if continuous else gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._clock = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._clock += 1
        reward = self._rewards[int(np.all(action > 0))]
        return np.zeros(1, np.float32), reward, self._clock == self._steps, False, {}

    def render(self):
        frame = np.zeros((*self._size, 3), np.uint8)
        frame[10:14, 10 * self._clock : 10 * self._clock + 4] = 255
        return frame


@pytest.fixture
def register_slide():
    """Registers ``Slide`` under an id, with its options, and returns the id."""
    ids = []

    def register(env_id, **options):
        gym.register(env_id, lambda **kwargs: Slide(**kwargs), kwargs=options)
        ids.append(env_id)
        return env_id

    yield register
    for env_id in ids:
        del gym.registry[env_id]
