"""Trains a LAVAE on one of the paper's data sets, without labels.

    python pretrain/train_lavae.py --dataset multi-dsprites

Everything lands in one run folder: config.json, metrics.csv and TensorBoard events, checkpoint.pt, model.safetensors
and figures/. Ctrl-C leaves a run that --resume continues to the same weights as if nothing had happened.
"""

import argparse
import dataclasses
import math
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from lavae_rl.datasets import LATENTS, POOLS, SceneDataset, load_dataset
from lavae_rl.evaluation.metrics import evaluate
from lavae_rl.model.lavae import LAVAEConfig
from lavae_rl.training import loop
from lavae_rl.training.provenance import provenance
from lavae_rl.training.recipes import RECIPES, Recipe
from lavae_rl.training.run_folder import RunFolder

BOUND_SAMPLES = 100
"""Importance samples of the log-likelihood bound (paper)."""
EXIT_FAILED, EXIT_STOPPED = 1, 130


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; what is not given stays None, so that --resume can tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--dataset", choices=list(POOLS), help="data set to train on (default: multi-dsprites)")
    parser.add_argument("--recipe", choices=list(RECIPES), help="training settings (default: fast)")
    parser.add_argument("--steps", type=int, help="length of the run in optimiser steps (default: the recipe's)")
    parser.add_argument(
        "--seed",
        type=int,
        help="seed of weights, batches and noise, a whole number from 0; the data set is the same for all (default: 0)",
    )
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto takes cuda where there is one"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/DATASET-RECIPE-seedN)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    parser.add_argument("--mnist-dir", help="folder of MNIST's IDX files, to draw digits from all 60,000")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the program. Exit status: 0 complete, 1 failed, 2 unusable arguments, 130 stopped and resumable."""
    args = parse_args(argv)
    console = Console(highlight=False)
    try:
        complete = run(args, console)
    except KeyboardInterrupt:
        console.print("stopped; what a run folder holds can be continued with --resume")
        sys.exit(EXIT_STOPPED)
    except (ValueError, OSError, loop.TrainingDivergedError) as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(EXIT_FAILED)
    if not complete:
        sys.exit(EXIT_STOPPED)


def run(args: argparse.Namespace, console: Console) -> bool:
    """Trains, evaluates and reports; returns whether the run is complete."""
    given = {name: getattr(args, name) for name in ("dataset", "recipe", "steps", "seed", "mnist_dir")}
    out = args.out or Path("runs") / f"{args.dataset or 'multi-dsprites'}-{args.recipe or 'fast'}-seed{args.seed or 0}"
    with RunFolder(out, args.resume) as folder:
        settings = resumed_settings(folder, given) if args.resume else fresh_settings(given)
        recipe = Recipe(**settings["recipe"])
        device = choose_device(args.device)
        name, mnist_dir = settings["dataset"], settings["mnist_dir"]
        dataset = load_dataset(name, "train", mnist_dir=mnist_dir)
        validation = load_dataset(name, "validation", mnist_dir=mnist_dir)
        config = LAVAEConfig(dataset.bank.channels, recipe.sprite_size, LATENTS[name], networks=recipe.networks)
        training = loop.Training(config, recipe, settings["seed"], device)
        if args.resume and (state := folder.load_checkpoint(device)) is not None:
            training.load(state)
            console.print(f"resuming {escape(str(out))} at step {training.progress.step}")
        folder.forget_after(training.progress.step)
        facts = settings | provenance()
        if not args.resume:
            folder.save_model(training.average, facts)
        console.print(
            f"{name}: {len(dataset):,} scenes, {recipe.steps:,} steps on {device}, run folder {escape(str(out))}"
        )
        if not watch(training, dataset, validation, folder, facts, console):
            console.print(
                f"stopped at step {training.progress.step}; continue with --resume --out {escape(str(out))}",
                soft_wrap=True,
            )
            return False
        model = training.average
        metrics = evaluate(model, name, recipe.test_scenes, BOUND_SAMPLES, recipe.bound_scenes, mnist_dir)
        training_facts = {"training_seconds": training.progress.seconds, "skipped_steps": training.progress.skipped}
        folder.save_model(model, facts | training_facts | {"metrics": metrics})
        console.print(summary(metrics, training, out))
    return True


