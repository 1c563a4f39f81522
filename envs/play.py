"""Play a task with the keyboard or the mouse, or show a policy at it, in a window or in a file.

    python -m lavae_rl.envs.play OddOneOut --num-objects 3 6
    python -m lavae_rl.envs.play Push --tokens --policy scripted --record push.gif
    python -m lavae_rl.envs.play --gallery docs/images/tasks

The installed command is lavae-play.

Arrow keys or W, A, S, D move, the space bar stays; in pointing tasks, a click points. An episode ends with a green
border if it was a success, otherwise with a red one; then the space bar or a click begins the next. R begins a new one
at any time, Q or Esc quits.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.markup import escape

from lavae_rl.data.coordinates import to_location, to_xy
from lavae_rl.pictures import gif
from lavae_rl.registration import TASKS, task_name
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.exits import clean_exit, program_parser
from lavae_rl.shapes import Picture

from .screen import WITHOUT_WINDOWS, has_screen, screen_problem
from .scripted import ScriptedPolicy
from .simulation import Simulation
from .sprite_env import RENDER_SIZE

Input = int | tuple[int, int]
"""Code of a key, or (x, y) of a click on the picture."""

BORDER = 6
"""Width in pixels of the border whose colour shows how an episode ended."""

PAUSE, END = 6, 12
"""Frames for which a new scene or the place pointed at is shown, and the end of an episode."""

_GREY, _GREEN, _RED, _ORANGE, _BLACK = (64, 64, 64), (0, 190, 0), (230, 0, 0), (255, 160, 0), (0, 0, 0)
_NEXT = ord(" ")
_QUIT, _RESET = (27, *b"qQ"), tuple(b"rR")
# Arrows have other codes on Linux, macOS and Windows.
_ARROWS = (65362, 65364, 65361, 65363), (63232, 63233, 63234, 63235), (0x260000, 0x280000, 0x250000, 0x270000)
_MOVES = {_NEXT: 0} | {key: move for keys in (b"wsad", b"WSAD", *_ARROWS) for move, key in enumerate(keys, 1)}
"""Actions by key: stay, then up, down, left, right."""


class Game:
    """A task, its score, and the picture to show.

    ``tokens`` draws the objects that LAVAE finds. ``small`` halves the pictures' size, but not with tokens, whose
    numbers would be illegible. ``options`` are those of the environment.
    """

    def __init__(self, name: str, tokens: bool = False, small: bool = False, **options: Any) -> None:
        self.name = name
        env: Any = gym.make(f"LAVAE/{name}-v0", render_mode="rgb_array", **options)
        self.simulation: Simulation = env.unwrapped.simulation
        self.points = isinstance(env.action_space, gym.spaces.Box)
        if tokens:
            from lavae_rl.perception.wrappers import LAVAEObservation  # loads torch, which takes seconds

            env = LAVAEObservation(env, TASKS[name].model, max(8, self.simulation.range[1] + 1), render_objects=True)
        self.env: gym.Env[Any, Any] = env
        self._thin = 2 if small and not tokens else 1
        self._block = RENDER_SIZE // max(self.simulation.canvas_size) // self._thin
        self.successes = self.episodes = 0
        self.over = self.success = False
        self.pointed: Any = None

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode; one that is not over does not count."""
        self.env.reset(seed=seed)
        self.over, self.success, self.pointed = False, False, None

    def step(self, action: Any) -> None:
        """Act, and count an episode that ends."""
        _, _, terminated, truncated, info = self.env.step(action)
        self.over, self.success = terminated or truncated, info["is_success"]
        self.episodes += self.over
        self.successes += self.success
        if self.points:
            self.pointed = action

    @property
    def title(self) -> str:
        """The task, successes and episodes, and how this episode ended."""
        end = f" - {'success' if self.success else 'failure'}, space or click: next" if self.over else ""
        return f"{self.name}: {self.successes} / {self.episodes}{end}"

    def picture(self) -> Picture:
        """The enlarged frame with the pointer position or the goal, in a border that shows how the episode ended."""
        rendered: Any = self.env.render()
        picture = rendered[:: self._thin, :: self._thin].copy()
        task = self.simulation.task
        if task.goal is not None:
            (low, _), _ = task.reach(self.simulation.canvas_size)
            cv2.rectangle(picture, (-1, -1), ((low + task.goal + 1) * self._block,) * 2, _GREY)
        if self.pointed is not None:
            location = to_location(np.clip(self.pointed, -1, 1), self.simulation.canvas_size)
            y, x = ((location + 0.5) * self._block).astype(int).tolist()
            for color, thickness in ((_BLACK, 4), (_ORANGE, 2)):
                cv2.drawMarker(picture, (x, y), color, cv2.MARKER_CROSS, 5 * self._block, thickness)
        color = _GREY if not self.over else _GREEN if self.success else _RED
        return cv2.copyMakeBorder(picture, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_CONSTANT, value=color)

    def action(self, given: Input) -> Any:
        """The action that a key or a click means; None where it means nothing in this task."""
        if not isinstance(given, tuple):
            return None if self.points else _MOVES.get(given)
        location = (np.array(given[::-1]) - BORDER) // self._block
        inside = ((location >= 0) & (location < self.simulation.canvas_size)).all()
        return to_xy(location, self.simulation.canvas_size).astype(np.float32) if self.points and inside else None


def play(game: Game, read: Callable[[], Input], show: Callable[[str, Picture], None]) -> None:
    """Play until somebody quits: show titles and pictures, and act by the keys and clicks that ``read`` waits for."""
    while True:
        show(game.title, game.picture())
        given = read()
        if given in _QUIT:
            return
        if given in _RESET or (game.over and (given == _NEXT or isinstance(given, tuple))):
            game.reset()
        elif not game.over and (action := game.action(given)) is not None:
            game.step(action)


