"""Remake the paper's Table 1: bound on log p(x) and count accuracy, of LAVAE and of the baseline, every seed counted.

    python pretrain/reproduce_table1.py --report docs
    python pretrain/reproduce_table1.py --table ablation --report docs

The installed command is lavae-table1.

The second is what each mechanism of the paper's recipe gives, on small canvases. Hours of training, so resumable:
complete runs are kept, interrupted ones go on, and several of these programs can share one --out. Writes table1.csv, a
line for each run, and table1.md, a line for each row and data set (ablation.csv, ablation.md). Runs that the CSV has
already, from elsewhere, stay in it unless they are trained again.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from rich.markup import escape

from lavae_rl.data.sources import DATASETS
from lavae_rl.evaluation.evaluate import METRICS
from lavae_rl.pretraining.recipes import PRESETS
from lavae_rl.pretraining.run import read_run
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.exits import EXIT_FAILED, clean_exit
from lavae_rl.runs.folder import METRICS_FILE
from lavae_rl.runs.sweep import check_flags, check_steps, running, sweep, sweep_parser
from lavae_rl.runs.tables import Row, grouped, read_rows, report_folder, write_rows


class Table(NamedTuple):
    """Trainings of a table: model and recipe of ``train_lavae.py`` for each row, on each data set."""

    rows: Mapping[str, tuple[str, str]]
    datasets: Sequence[str]


OURS = {name: ("lavae", name) for name in ("fast", "joint", "long")}
BASELINES = {"baseline": ("baseline", "fast"), "baseline-long": ("baseline", "long")}
ABLATIONS = {name: ("lavae", f"paper-small-{name}") for name in ("no-map", "no-forcing", "dreams")}
TABLES = {
    "table1": Table(OURS | BASELINES, tuple(DATASETS)),
    "ablation": Table({"paper-small": ("lavae", "paper-small"), **ABLATIONS}, ("multi-dsprites",)),
}

MEASURED = METRICS[:-1]  # all but how long measuring took
RUN_COLUMNS = ("minutes", "minutes_to_99", "skipped_steps", "peak_mib", "mixed_precision", "commit")
COLUMNS = ("row", "dataset", "seed", *MEASURED, *RUN_COLUMNS)
TEXTS = ("row", "dataset", "mixed_precision", "commit")
"""Columns that do not hold numbers."""
PEAK_FILE = "peak_mib.txt"


class Cell(NamedTuple):
    """One run."""

    row: str
    dataset: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return f"{self.row}-{self.dataset}-seed{self.seed}"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = sweep_parser(__doc__, seeds="0 1 2", out="runs/TABLE")
    parser.add_argument("--table", choices=list(TABLES), default="table1", help="table to make (default: table1)")
    parser.add_argument("--rows", nargs="+", help="some rows of the table (default: all)")
    parser.add_argument(
        "--datasets", nargs="+", choices=list(DATASETS), help="data sets to train on (default: the table's)"
    )
    parser.set_defaults(seeds=[0, 1, 2])
    args = parser.parse_args(argv)
    table = TABLES[args.table]
    args.rows, args.datasets = args.rows or list(table.rows), args.datasets or list(table.datasets)
    if unknown := sorted(set(args.rows) - set(table.rows)):
        parser.error(f"expected --rows of {', '.join(table.rows)}, got {', '.join(unknown)}")
    args.out = args.out or Path("runs") / args.table
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program. Exit status: 0 complete, 1 a run failed or is elsewhere, 2 unusable arguments, 130 stopped."""
    args = parse_args(argv)
    with clean_exit() as console:
        check_flags(args)
    # One seed after the other, so that a table of everything is there early.
    chosen = itertools.product(args.seeds, args.datasets, args.rows)
    cells = {cell.name: cell for cell in (Cell(row, dataset, seed) for seed, dataset, row in chosen)}
    done = sweep(cells, args, is_complete, train, console)
    results = [result(cells[name], args.out / name) if done[name] else cells[name]._asdict() for name in cells]
    report = args.report or args.out
    with report_folder(report):
        write_report(report, args.table, results)
    console.print(
        f"{sum(done.values())} of {len(done)} runs complete; {args.table}.csv and .md in {escape(str(report))}"
    )
    if not all(done.values()):
        sys.exit(EXIT_FAILED)


def is_complete(cell: Cell, folder: Path, args: argparse.Namespace) -> bool:
    """Return whether a model is trained and measured."""
    model, recipe = TABLES[args.table].rows[cell.row]
    check_steps(folder, "recipe", PRESETS[model][recipe].recipe.steps if args.steps is None else args.steps)
    return "minutes" in result(cell, folder)


