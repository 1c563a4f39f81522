"""Games on a grid, 8 pixels a cell: MinAtar, whose state has a channel for each kind of object, and Minigrid."""

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from truths.truth import Game, Moment, Rectangle, record

CELL = 8
COLOURS = np.array(
    [
        *[(0, 0, 0), (255, 255, 255), (230, 60, 60), (60, 200, 80), (70, 110, 240), (240, 200, 50)],
        *[(200, 80, 220), (70, 210, 220), (250, 140, 40), (150, 150, 150), (150, 90, 50)],
    ],
    np.uint8,
)
"""Black, then the colour of each channel of MinAtar, RGB."""
GAUGE_ROWS = {"seaquest": 1}
"""Rows of cells at the bottom in which a game of MinAtar shows what is left of something."""


def _box(row: int, column: int) -> Rectangle:
    return row * CELL, column * CELL, CELL, CELL


def minatar(name: str) -> Game:
    """A game of MinAtar: "minatar-breakout", "minatar-space_invaders", "minatar-seaquest", ..."""
    game = name.removeprefix("minatar-")
    play = partial(_play_minatar, game)
    playfield = (0, 0, (10 - GAUGE_ROWS.get(game, 0)) * CELL, 10 * CELL)
    return Game(name, partial(record, play, playfield), play, None)


def _play_minatar(game: str, seed: int) -> Iterator[Moment]:
    env: Any = importlib.import_module("minatar").Environment(game)
    env.seed(seed)
    env.reset()
    names, rng, first = list(env.env.channels), np.random.default_rng(seed), True
    while True:
        state = env.state()
        # Several channels at one cell are one object and properties of it, such as the direction of an alien.
        shown = np.where(state.any(2), 1 + state.argmax(2), 0)
        cells = np.argwhere(shown).tolist()
        frame = np.kron(shown, np.ones((CELL, CELL), int))
        yield Moment(COLOURS[frame], [_box(*cell) for cell in cells], [names[shown[r, c] - 1] for r, c in cells], first)
        _, first = env.act(int(rng.integers(env.num_actions())))
        if first:
            env.reset()


def minigrid(env_id: str) -> Game:
    """An environment of Minigrid: "MiniGrid-Fetch-8x8-N3-v0"; everything counts but walls and floors."""
    importlib.import_module("minigrid")
    env: Any = gym.make(env_id).unwrapped
    play = partial(_play_minigrid, env_id)
    return Game(env_id, partial(record, play, (0, 0, env.height * CELL, env.width * CELL)), play, None)


def _play_minigrid(env_id: str, seed: int) -> Iterator[Moment]:
    env: Any = gym.make(env_id)
    base = env.unwrapped
    env.reset(seed=seed)
    rng, first = np.random.default_rng(seed), True
    while True:
        places = [(row, column) for row in range(base.height) for column in range(base.width)]
        there = [(place, base.grid.get(place[1], place[0])) for place in places]
        objects = [(place, each.type) for place, each in there if each and each.type not in ("wall", "floor")]
        column, row = (int(value) for value in base.agent_pos)
        # An agent on top of a goal hides it.
        objects = [each for each in objects if each[0] != (row, column)] + [((row, column), "agent")]
        frame = base.get_frame(highlight=False, tile_size=CELL)
        yield Moment(frame, [_box(*place) for place, _ in objects], [kind for _, kind in objects], first)
        _, _, ended, cut, _ = env.step(int(rng.integers(env.action_space.n)))
        if first := ended or cut:
            env.reset()