def fresh_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a new run, from the command line and its defaults."""
    seed = given["seed"] or 0
    if seed < 0:
        raise ValueError(f"expected --seed of at least 0, got {seed}")
    recipe = RECIPES[given["recipe"] or "fast"]
    if given["steps"] is not None:
        recipe = dataclasses.replace(recipe, steps=given["steps"])
    return {
        "dataset": given["dataset"] or "multi-dsprites",
        "recipe_name": given["recipe"] or "fast",
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "mnist_dir": given["mnist_dir"],
    }


def resumed_settings(folder: RunFolder, given: dict[str, Any]) -> dict[str, Any]:
    """Settings of the run in the folder, which flags given again must agree with."""
    stored = folder.read_config()
    try:
        settings = {key: stored[key] for key in ("dataset", "recipe_name", "recipe", "seed", "mnist_dir")}
    except KeyError as error:
        raise ValueError(f"{folder.path} is not a run of this program: its config.json lacks {error}") from error
    known = settings | {"recipe": settings["recipe_name"], "steps": settings["recipe"]["steps"]}
    for flag, value in given.items():
        if value is not None and value != known[flag]:
            raise ValueError(
                f"the run in {folder.path} has {flag} {known[flag]!r}, got {value!r}; "
                "resume without that flag, or start another run in another --out"
            )
    return settings


def choose_device(name: str) -> torch.device:
    """Turns ``--device`` into a device that exists."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch sees no CUDA device here; use --device cpu")
    if name == "cuda":
        # Resumed runs are to repeat the same bits on a GPU too; cuBLAS reads the variable when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    return torch.device(name)


def watch(
    training: loop.Training,
    dataset: SceneDataset,
    validation: SceneDataset,
    folder: RunFolder,
    facts: dict[str, Any],
    console: Console,
) -> bool:
    """Trains under a progress bar. SIGINT and SIGTERM stop it after the current step, checkpoint written."""
    stopped = []
    handlers = {
        number: signal.signal(number, lambda *_: stopped.append(True)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=training.recipe.steps, completed=training.progress.step)
            return loop.train(
                training, dataset, validation, folder, facts, reporter(bar, task, console), lambda: bool(stopped)
            )
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def reporter(bar: Progress, task: TaskID, console: Console) -> Any:
    """Shows each step's terms in the bar, and each evaluation on a line of its own."""

    def report(progress: loop.Progress, values: dict[str, float]) -> None:
        if "count_accuracy" in values:
            console.print(
                f"step {progress.step:6,d}  {progress.seconds:5.0f} s  count right {values['count_accuracy']:.2%}  "
                f"location error {values['location_error_px']:.2f} px  ELBO {values['elbo']:.1f} nats",
                soft_wrap=True,
            )
            return
        shown = {"log p(x|z)": "log_likelihood", "KL(a)": "kl_appearance", "dream": "dream_centre"}
        text = "  ".join(f"{label} {values[name]:.4g}" for label, name in shown.items() if not math.isnan(values[name]))
        skipped = f"  [red]skipped {progress.skipped}[/]" if progress.skipped else ""
        bar.update(task, completed=progress.step, description=text + skipped)

    return report


def summary(metrics: dict[str, float | None], training: loop.Training, out: Path) -> Table:
    """The table at the end of a run."""
    table = Table(title="Test splits", show_header=False, title_justify="left")
    error = metrics["location_error_px"]
    rows = {
        "count right, 0 to 3 objects": f"{metrics['count_accuracy_0_3']:.2%}",
        "count right, 7 objects": f"{metrics['count_accuracy_7']:.2%}",
        "location error": "none found" if error is None else f"{error:.2f} px",
        "missed / false objects": f"{metrics['miss_rate']:.3%} / {metrics['false_rate']:.3%}",
        "ELBO / bound": f"{metrics['elbo']:.1f} / {metrics['log_likelihood_bound']:.1f} nats per frame",
        "training": f"{training.progress.seconds:.0f} s, {training.progress.skipped} steps skipped",
        "weights": f"{out / 'model.safetensors'}  (LAVAE.from_pretrained({str(out)!r}))",
        "curves": f"{out / 'metrics.csv'}  (tensorboard --logdir {out})",
        "pictures": str(out / "figures"),
    }
    for row in rows.items():
        table.add_row(*map(escape, row))
    return table


if __name__ == "__main__":
    main()