def train(cell: Cell, folder: Path, args: argparse.Namespace) -> None:
    """Train one model to the end, and note the peak resident memory of that."""
    model, recipe = TABLES[args.table].rows[cell.row]
    options = ["--dataset", cell.dataset, "--model", model, "--recipe", recipe, "--seed", str(cell.seed)]
    options += [] if args.steps is None else ["--steps", str(args.steps)]
    options += ["--resume"] if (folder / CONFIG_FILE).exists() else []
    program = Path(__file__).with_name("train_lavae.py")
    with running(program, [*options, "--out", str(folder)], folder, args.jobs) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if folder.exists():
            peak = max(usage.ru_maxrss // 1024, peak_mib(folder) or 0)  # a resumed run has several
            with replacing(folder / PEAK_FILE) as temporary:
                temporary.write_text(f"{peak}\n")


def peak_mib(folder: Path) -> int | None:
    """Peak resident memory of a run so far."""
    file = folder / PEAK_FILE
    return int(file.read_text()) if file.exists() else None


def result(cell: Cell, folder: Path) -> dict[str, Any]:
    """One line of the CSV; a run that is not complete has no metrics and counts as such."""
    line = cell._asdict()
    run = read_run(folder) if (folder / CONFIG_FILE).exists() else None
    if run is None or run.metrics is None:
        return line
    logged = read_rows(folder / METRICS_FILE, texts=())
    reached = [row["seconds"] for row in logged if row.get("validation_count_accuracy", 0.0) >= 0.99]
    line |= {key: run.metrics[key] for key in MEASURED if key in run.metrics}
    return line | {
        "minutes": (run.training_seconds or 0) / 60,
        "minutes_to_99": min(reached) / 60 if reached else None,
        "skipped_steps": run.skipped_steps,
        "peak_mib": peak_mib(folder),
        "mixed_precision": run.mixed_precision,
        "commit": run.provenance.commit,
    }


def merged(earlier: Sequence[Row], results: Sequence[Row], rows: Sequence[str]) -> list[Row]:
    """Every run once, in the order of rows and data sets; one that is not complete never replaces another."""
    complete_last = sorted([*earlier, *results], key=lambda line: "minutes" in line)
    runs = {Cell(line["row"], line["dataset"], line["seed"]): line for line in complete_last}
    places = {name: place for place, name in enumerate([*rows, *DATASETS])}
    last = len(places)  # rows of other versions of this program
    order = sorted(runs, key=lambda cell: (places.get(cell.row, last), places.get(cell.dataset, last), cell.seed))
    return [runs[cell] for cell in order]


def write_report(folder: Path, name: str, results: Sequence[Row]) -> None:
    """Write the table, as CSV and as Markdown, with the runs that the CSV has already."""
    file = folder / f"{name}.csv"
    results = merged(read_rows(file, TEXTS), results, list(TABLES[name].rows))
    write_rows(file, COLUMNS, results)
    titles = (
        "| row | data set | bound | entropy bound | ELBO | count accuracy, few | count accuracy, 7 | training | runs |"
    )
    groups = grouped(results, lambda line: (line["row"], line["dataset"]))
    lines = [titles, "|" + "---|" * 9, *(summary(row, dataset, group) for (row, dataset), group in groups.items())]
    with replacing(folder / f"{name}.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", "utf-8")


def summary(row: str, dataset: str, group: Sequence[Row]) -> str:
    """One line of the Markdown: means over the complete runs, in brackets the worst and the best."""
    complete = [line for line in group if "minutes" in line]

    def spread(key: str, form: str, unit: str = "") -> str:
        values = [line[key] for line in complete if line.get(key) is not None]
        if not values:
            return ""
        low, high = (format(value, form) for value in (min(values), max(values)))
        return f"{format(mean(values), form)}{unit}" + ("" if low == high else f" ({low} to {high})")

    floor = f"{-complete[0]['entropy_floor']:.1f} nats" if complete else ""
    fits = [spread("log_likelihood_bound", ".1f", " nats"), floor, spread("elbo", ".1f", " nats")]
    counts = [spread(f"count_accuracy_{objects}", ".2%") for objects in ("0_3", "7")]
    cells = [row, dataset, *fits, *counts, spread("minutes", ".0f", " min"), f"{len(complete)} of {len(group)}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
