"""The flags of the training program for frames of an environment, and how a run on such frames starts."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console

from lavae_rl.data.manifest import MANIFEST_FILE, Rollouts, read_manifest
from lavae_rl.data.preprocessing import Preprocessing
from lavae_rl.data.recordings import FrameSpec
from lavae_rl.data.sources import SceneSpec
from lavae_rl.pretraining.collecting import collect_under_bar
from lavae_rl.pretraining.report import describe_survey
from lavae_rl.pretraining.run import PretrainingRun, new_world_run
from lavae_rl.pretraining.survey import BACKGROUNDS, Survey
from lavae_rl.runs.folder import FRAMES_FOLDER
from lavae_rl.runs.programs import as_typed

COLLECTED = ("num_frames", "env_kwargs", "frame_key", "max_frames")
"""Flags that are settings of ``Rollouts``."""
SURVEYED = ("background", "sprite_size", "max_objects", "ignore")
"""Flags that are arguments of ``survey``."""


def add_frame_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that are for --env and --frames."""
    group = parser.add_argument_group("frames of an environment")
    group.add_argument("--num-frames", type=int, help="with --env: number of frames to collect (default: 4,000)")
    group.add_argument("--env-kwargs", type=json_object, help="with --env: JSON of options for the environment")
    group.add_argument("--frame-key", help="with --env: key of the frame in dictionary observations")
    group.add_argument("--max-frames", type=int, choices=(1, 2), help=as_typed("with --env: see collect_frames.py"))
    kinds = "static: one picture; states: several colours a pixel; changing: from frame to frame; black (default: auto)"
    group.add_argument("--background", choices=BACKGROUNDS, help=kinds)
    group.add_argument("--sprite-size", type=number_or_auto, help="side of small sprites in pixels (default: auto)")
    most = "most objects that the prior expects (default: auto)"
    group.add_argument("--max-objects", type=number_or_auto, help=most)
    ignored = "area to leave out, ROW,COLUMN,HEIGHT,WIDTH in pixels; may be repeated"
    group.add_argument("--ignore", type=area, action="append", help=ignored)


def number_or_auto(text: str) -> int | None:
    """Read a whole number of at least 1; "auto" is None."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected auto or a whole number of at least 1, got {text}")
    return int(text)


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected JSON, got {text!r} ({error})") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text!r}")
    return found


def area(text: str) -> tuple[int, ...]:
    """Read ROW,COLUMN,HEIGHT,WIDTH."""
    values = tuple(map(int, text.split(",")))
    if len(values) != 4:
        raise argparse.ArgumentTypeError(f"expected ROW,COLUMN,HEIGHT,WIDTH, got {text}")
    return values


def world_flags(args: argparse.Namespace) -> dict[str, Any]:
    """The flags for frames of an environment that were given, but for "auto", which leaves the choice open."""
    names = ("env", "frames", *COLLECTED, *SURVEYED)
    given = {name: value for name in names if (value := getattr(args, name)) not in (None, "auto")}
    given |= {"frames": str(args.frames.resolve())} if args.frames is not None else {}
    return given | ({"ignore": tuple(args.ignore)} if args.ignore is not None else {})


def refuse_foreign_flags(args: argparse.Namespace) -> None:
    """Raise ValueError where flags for frames are given with one of the paper's data sets."""
    if foreign := [f"--{name.replace('_', '-')}" for name in world_flags(args)]:
        raise ValueError(f"expected --env or --frames with {', '.join(foreign)}")


def start_world_run(
    args: argparse.Namespace, out: Path, chosen: dict[str, Any], console: Console
) -> tuple[PretrainingRun, Survey]:
    """Collect frames if there are none yet, survey them, and say what was chosen."""
    given = world_flags(args)
    if args.env is not None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                as_typed("expected --frames with several processes: collect them first by collect_frames.py")
            )
        folder = out / FRAMES_FOLDER
        settings = {name: given[name] for name in COLLECTED if name in given}
        rollouts = Rollouts(
            **{"env_id": args.env, "env_kwargs": {}, "policy": "random", "num_frames": 4_000} | settings
        )
        collect_under_bar(rollouts, folder, (folder / MANIFEST_FILE).exists(), console)
    else:
        folder = Path(given["frames"])
        if only := [name for name in COLLECTED if name in given]:
            raise ValueError(f"expected --env with --{', --'.join(only).replace('_', '-')}")
    data = FrameSpec(str(folder.resolve()))
    options = {name: given[name] for name in SURVEYED if name in given}
    console.print("looking at the frames: background, sizes and numbers of what moves ...")
    run, found = new_world_run(data=data, options=options, preprocessing=stored_with_weights(folder), **chosen)
    for line in describe_survey(found):
        console.print(line)
    return run, found


def stored_with_weights(folder: Path) -> Preprocessing:
    """The preprocessing that turns frames of the environment into what a folder holds; by default none."""
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None:
        return Preprocessing()
    return Preprocessing(layout=manifest.layout, max_frames=manifest.max_frames)


def stored_data(run: PretrainingRun) -> dict[str, Any]:
    """The settings of a run's data, by the names of the flags."""
    if isinstance(run.data, SceneSpec):
        foreign = dict.fromkeys(("env", "frames", *COLLECTED, *SURVEYED))
        return foreign | {"dataset": run.data.dataset, "mnist_dir": run.data.mnist_dir}
    chosen = run.choices
    stored = {name: getattr(chosen, name) for name in SURVEYED} | {"dataset": None, "mnist_dir": None}
    manifest = read_manifest(Path(run.data.path))
    stored |= dict.fromkeys(COLLECTED) if manifest is None else {name: getattr(manifest, name) for name in COLLECTED}
    return stored | {"env": manifest and manifest.env_id, "frames": run.data.path}
