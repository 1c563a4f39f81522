"""Atari games: true objects from the emulator's memory by OCAtari, or from files that were made with it."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from truths.truth import Game, Moment, Rectangle, Truth, record

HEIGHT, WIDTH = 210, 160

ROWS = {
    "Asterix": (20, 160),
    "Boxing": (36, 178),
    "Breakout": (32, 196),
    "Freeway": (15, 195),
    "Kangaroo": (0, 180),
    "MsPacman": (0, 171),
    "Pong": (34, 194),
    "Seaquest": (44, 155),
    "Skiing": (30, 181),
    "SpaceInvaders": (22, 195),
    "Tennis": (14, 190),
}
"""First row of the playfield and the first one below it; other games are measured on the whole frame.

In SpaceInvaders the score is drawn over the lane of the flying saucer, which is cut off with it.
"""


def atari(name: str, files: Path | None) -> Game:
    """The game ``name`` as OCAtari and Gymnasium spell it: "SpaceInvaders".

    Raises:
        ValueError: neither OCAtari nor a file with the truth.
    """
    env_id, playfield = f"ALE/{name}-v5", _playfield(name)
    if files is not None:
        if not (file := files / f"{name}.npz").exists():
            raise ValueError(f"expected the frames and boxes of {name} in {file}, which is missing")
        return Game(name, lambda _, steps: read_truth(file, steps), partial(watch, env_id), env_id)
    if importlib.util.find_spec("ocatari") is None:
        raise ValueError(f"expected OCAtari for the true objects of {name}: install it, or give a folder with --files")
    return Game(name, partial(record, partial(play, env_id), playfield), partial(watch, env_id), env_id)


def _playfield(name: str) -> Rectangle:
    top, bottom = ROWS.get(name, (0, HEIGHT))
    return top, 0, bottom - top, WIDTH


def _register() -> None:
    ale: Any = importlib.import_module("ale_py")
    ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)
    gym.register_envs(ale)


def watch(env_id: str, seed: int) -> Iterator[Moment]:
    """A random policy's frames, without boxes."""
    _register()
    env = gym.make(env_id)
    return _roll_out(env, lambda: ([], []), seed)


def play(env_id: str, seed: int) -> Iterator[Moment]:
    """A random policy's frames and objects, without those of OCAtari's HUD; single frames, 4 emulator steps apart."""
    _register()
    core = importlib.import_module("ocatari.core")
    reader = importlib.import_module("ocatari.ram.extract_ram_info")
    env = core.OCAtari(env_id, mode="ram", hud=False, obs_mode="ori")
    # OCAtari was written for NumPy 1, where sums of the memory's bytes did not overflow.
    env.detect_objects = lambda: reader.detect_objects_ram(
        env.objects, env._ale.getRAM().astype(np.int64), env.game_name, env.hud
    )

    def objects() -> tuple[list[Rectangle], list[str]]:
        found = [(*(int(value) for value in each.xywh), each.category) for each in env.objects if each]
        found = [each for each in found if each[2] > 0 and each[3] > 0]
        return [(y, x, h, w) for x, y, w, h, _ in found], [category for *_, category in found]

    return _roll_out(env, objects, seed)


def _roll_out(env: Any, objects: Callable[[], tuple[list[Rectangle], list[str]]], seed: int) -> Iterator[Moment]:
    env.action_space.seed(seed)
    frame, _ = env.reset(seed=seed)
    first = True
    while True:
        boxes, categories = objects()
        yield Moment(np.array(frame), boxes, categories, first)
        frame, _, ended, cut, _ = env.step(env.action_space.sample())  # OCAtari swaps the two flags
        if first := ended or cut:
            frame, _ = env.reset()


def read_truth(file: Path, steps: int) -> Truth:
    """The truth about the first ``steps`` steps of a file of every fifth one.

    It holds ``index`` (frames, 210, 160) into ``palette`` (colours, 3), ``boxes`` (frames, objects, 4), -1 where
    unused, and their ``category`` (frames, objects) in the names ``categories``.
    """
    with np.load(file) as stored:
        count = -(-steps // 5)
        index, boxes = stored["index"][:count], stored["boxes"][:count].astype(np.int64)
        category, palette, names = stored["category"][:count], stored["palette"], stored["categories"]
    used = (boxes[..., 2:] > 0).all(2)
    return Truth(
        frames=palette[index],
        boxes=[each[mask] for each, mask in zip(boxes, used, strict=True)],
        category=[names[each[mask]] for each, mask in zip(category, used, strict=True)],
        playfield=_playfield(file.stem),
    )
