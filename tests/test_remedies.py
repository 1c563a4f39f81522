"""Every remedy that an error of the library proposes is executed here, and then works.

Those about frames are in ``test_remedies_of_frames.py``, those of programs in ``test_remedies_of_programs.py``, and the
nearest names of options in ``test_options.py``.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from lavae_rl import LAVAE, LAVAEObservation
from lavae_rl.data.digits import digits_bank
from lavae_rl.data.files import load_npz
from lavae_rl.data.recordings import open_recording
from lavae_rl.data.scenes import sample_scenes
from lavae_rl.data.sources import SceneSpec, load_bank
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.evaluation.detection import measure_detection
from lavae_rl.model.baseline import BaselineConfig, ConvVAE
from lavae_rl.model.checkpoint import load_model
from lavae_rl.perception.sb3 import GymVectorToSB3, SetFeaturesExtractor, VecLAVAEObservation
from lavae_rl.policies.set_extractor import SetFeaturesExtractor as Extractor

SAME = AutoresetMode.SAME_STEP
GOAL = "LAVAE/ObjectGoal-v0"
OPTIONS: dict[str, Any] = {"autoreset_mode": SAME}
FRAMES = np.zeros((12, 16, 16, 3), np.uint8)
FRAMES[:, 3:6, 3:6] = 200


class Case(NamedTuple):
    """An error that proposes a remedy."""

    says: str
    """Pattern of its message."""
    failing: Callable[[Any], Any]
    """Provokes it, given a folder."""
    mended: Callable[[Any], Any]
    """Does what the message proposes."""
    error: type[Exception] = ValueError


def npy(folder, frames):
    np.save(folder / "frames.npy", frames)
    return open_recording(folder / "frames.npy")


def pickled_npz(folder):
    np.savez(folder / "a.npz", x=FRAMES, labels=np.array({"n_obj": [1] * 12}, object))
    return folder / "a.npz"


def two_sizes(folder, second):
    np.save(folder / "a.npy", FRAMES)
    np.save(folder / "b.npy", second)
    return open_recording(folder)


def vae(folder):
    ConvVAE(BaselineConfig(latents=2)).save_pretrained(folder)
    return folder


def detection(**more):
    boxes = [np.array([[3.0, 3.0, 4.0, 4.0]])]
    return measure_detection(boxes, boxes, (20, 20), **more)


def unused_boxes(leave_out):
    boxes = np.array([[3.0, 3.0, 4.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    return measure_detection([boxes], [boxes[:1] if leave_out else boxes], (20, 20))


def scenes(num_objects, side):
    return sample_scenes(np.random.default_rng(0), load_bank("multi-dsprites"), 1, num_objects, (side, side))


def layout(env_id, num_objects, side):
    gym.make(env_id, num_objects=num_objects, canvas_size=side).reset(seed=0)


def stepped(reset):
    env = gym.make_vec(GOAL, 2, autoreset_mode="Disabled", max_episode_steps=1)
    env.reset(seed=0)
    _, _, terminated, truncated, _ = env.step([0, 0])
    if reset:
        env.reset(options={"reset_mask": terminated | truncated})
    env.step([0, 0])


def never_reset(reset):
    env = gym.make_vec(GOAL, 2)
    if reset:
        env.reset(seed=0)
    env.step([0, 0])


def options_of_sb3(same):
    venv = GymVectorToSB3(gym.make_vec(GOAL, 2, autoreset_mode=SAME))
    venv.set_options([{}, {}] if same else [{}, {"a": 1}])
    venv.reset()


TABLE = spaces.Dict({"tokens": spaces.Box(-1, 1, (4, 5)), "mask": spaces.MultiBinary(4)})
CELLS = spaces.Dict({**TABLE.spaces, "map": spaces.Box(0, 1, (3, 3))})


class Cells(gym.Env):
    """An environment with a map beside the tokens."""

    observation_space, action_space = CELLS, spaces.Discrete(2)


def set_policy(flatten, policy, **kwargs):
    venv = VecLAVAEObservation(make_vec_env(GOAL, n_envs=2), flatten=flatten)
    PPO(policy, venv, n_steps=4, batch_size=8, policy_kwargs=kwargs)


def extractor_of_frames(wrapped):
    venv = make_vec_env(GOAL, n_envs=2)
    policy, kind = ("MultiInputPolicy" if wrapped else "CnnPolicy"), {"features_extractor_class": SetFeaturesExtractor}
    venv = VecLAVAEObservation(venv) if wrapped else venv
    PPO(policy, venv, n_steps=4, batch_size=8, policy_kwargs=kind)


CASES = {
    "own vector": Case(
        r"got NEXT_STEP: make it by gymnasium\.make_vec\(\.\.\., autoreset_mode=gymnasium\.vector\.AutoresetMode\.SAME",
        lambda _: GymVectorToSB3(gym.make_vec(GOAL, num_envs=2)),
        lambda _: GymVectorToSB3(gym.make_vec(GOAL, num_envs=2, **OPTIONS)).reset(),
    ),
    "vector of single ones": Case(
        r"make_vec\(\.\.\., vector_kwargs=dict\(autoreset_mode=gymnasium\.vector\.AutoresetMode\.SAME_STEP\)\)",
        lambda _: GymVectorToSB3(gym.make_vec("LAVAE/ObjectGoalTokens-v0", num_envs=2)),
        lambda _: GymVectorToSB3(gym.make_vec("LAVAE/ObjectGoalTokens-v0", num_envs=2, vector_kwargs=OPTIONS)).reset(),
    ),
    "vector by its class": Case(
        r"or by SyncVectorEnv\(\.\.\., autoreset_mode=gymnasium\.vector\.AutoresetMode\.SAME_STEP\)",
        lambda _: GymVectorToSB3(SyncVectorEnv([lambda: gym.make(GOAL)])),
        lambda _: GymVectorToSB3(SyncVectorEnv([lambda: gym.make(GOAL)], autoreset_mode=SAME)).reset(),
    ),
    "vector without other modes": Case(
        r'vectorization_mode="sync", vector_kwargs=dict\(autoreset_mode=gymnasium\.vector\.AutoresetMode\.SAME_STEP\)',
        lambda _: GymVectorToSB3(gym.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point")),
        lambda _: GymVectorToSB3(gym.make_vec("CartPole-v1", 2, "sync", vector_kwargs=OPTIONS)).reset(),
    ),
    "options of a vector": Case(
        "takes the same options for all", lambda _: options_of_sb3(False), lambda _: options_of_sb3(True)
    ),
    "steps of what is done": Case(
        "are done: reset them with reset_mask first", lambda _: stepped(False), lambda _: stepped(True)
    ),
    "steps before a reset": Case(
        "call reset first", lambda _: never_reset(False), lambda _: never_reset(True), gym.error.ResetNeeded
    ),
    "window of a vector": Case(
        "for a window make a single environment",
        lambda _: gym.make_vec(GOAL, 2, render_mode="human"),
        lambda _: gym.make(GOAL, render_mode="human"),
    ),
    "oracle slots": Case(
        "9 objects need max_objects of at least 10, got 8",
        lambda _: gym.make(GOAL, observation="oracle", num_objects=9, canvas_size=(128, 128)),
        lambda _: gym.make(GOAL, observation="oracle", num_objects=9, canvas_size=(128, 128), max_objects=10).reset(),
    ),
    "canvas": Case(
        "canvas_size as .* of at least 36 pixels",
        lambda _: layout(GOAL, 1, (20, 64)),
        lambda _: layout(GOAL, 1, (36, 64)),
    ),
    "room": Case(
        "ask for fewer objects or a larger canvas",
        lambda _: layout(GOAL, 12, 48),
        lambda _: (layout(GOAL, 12, 128), layout(GOAL, 3, 48)),
    ),
    "room to push": Case(
        "ask for fewer objects or a larger canvas",
        lambda _: layout("LAVAE/Push-v0", 30, 64),
        lambda _: (layout("LAVAE/Push-v0", 12, 128), layout("LAVAE/Push-v0", 3, 64)),
    ),
    "scenes": Case(
        "could not pack .*; ask for fewer objects or a larger canvas",
        lambda _: scenes(20, 64),
        lambda _: (scenes(20, 160), scenes(4, 64)),
    ),
    "velocity": Case(
        'add tracking="hungarian"',
        lambda _: LAVAEObservation(gym.make(GOAL), velocity=True),
        lambda _: LAVAEObservation(gym.make(GOAL), velocity=True, tracking="hungarian").reset(seed=0),
    ),
    "small frames": Case(
        r"got 20 x 60 pixels|at least 21 px a side, got \(20, 60\)",
        lambda _: LAVAE.from_pretrained("multi-dsprites").encode(np.zeros((1, 20, 60, 3), np.uint8)),
        lambda _: LAVAE.from_pretrained("multi-dsprites").encode(np.zeros((1, 21, 60, 3), np.uint8)),
    ),
    "other model": Case(
        r"lavae_rl\.model\.checkpoint\.load_model loads either",
        lambda folder: LAVAE.from_pretrained(vae(folder)),
        lambda folder: (load_model(vae(folder)), load_model("multi-dsprites")),
    ),
    "extractor of frames": Case(
        "wrap frames in VecLAVAEObservation",
        lambda _: extractor_of_frames(False),
        lambda _: extractor_of_frames(True),
        TypeError,
    ),
    "flat tokens": Case(
        'use "MlpPolicy" without it, or flatten=False',
        lambda _: set_policy(True, "MlpPolicy", features_extractor_class=SetFeaturesExtractor),
        lambda _: (
            set_policy(True, "MlpPolicy"),
            set_policy(False, "MultiInputPolicy", features_extractor_class=SetFeaturesExtractor),
        ),
        TypeError,
    ),
    "entries": Case(
        "wrap the environment in LAVAEObservation, or rename the entries",
        lambda _: Extractor(spaces.Dict({"objects": TABLE["tokens"], "mask": TABLE["mask"]})),
        lambda _: (Extractor(TABLE), Extractor(LAVAEObservation(gym.make(GOAL)).observation_space)),
    ),
    "maps": Case(
        r"flatten it, or leave it out with gymnasium\.wrappers\.FilterObservation",
        lambda _: Extractor(CELLS),
        lambda _: (
            Extractor(gym.wrappers.FilterObservation(Cells(), ["tokens", "mask"]).observation_space),
            Extractor(spaces.Dict({**TABLE.spaces, "map": spaces.flatten_space(CELLS["map"])})),
        ),
        TypeError,
    ),
    "digits": Case(
        r"vanish; try 14",
        lambda _: digits_bank(1_000, 5),
        lambda _: digits_bank(1_000, 14),
    ),
    "sprites": Case(
        re.escape("(patches > 127) * np.uint8(255) makes them binary"),
        lambda _: SpriteBank(np.full((1, 5, 5, 1), 200, np.uint8), {}),
        lambda _: SpriteBank((np.full((1, 5, 5, 1), 200, np.uint8) > 127) * np.uint8(255), {}),
    ),
    "no digits": Case(
        "leave mnist_dir out", lambda _: SceneSpec(mnist_dir="mnist").bank(), lambda _: SceneSpec().bank()
    ),
    "pickled labels": Case(
        r"load it with allow_pickle=True",
        lambda folder: load_npz(pickled_npz(folder)),
        lambda folder: load_npz(pickled_npz(folder), allow_pickle=True),
    ),
    "slots of detections": Case(
        "add the other to count switches",
        lambda _: detection(slots=[np.array([0])]),
        lambda _: detection(slots=[np.array([0])], identities=[np.array([0])]),
    ),
    "unused boxes": Case("leave out what is unused", lambda _: unused_boxes(False), lambda _: unused_boxes(True)),
    "sizes of recordings": Case(
        r"expected frames of one size, got .* in .*a\.npy and .* in .*b\.npy",
        lambda folder: two_sizes(folder, FRAMES[:, :8]),
        lambda folder: two_sizes(folder, FRAMES),
    ),
}


@pytest.mark.filterwarnings("ignore:.*no screen")
@pytest.mark.parametrize("name", CASES)
def test_what_an_error_proposes_works(name, tmp_path):
    case = CASES[name]
    with pytest.raises(case.error, match=case.says):
        case.failing(tmp_path)
    case.mended(tmp_path)


@pytest.mark.parametrize(
    "frames",
    [
        FRAMES / 255,
        FRAMES.astype(np.int64),
        FRAMES > 0,
        FRAMES.transpose(0, 3, 1, 2),
        FRAMES[..., [0, 1, 2, 0]],
        FRAMES[..., :2],
    ],
    ids=lambda frames: f"{frames.dtype}{frames.shape}",
)
def test_recordings_are_saved_as_the_error_proposes(frames, tmp_path):
    with pytest.raises((TypeError, ValueError), match=": save ") as error:
        npy(tmp_path, frames)
    code = re.search(r"(\(?frames.*?)( for values|$)", str(error.value).rpartition(": save ")[2])
    assert code is not None
    expression = code[1].removeprefix("frames without alpha, ")
    recording = npy(tmp_path, eval(re.sub("^.* as ", "", expression), {"frames": frames, "numpy": np}))
    assert recording.shape[:2] == (16, 16)
    assert recording[:1].any()


def test_more_slots_keep_all_objects(scenes):
    model = LAVAE.from_pretrained("multi-dsprites")
    frames = scenes[np.flatnonzero(scenes.scenes.count == 3)[:2]]
    with pytest.warns(UserWarning, match="a frame has 3 objects, .* pass max_objects=3 or more"):
        model.encode(frames, max_objects=2)
    again = LAVAE.from_pretrained("multi-dsprites").encode(frames, max_objects=3)
    assert again.count.tolist() == [3, 3]
    assert not again.dropped.any()
