"""Trains a LAVAE, or the paper's baseline, on one of the paper's data sets, without labels.

    python pretrain/train_lavae.py --dataset multi-dsprites
    python pretrain/train_lavae.py --dataset multi-dsprites --model baseline

Everything lands in one run folder: config.json, metrics.csv and TensorBoard events, checkpoint.pt, model.safetensors
and figures/. Ctrl-C leaves a run that --resume continues to the same weights as if nothing had happened.

On several GPUs or machines, launch it with Accelerate or torchrun; the batch size is each process's own, --out one
folder for all:

    accelerate launch --multi_gpu pretrain/train_lavae.py --recipe paper --mixed-precision bf16
"""

import argparse
import math
import os
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
from rich.table import Table

from lavae_rl.data.frame_source import FrameSource
from lavae_rl.data.sources import DATASETS, open_source, prepared
from lavae_rl.evaluation.evaluate import evaluate
from lavae_rl.model.checkpoint import MODEL_TYPES
from lavae_rl.pretraining.loop import TrainingDivergedError, train
from lavae_rl.pretraining.recipes import PRESETS
from lavae_rl.pretraining.run import PretrainingRun, new_run, read_run
from lavae_rl.pretraining.state import Progress, Training, make_accelerator
from lavae_rl.runs.config import check_agreement
from lavae_rl.runs.devices import DEVICES, choose_device
from lavae_rl.runs.exits import EXIT_STOPPED, clean_exit, program_parser
from lavae_rl.runs.folder import RunFolder
from lavae_rl.runs.provenance import Provenance

