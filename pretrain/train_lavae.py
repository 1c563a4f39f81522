"""Train a LAVAE without labels: on frames of your environment, or on one of the paper's data sets.

    python pretrain/train_lavae.py --env ALE/Pong-v5 --out runs/pong
    python pretrain/train_lavae.py --frames FOLDER_OR_FILE --out runs/mine
    python pretrain/train_lavae.py --dataset multi-dsprites
    python pretrain/train_lavae.py --dataset multi-dsprites --model baseline

The installed command is lavae-train.

With --env, frames of a random policy are collected first; pretrain/collect_frames.py has more options.

Everything lands in one run folder: config.json, metrics.csv and TensorBoard events, checkpoint.pt, model.safetensors
and figures/. Ctrl-C leaves a run that --resume continues to the same weights as if nothing had happened.

On several GPUs or machines, launch it with Accelerate or torchrun; the batch size is each process's own, --out one
folder for all, and --auto-resume lets a queue of jobs start it again:

    accelerate launch --multi_gpu pretrain/train_lavae.py --recipe paper --mixed-precision bf16
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich import progress as bars
from rich.console import Console
from rich.markup import escape

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.recordings import FrameSpec
from lavae_rl.data.sources import DATASETS, SceneSpec, open_source, prepared
from lavae_rl.evaluation.evaluate import evaluate, evaluate_frames
from lavae_rl.pretraining.compilers import check_compiler
from lavae_rl.pretraining.frame_options import (
    add_frame_options,
    refuse_foreign_flags,
    start_world_run,
    stored_data,
    world_flags,
)
from lavae_rl.pretraining.loop import TrainingDivergedError, train
from lavae_rl.pretraining.recipes import PRESETS
from lavae_rl.pretraining.report import describe, describe_evaluation, summary, survey_figure
from lavae_rl.pretraining.run import PretrainingRun, new_run, read_run, scaled_run
from lavae_rl.pretraining.state import Method, Progress, Training, make_accelerator
from lavae_rl.pretraining.survey import Survey
from lavae_rl.runs.config import CONFIG_FILE, check_agreement
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import EXIT_STOPPED, clean_exit, program_parser
from lavae_rl.runs.folder import RunFolder
from lavae_rl.runs.programs import as_typed
from lavae_rl.runs.provenance import Provenance
from lavae_rl.runs.signals import handling

BOUND_SAMPLES = 100
"""Importance samples of the log-likelihood bound (paper)."""
PRECISIONS = ("no", "bf16")
DEFAULTS: dict[str, Any] = {"model": "lavae", "seed": 0}
SCALING = ("batch_size", "learning_rate_scale")
SETTINGS = (*DEFAULTS, *SCALING, "recipe", "dataset", "steps", "mnist_dir", "mixed_precision", "compile")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what is not given stays None, so that --resume can tell."""
    parser = program_parser(__doc__)
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--dataset", choices=DATASETS, help="data set of the paper (default: multi-dsprites)")
    data.add_argument("--env", help="id of an environment, whose frames are collected first")
    files = as_typed("frames to train on: what collect_frames.py made, .npy, .npz, a video, or a folder of PNGs")
    data.add_argument("--frames", type=Path, help=files)
    add_frame_options(parser)
    parser.add_argument("--model", choices=PRESETS, help="what to train (default: lavae)")
    names = sorted({name for presets in PRESETS.values() for name in presets})
    recipes = "training settings (default: world with --env or --frames, otherwise fast)"
    parser.add_argument("--recipe", choices=names, help=recipes)
    parser.add_argument("--steps", type=int, help="length of the run in optimiser steps (default: the recipe's)")
    batch = "training frames per step of each process (default: the recipe's)"
    parser.add_argument("--batch-size", type=int, help=batch)
    scale = "factor of the recipe's learning rates, for larger batches (default: 1)"
    parser.add_argument("--learning-rate-scale", type=float, help=scale)
    parser.add_argument("--seed", type=int, help="seed of weights, batches and noise, not of data (default: 0)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto takes a GPU if any (default: auto)")
    parser.add_argument(
        "--mixed-precision", choices=PRECISIONS, help="bfloat16 networks (default: the launcher's, or no)"
    )
    compiling = "torch.compile the networks, for long runs on a GPU: minutes first, then faster steps; needs a compiler"
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help=compiling)
    parser.add_argument("--out", type=Path, help="run folder (default: runs/DATA-RECIPE-seedN)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    again = "continue the run in --out if there is one, else start it: for queues of jobs"
    parser.add_argument("--auto-resume", action="store_true", help=again)
    parser.add_argument("--mnist-dir", help="folder of MNIST's IDX files, to draw digits from all 60,000")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args = parse_args(argv)
    stopped = "stopped; what is in the run folder can be continued with --resume"
    with clean_exit(stopped=stopped, errors=(ValueError, TypeError, OSError, TrainingDivergedError)) as console:
        complete = run(args, console)
    if not complete:
        sys.exit(EXIT_STOPPED)


def run(args: argparse.Namespace, console: Console) -> bool:
    """Train, evaluate and report; return whether the run is complete."""
    given = {name: value for name in SETTINGS if (value := getattr(args, name)) is not None}
    if "mnist_dir" in given:
        given["mnist_dir"] = str(Path(given["mnist_dir"]).resolve())  # to be found from elsewhere
    defaults = {"recipe": "world"} if args.env or args.frames else {"recipe": "fast", "dataset": "multi-dsprites"}
    chosen = DEFAULTS | defaults | {"mixed_precision": os.environ.get("ACCELERATE_MIXED_PRECISION", "no")} | given
    out = args.out or default_folder(chosen, args.env or args.frames)
    args.resume = resumes(args, out)
    with RunFolder(out, args.resume) as folder:
        run, found = open_run(args, out, given, chosen, console)
        if run.metrics is not None:
            console.print(f"the run in {escape(str(out))} is complete", summary(run, out))
            return True
        accelerator = choose_accelerator(args.device, run.mixed_precision)
        if run.processes not in (None, processes := accelerator.num_processes):  # each has a batch of its own
            raise ValueError(f"the run was started by {run.processes} processes, got {processes}; launch as many")
        run.processes = processes
        run.device = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else "cpu"
        console.quiet = not accelerator.is_main_process
        training = Training(make_method(run, found, accelerator), run.recipe, run.seed, accelerator)
        if run.compile:
            training.compile()
        if args.resume and (state := folder.load_checkpoint(training.device)) is not None:
            training.load(state)
            console.print(f"resuming {escape(str(out))} at step {training.progress.step}")
        training.check_agreement()
        sources = [open_frames(run, split) for split in ("train", "validation")]
        accelerator.wait_for_everyone()  # none may look for an empty folder after the first has written to it
        if accelerator.is_main_process:
            folder.claim()
            folder.forget_after(training.progress.step)
            training.average.save_pretrained(out, run.content())
        if found is not None and accelerator.is_main_process:
            folder.save_figure("survey", survey_figure(found))
        complete = watch(training, sources, folder, run, console)
        if complete and accelerator.is_main_process:
            measure(training, out, run, console)
        accelerator.wait_for_everyone()  # or a launcher that sees one process end ends the one that still writes
        accelerator.end_training()  # a process that leaves a group that still stands can abort
        if not complete:
            console.print(f"stopped at step {training.progress.step}; continue with --resume --out {escape(str(out))}")
    return complete


def resumes(args: argparse.Namespace, out: Path) -> bool:
    """Return True if a run is continued; a FileNotFoundError says that one of several processes finds none."""
    there, processes = (out / CONFIG_FILE).is_file(), int(os.environ.get("WORLD_SIZE", "1"))
    if args.resume and not there and processes > 1:
        raise FileNotFoundError(f"no run in {out} on this machine: --out has to be a folder that all machines share")
    return bool(args.resume or (args.auto_resume and there))


def open_run(
    args: argparse.Namespace, out: Path, given: dict[str, Any], chosen: dict[str, Any], console: Console
) -> tuple[PretrainingRun, Survey | None]:
    """The run to resume or to start, and the survey of its frames if it starts on frames of an environment."""
    if args.resume:
        run = resumed_run(out, given | world_flags(args))
        if run.compile and run.metrics is None:
            check_compiler(choose_device(args.device))
        return run, None
    if args.compile:
        check_compiler(choose_device(args.device))  # before frames are collected
    scaling = {name: chosen[name] for name in SCALING if name in chosen}
    chosen = {name: value for name, value in chosen.items() if name not in SCALING}
    if args.env or args.frames:
        run, found = start_world_run(args, out, chosen, console)
        return scaled_run(run, **scaling), found
    refuse_foreign_flags(args)
    return scaled_run(new_run(**chosen), **scaling), None


def open_frames(run: PretrainingRun, split: str) -> FrameSource:
    """A split of the data, preprocessed; recordings hold frames that have been."""
    if isinstance(run.data, FrameSpec):
        return open_source(run.data, split)
    return prepared(open_source(run.data, split), run.preprocessing)


def make_method(run: PretrainingRun, found: Survey | None, accelerator: Accelerator) -> Method:
    """The method at its first step, on the background that a survey found."""
    method = run.make_method(accelerator)
    if found is not None:
        found.install(method.model)
    return method


def measure(training: Training, out: Path, run: PretrainingRun, console: Console) -> None:
    """Measure the finished model on the test splits, save the metrics and print them."""
    console.print("measuring on the test splits ...")
    recipe, progress = training.recipe, training.progress
    if isinstance(run.data, FrameSpec):
        run.metrics = evaluate_frames(training.average, run.data, recipe.elbo_scenes)
    else:
        run.metrics = evaluate(training.average, run.data, recipe.test_scenes, BOUND_SAMPLES, recipe.bound_scenes)
    run.training_seconds, run.skipped_steps = progress.seconds, progress.skipped
    training.average.save_pretrained(out, run.content())
    console.print(summary(run, out))


def default_folder(chosen: Mapping[str, Any], frames: str | Path | None) -> Path:
    """The folder of a run without ``--out``."""
    kind = "" if chosen["model"] == "lavae" else f"{chosen['model']}-"
    data = chosen["dataset"] if frames is None else re.sub(r"\W+", "-", Path(frames).stem)
    return Path("runs") / f"{data}-{kind}{chosen['recipe']}-seed{chosen['seed']}"


def resumed_run(out: Path, given: dict[str, Any]) -> PretrainingRun:
    """The run in a folder; flags given again must agree with it."""
    run = read_run(out)
    if given.get("compile") is False:  # steps are the same but for rounding, and a compiler may be missing by now
        run.compile = False
    stored = {name: getattr(run, name) for name in ("seed", "mixed_precision", "compile", "learning_rate_scale")}
    stored |= stored_data(run) | {name: getattr(run.recipe, name) for name in ("steps", "batch_size")}
    stored |= {"recipe": run.recipe_name, "model": "baseline" if run.method == "vae" else "lavae"}
    check_agreement(out, stored, given)
    run.resumed.append(Provenance.here())
    return run


def choose_accelerator(device: str, mixed_precision: str) -> Accelerator:
    """The device of this process for ``--device``, deterministic on a GPU too."""
    if mixed_precision not in PRECISIONS:
        raise ValueError(f"expected mixed precision of {', '.join(PRECISIONS)}, got {mixed_precision} of the launcher")
    device = choose_device(device)
    if device == "cuda":
        # Resumed runs are to repeat the same bits on a GPU too; cuBLAS reads the variable when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # none is read
    return make_accelerator(device == "cpu", mixed_precision)


def watch(
    training: Training, sources: Sequence[FrameSource], folder: RunFolder, run: PretrainingRun, console: Console
) -> bool:
    """Train under a progress bar. SIGINT and SIGTERM stop it after the current step, checkpoint written."""
    (source, validation), steps = sources, run.recipe.steps
    name = run.data.dataset if isinstance(run.data, SceneSpec) else run.data.path
    console.print(f"{escape(name)}: {len(source):,} frames, {steps:,} steps on {training.device}")
    if run.method == "wake-sleep" and run.recipe.joint_from_step <= run.recipe.dreams_from_step:
        console.print("[yellow]note:[/] in so few steps the location network learns nothing, and will find nothing")
    stopped: list[int] = []
    columns = (bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    bar = bars.Progress(*columns, bars.TextColumn("{task.description}"), console=console)
    task = bar.add_task("", total=steps, completed=training.progress.step)

    def on_step(progress: Progress, terms: dict[str, float]) -> None:
        bar.update(task, completed=progress.step, description=describe(progress, terms))

    def on_evaluation(progress: Progress, measured: dict[str, float]) -> None:
        console.print(describe_evaluation(progress, measured))

    def stop() -> bool:
        return bool(stopped)

    with handling(lambda number, _: stopped.append(number), signal.SIGINT, signal.SIGTERM), bar:
        return train(training, source, validation, folder, run.content(), on_step, on_evaluation, stop)


if __name__ == "__main__":
    main()