def pictures(game: Game, policy: str, episodes: int, seed: int | None) -> Iterator[tuple[Picture, int]]:
    """Pictures of episodes with seeds ``seed``, ``seed`` + 1, ..., and the number of frames to show each for."""
    scripted = ScriptedPolicy(game.simulation)
    game.env.action_space.seed(seed)
    for episode in range(episodes):
        game.reset(None if seed is None else seed + episode)
        yield game.picture(), PAUSE
        while not game.over:
            action = scripted()[0] if policy == "scripted" else game.env.action_space.sample()
            if game.points:
                game.pointed = action  # shown before the object pointed at vanishes
                yield game.picture(), PAUSE
            game.step(action)
            yield game.picture(), END if game.over else PAUSE if game.points else 1


class Window:
    """A window that stays while its title changes. It raises OSError where there is no screen."""

    _NAME = "lavae-play"

    def __init__(self) -> None:
        if not has_screen():
            raise OSError(f"{screen_problem()}; --record FILE.gif needs none")
        self._clicks: list[tuple[int, int]] = []
        try:
            cv2.namedWindow(self._NAME, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            cv2.setMouseCallback(self._NAME, self._click)
        except cv2.error as error:
            raise OSError(f"{WITHOUT_WINDOWS}; --record FILE.gif needs none") from error

    def _click(self, event: int, x: int, y: int, *_: Any) -> None:
        if event == cv2.EVENT_LBUTTONDOWN:
            self._clicks.append((x, y))

    def _is_open(self) -> bool:
        try:
            return cv2.getWindowProperty(self._NAME, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # what Qt answers when no window is left
            return False

    def show(self, title: str, picture: Picture) -> None:
        """Show a picture."""
        cv2.setWindowTitle(self._NAME, title)
        cv2.imshow(self._NAME, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def read(self, seconds: float = math.inf) -> Input:
        """The next key or click; -1 if there is none in time, and Esc if the window was closed."""
        end = time.monotonic() + seconds
        while True:
            key = cv2.waitKeyEx(20)
            if key != -1:
                return key if key in _MOVES else key & 0xFFFF  # above are Shift, Num Lock and the like
            if self._clicks:
                return self._clicks.pop(0)
            if not self._is_open():
                return _QUIT[0]
            if time.monotonic() >= end:
                return -1


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("id", nargs="?", metavar="ID", help=f"task, also as LAVAE/ID-v0: {', '.join(TASKS)}")
    parser.add_argument("--num-objects", type=int, nargs="+", help="number of objects, or lowest and highest number")
    parser.add_argument("--mode", choices=["train", "test"], default="train", help="test is held out (default: train)")
    parser.add_argument("--tokens", action="store_true", help="draw the objects that LAVAE finds")
    parser.add_argument("--policy", choices=["scripted", "random"], help="player (default: you; in a file, scripted)")
    parser.add_argument("--episodes", type=int, default=4, help="episodes that the policy plays (default: 4)")
    parser.add_argument("--seed", type=int, help="seed of the first episode (default: any; in a file, 0)")
    parser.add_argument("--fps", type=float, default=8.0, help="steps of the policy in a second (default: 8)")
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--record", type=Path, metavar="FILE.gif", help="write what the policy does to a file")
    files.add_argument("--gallery", type=Path, metavar="FOLDER", help="record all tasks, each in a file of its name")
    args = parser.parse_args(argv)
    if (args.id is None) == (args.gallery is None):
        parser.error("expected the ID of a task, or --gallery FOLDER")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 done, 1 failed, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        run(args, console)


def run(args: argparse.Namespace, console: Console) -> None:
    """Record, or open a window."""
    if args.episodes < 1 or (args.seed or 0) < 0 or not 0 < args.fps <= 50:
        raise ValueError("expected --episodes of at least 1, --seed of at least 0 and --fps above 0, at most 50")
    if args.gallery is not None:
        for name in TASKS:
            record(args, name, args.gallery / f"{name}.gif", console)
    elif args.record is not None:
        record(args, task_name(args.id), args.record, console)
    else:
        watch(args, make_game(args, task_name(args.id)))


def make_game(args: argparse.Namespace, name: str, small: bool = False) -> Game:
    """Make the game that the arguments describe."""
    numbers = args.num_objects
    num_objects = numbers[0] if numbers and len(numbers) == 1 else numbers
    return Game(name, args.tokens, small, num_objects=num_objects, mode=args.mode)


def record(args: argparse.Namespace, name: str, file: Path, console: Console) -> None:
    """Record episodes of a policy in a file."""
    if file.suffix != ".gif" or not file.parent.is_dir():
        raise ValueError(f"expected a file *.gif in a folder that exists, got {file}")
    with replacing(file) as temporary:
        game = make_game(args, name, small=True)
        played = pictures(game, args.policy or "scripted", args.episodes, args.seed or 0)
        temporary.write_bytes(gif(played, args.fps))
    console.print(f"{escape(str(file))}: {game.successes} of {game.episodes} episodes with success")


def watch(args: argparse.Namespace, game: Game) -> None:
    """Play in a window, or show a policy there."""
    window = Window()
    if args.policy is None:
        game.reset(args.seed)
        play(game, window.read, window.show)
        return
    for picture, count in pictures(game, args.policy, args.episodes, args.seed):
        window.show(game.title, picture)
        if window.read(count / args.fps) in _QUIT:
            return


if __name__ == "__main__":
    main()