BOUND_SAMPLES = 100
"""Importance samples of the log-likelihood bound (paper)."""
PRECISIONS = ("no", "bf16")
DEFAULTS: dict[str, Any] = {"dataset": "multi-dsprites", "model": "lavae", "recipe": "fast", "seed": 0}
SETTINGS = (*DEFAULTS, "steps", "mnist_dir", "mixed_precision", "compile")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; what is not given stays None, so that --resume can tell."""
    parser = program_parser(__doc__)
    parser.add_argument("--dataset", choices=DATASETS, help="data set to train on (default: multi-dsprites)")
    parser.add_argument("--model", choices=PRESETS, help="what to train (default: lavae)")
    names = sorted({name for presets in PRESETS.values() for name in presets})
    parser.add_argument("--recipe", choices=names, help="training settings (default: fast)")
    parser.add_argument("--steps", type=int, help="length of the run in optimiser steps (default: the recipe's)")
    parser.add_argument("--seed", type=int, help="of weights, batches and noise, from 0; never of data (default: 0)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto takes a GPU if any (default: auto)")
    parser.add_argument(
        "--mixed-precision", choices=PRECISIONS, help="bfloat16 networks (default: the launcher's, or no)"
    )
    compiling = "torch.compile the networks, for long runs on a GPU: minutes first, then faster steps"
    parser.add_argument("--compile", action="store_true", default=None, help=compiling)
    parser.add_argument("--out", type=Path, help="run folder (default: runs/DATASET-RECIPE-seedN)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    parser.add_argument("--mnist-dir", help="folder of MNIST's IDX files, to draw digits from all 60,000")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args = parse_args(argv)
    stopped = "stopped; what is in the run folder can be continued with --resume"
    with clean_exit(stopped=stopped, errors=(ValueError, OSError, TrainingDivergedError)) as console:
        complete = run(args, console)
    if not complete:
        sys.exit(EXIT_STOPPED)


def run(args: argparse.Namespace, console: Console) -> bool:
    """Trains, evaluates and reports; returns whether the run is complete."""
    given = {name: value for name in SETTINGS if (value := getattr(args, name)) is not None}
    if "mnist_dir" in given:
        given["mnist_dir"] = str(Path(given["mnist_dir"]).resolve())  # to be found from elsewhere
    chosen = DEFAULTS | {"mixed_precision": os.environ.get("ACCELERATE_MIXED_PRECISION", "no")} | given
    out = args.out or default_folder(chosen)
    with RunFolder(out, args.resume) as folder:
        run = resumed_run(out, given) if args.resume else new_run(**chosen)
        if run.metrics is not None:
            console.print(f"the run in {escape(str(out))} is complete", summary(run, out))
            return True
        accelerator = choose_accelerator(args.device, run.mixed_precision)
        if run.processes not in (None, processes := accelerator.num_processes):  # each has a batch of its own
            raise ValueError(f"the run was started by {run.processes} processes, got {processes}; launch as many")
        run.processes = processes
        run.device = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else "cpu"
        console.quiet = not accelerator.is_main_process
        training = Training(run.make_method(accelerator), run.recipe, run.seed, accelerator)
        if run.compile:
            training.compile()
        if args.resume and (state := folder.load_checkpoint(training.device)) is not None:
            training.load(state)
            console.print(f"resuming {escape(str(out))} at step {training.progress.step}")
        sources = [prepared(open_source(run.data, split), run.preprocessing) for split in ("train", "validation")]
        accelerator.wait_for_everyone()  # none may look for an empty folder after the first has written to it
        if accelerator.is_main_process:
            folder.claim()
            folder.forget_after(training.progress.step)
            training.average.save_pretrained(out, run.content())
        complete = watch(training, sources, folder, run, console)
        if complete and accelerator.is_main_process:
            measure(training, out, run, console)
        accelerator.wait_for_everyone()  # or a launcher that sees one process end ends the one that still writes
        accelerator.end_training()  # a process that leaves a group that still stands can abort
        if not complete:
            console.print(f"stopped at step {training.progress.step}; continue with --resume --out {escape(str(out))}")
    return complete


def measure(training: Training, out: Path, run: PretrainingRun, console: Console) -> None:
    """Measures the finished model on the test splits, saves the metrics and prints them."""
    console.print("measuring on the test splits ...")
    recipe, progress = training.recipe, training.progress
    run.metrics = evaluate(training.average, run.data, recipe.test_scenes, BOUND_SAMPLES, recipe.bound_scenes)
    run.training_seconds, run.skipped_steps = progress.seconds, progress.skipped
    training.average.save_pretrained(out, run.content())
    console.print(summary(run, out))


def default_folder(chosen: Mapping[str, Any]) -> Path:
    """The folder of a run without ``--out``."""
    kind = "" if chosen["model"] == "lavae" else f"{chosen['model']}-"
    return Path("runs") / f"{chosen['dataset']}-{kind}{chosen['recipe']}-seed{chosen['seed']}"


def resumed_run(out: Path, given: dict[str, Any]) -> PretrainingRun:
    """The run in a folder; flags given again must agree with it."""
    run = read_run(out)
    stored = {name: getattr(run, name) for name in ("seed", "mixed_precision", "compile")}
    stored |= {"dataset": run.data.dataset, "mnist_dir": run.data.mnist_dir, "steps": run.recipe.steps}
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
    """Trains under a progress bar. SIGINT and SIGTERM stop it after the current step, checkpoint written."""
    (source, validation), steps = sources, run.recipe.steps
    console.print(f"{run.data.dataset}: {len(source):,} scenes, {steps:,} steps on {training.device}")
    if run.method == "wake-sleep" and run.recipe.joint_from_step <= run.recipe.dreams_from_step:
        console.print("[yellow]note:[/] in so few steps the location network learns nothing, and will find nothing")
    stopped: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda received, _: stopped.append(received)) for number in signals}
    columns = (bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    try:
        with bars.Progress(*columns, bars.TextColumn("{task.description}"), console=console) as bar:
            task = bar.add_task("", total=steps, completed=training.progress.step)

            def on_step(progress: Progress, terms: dict[str, float]) -> None:
                bar.update(task, completed=progress.step, description=describe(progress, terms))

            def on_evaluation(progress: Progress, measured: dict[str, float]) -> None:
                console.print(describe_evaluation(progress, measured))

            stop = lambda: bool(stopped)  # noqa: E731
            return train(training, source, validation, folder, run.content(), on_step, on_evaluation, stop)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def describe(progress: Progress, terms: dict[str, float]) -> str:
    """The loss terms of a step, as the progress bar shows them."""
    shown = {"log p": "log_likelihood", "KL": "kl", "appearance KL": "kl_appearance", "dream": "dream_centre"}
    measured = {label: terms[name] for label, name in shown.items() if not math.isnan(terms.get(name, math.nan))}
    text = "  ".join(f"{label} {value:.3g}" for label, value in measured.items())
    return text + (f"  [red]skipped {progress.skipped}[/]" if progress.skipped else "")


def describe_evaluation(progress: Progress, measured: dict[str, float]) -> str:
    """One line on an evaluation."""
    found = "count right {count_accuracy:.2%}  location error {location_error_px:.2f} px  "
    found = found.format(**measured) if "count_accuracy" in measured else ""
    return f"step {progress.step:6,d}  {progress.seconds:5.0f} s  {found}ELBO {measured['elbo']:.1f} nats"


def summary(run: PretrainingRun, out: Path) -> Table:
    """The table at the end of a run."""
    metrics: dict[str, Any] = run.metrics or {}
    found = {}
    if "count_accuracy_0_3" in metrics:
        error = metrics["location_error_px"]
        found = {
            f"count right, 0 to {run.data.max_objects} objects": f"{metrics['count_accuracy_0_3']:.2%}",
            "count right, 7 objects": f"{metrics['count_accuracy_7']:.2%}",
            "location error": "none found" if error is None else f"{error:.2f} px",
            "missed / false objects": f"{metrics['miss_rate']:.3%} / {metrics['false_rate']:.3%}",
        }
    kind = MODEL_TYPES[run.model_type].rpartition(":")[2]
    table = Table(title="Test splits", show_header=False, title_justify="left")
    rows = found | {
        "ELBO / bound": f"{metrics['elbo']:.1f} / {metrics['log_likelihood_bound']:.1f} nats per frame",
        "best possible bound": f"{-metrics['entropy_floor']:.1f} nats per frame",
        "training": f"{run.training_seconds:.0f} s, {run.skipped_steps} steps skipped",
        "run folder": str(out),
        "weights": f"model.safetensors: {kind}.from_pretrained({str(out)!r})",
        "curves": "metrics.csv, or tensorboard --logdir",
        "pictures": "figures/",
    }
    for row in rows.items():
        table.add_row(*map(escape, row))
    return table


if __name__ == "__main__":
    main()
