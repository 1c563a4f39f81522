"""Trains every data set with several seeds by the documented command; tabulates test metrics, every seed counted.

    python benchmarks/pretraining.py --out runs/pretraining

Resumable: complete runs are kept, interrupted ones continue. Writes results.csv beside the runs and prints Markdown.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from lavae_rl.datasets import POOLS
from lavae_rl.evaluation.metrics import METRICS

PROGRAM = "pretrain/train_lavae.py"
MEASURED = METRICS[:-1]  # all but how long measuring took
COLUMNS = ("dataset", "seed", *MEASURED, "minutes", "minutes_to_99", "skipped_steps", "peak_mib", "commit")


def train(name: str, seed: int, out: Path) -> None:
    """Runs the training program once, from the root of the repository, and notes its peak resident memory."""
    resume = ["--resume"] if (out / "config.json").exists() else []
    command = [sys.executable, PROGRAM, "--dataset", name, "--seed", str(seed), "--out", str(out), *resume]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(f"FAILED with exit status {process.returncode}: {' '.join(command)}", flush=True)
        return
    (out / "peak_mib.txt").write_text(f"{usage.ru_maxrss / 1024:.0f}\n")


def result(name: str, seed: int, out: Path) -> dict[str, Any]:
    """One row of the table; a failed run has no metrics and counts as such."""
    row: dict[str, Any] = {"dataset": name, "seed": seed}
    config = json.loads((out / "config.json").read_text()) if (out / "config.json").exists() else {}
    if "metrics" not in config:
        return row | {"count_accuracy_0_3": "FAILED"}
    with (out / "metrics.csv").open(newline="") as stream:
        reached = [float(r["seconds"]) for r in csv.DictReader(stream) if float(r["validation_count_accuracy"]) >= 0.99]
    return (
        row
        | {key: config["metrics"][key] for key in MEASURED}
        | {
            "minutes": config["training_seconds"] / 60,
            "minutes_to_99": min(reached) / 60 if reached else None,
            "skipped_steps": config["skipped_steps"],
            "peak_mib": (out / "peak_mib.txt").read_text().strip() if (out / "peak_mib.txt").exists() else None,
            "commit": config["commit"],
        }
    )


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table of all runs, and the mean of each data set over its seeds that did not fail."""
    lines = [
        "| data set | seed | count right, 0..3 | count right, 7 | location error | bound | training | 99 % after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["dataset"] for row in rows):
        group = [row for row in rows if row["dataset"] == name]
        complete = [row for row in group if "minutes" in row]
        for row in group:
            lines.append(_line(name, row["seed"], row) if "minutes" in row else f"| {name} | {row['seed']} | FAILED |")
        if complete:
            keys = (*MEASURED, "minutes", "minutes_to_99")
            measured = {key: [row[key] for row in complete if row[key] is not None] for key in keys}
            means = {key: mean(values) if values else None for key, values in measured.items()}
            lines.append(_line(f"**{name}**", f"mean of {len(complete)}", means))
    return "\n".join(lines)


def _line(name: str, seed: object, row: dict[str, Any]) -> str:
    error, reached = row["location_error_px"], row["minutes_to_99"]
    return (
        f"| {name} | {seed} | {row['count_accuracy_0_3']:.2%} | {row['count_accuracy_7']:.2%} "
        f"| {'none found' if error is None else f'{error:.2f} px'} | {row['log_likelihood_bound']:.1f} nats "
        f"| {row['minutes']:.1f} min | {'never' if reached is None else f'{reached:.1f} min'} |"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--datasets", nargs="+", choices=list(POOLS), default=list(POOLS)[::-1], help="data sets, in order"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of each data set")
    parser.add_argument("--out", type=Path, default=Path("runs/pretraining"), help="folder of run folders")
    args = parser.parse_args(argv)
    rows = []
    for seed in args.seeds:
        for name in args.datasets:
            out = args.out / f"{name}-seed{seed}"
            if "minutes" not in result(name, seed, out):
                train(name, seed, out)
            rows.append(result(name, seed, out))
    rows.sort(key=lambda row: (row["dataset"], row["seed"]))
    with (args.out / "results.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
