"""The results of a benchmark of agents: a table, and plots against steps and against the number of objects.

Run folders hold them in ``config.json`` and ``tests.json``, a list of what ``agents/evaluate_agent.py --json`` writes.
Two CSV files keep them, so agents that were trained elsewhere stay in the table.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.registration import TASKS
from lavae_rl.rl.observations import OBSERVATIONS
from lavae_rl.rl.presets import preset_for
from lavae_rl.rl.run import AgentRun, read_run
from lavae_rl.runs.tables import Row, grouped, read_rows, report_folder, write_rows

TESTS_FILE = "tests.json"
_AGENT = ("task", "observation", "arch", "seed")
TEST_COLUMNS = (
    *(*_AGENT, "steps", "mode", "num_objects", "success_rate", "ci95_low", "ci95_high"),
    *("chance", "episodes", "minutes", "steps_per_second", "algorithm", "commit"),
)
CURVE_COLUMNS = (*_AGENT, "step", "success_rate")
TEXTS = ("task", "observation", "arch", "mode", "algorithm", "commit")
"""Columns that do not hold numbers."""

_NO_ARCH = "none"
"""Set network of agents that read no tokens."""
_OBSERVATIONS, _ARCHS, _TASKS = list(OBSERVATIONS), [_NO_ARCH, *ARCHITECTURES], list(TASKS)
_STYLES = ("-", "-", "--", "-.", ":")


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Write agents.csv, agents-steps.csv, agents.md, agents-steps.png and agents-objects.png to the folder ``out``.

    The agents are those of run folders that have been tested, and those that the CSV files hold already.
    """
    runs = [(read_run(folder), json.loads((folder / TESTS_FILE).read_text())) for folder in folders]
    with report_folder(out):
        tests = updated(out / "agents.csv", TEST_COLUMNS, [row for run in runs for row in tests_of(*run)])
        curves = updated(out / "agents-steps.csv", CURVE_COLUMNS, [row for run, _ in runs for row in curve_of(run)])
        (out / "agents.md").write_text(markdown(tests))
        plot(curves, out / "agents-steps.png", "million steps", lambda row: row["step"] / 1e6)
        trained = [row for row in tests if row["mode"] == "train"]
        plot(trained, out / "agents-objects.png", "objects", lambda row: row["num_objects"])


def updated(file: Path, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """Replace the rows of these agents in a CSV, and return all of its rows, task by task."""

    def place(row: Row) -> tuple[int, ...]:
        kind = _OBSERVATIONS.index(row["observation"]), _ARCHS.index(row["arch"])
        return _TASKS.index(row["task"]), *kind, row["seed"]

    new = {place(row) for row in rows}
    everything = sorted([*(row for row in read_rows(file, TEXTS) if place(row) not in new), *rows], key=place)
    write_rows(file, columns, everything)
    return everything


def label(row: Row) -> str:
    """The name of agents that differ by their seeds alone, with the architecture unless it is the preset's."""
    usual = row["arch"] in (preset_for(row["task"]).arch, _NO_ARCH)
    return str(row["observation"]) if usual else f"{row['observation']}, {row['arch']}"


def identity(run: AgentRun) -> dict[str, Any]:
    """The first columns of all rows of one run."""
    arch = run.preset.arch if OBSERVATIONS[run.observation].reads_tokens else _NO_ARCH
    return {"task": run.task, "observation": run.observation, "seed": run.seed, "arch": arch}


def tests_of(run: AgentRun, tests: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row per test of one run."""
    steps, seconds = run.evaluations[-1].step, run.seconds
    same = identity(run) | {"algorithm": run.preset.algorithm, "commit": run.provenance.commit, "steps": steps}
    same |= {"minutes": round(seconds / 60, 1), "steps_per_second": round(steps / seconds)}
    return [
        same
        | {"mode": test["mode"], "ci95_low": round(row["ci95"][0], 4), "ci95_high": round(row["ci95"][1], 4)}
        | {key: row[key] for key in ("num_objects", "success_rate", "chance", "episodes")}
        for test in tests
        for row in test["results"]
    ]


def curve_of(run: AgentRun) -> list[Row]:
    """A row per evaluation in the training of one run."""
    return [identity(run) | {"step": row.step, "success_rate": row.success_rate} for row in run.evaluations]


def markdown(rows: Sequence[Row]) -> str:
    """A table per task and mode: the mean, the worst and the best success of the seeds, by number of objects."""
    parts = []
    for (task, mode), here in grouped(rows, lambda row: (row["task"], row["mode"])).items():
        chance = {
            row["num_objects"]: f"{row['chance']:.2f}" for row in sorted(here, key=lambda row: row["num_objects"])
        }
        titles = " | ".join(f"{number} object{'s' * (number > 1)}" for number in chance)
        lines = [f"### {task}, {'looks of the training' if mode == 'train' else 'held-out looks'}", ""]
        lines += [f"| observation | {titles} | seeds | steps | minutes |", "|---" * (len(chance) + 4) + "|"]
        for name, same in grouped(here, label).items():
            by_number = grouped(same, lambda row: row["num_objects"])
            cells = [spread([row["success_rate"] for row in by_number.get(number, [])], 2) for number in chance]
            seeds = list({row["seed"]: row for row in same}.values())
            cells += [str(len(seeds)), f"{max(row['steps'] for row in seeds):,}"]
            lines.append(f"| {name} | {' | '.join(cells)} | {spread([row['minutes'] for row in seeds], 0)} |")
        lines.append(f"| chance | {' | '.join(chance.values())} | | | |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def spread(values: Sequence[float], digits: int) -> str:
    """The mean of values, with the least and the greatest if there are several."""
    if not values:
        return ""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def plot(rows: Sequence[Row], file: Path, x_label: str, x: Callable[[Row], float]) -> None:
    """Plot success rates by task: a line per kind of agent, a band from the worst to the best seed, and chance."""
    by_task = grouped(rows, lambda row: row["task"])
    if not by_task:
        return
    columns, height = min(len(by_task), 4), -(-len(by_task) // 4)
    figure = Figure(figsize=(columns * 3.2, height * 2.6), layout="constrained")
    lines: dict[object, Artist] = {}
    for i, (task, same) in enumerate(by_task.items()):
        axes = figure.add_subplot(height, columns, i + 1, title=task, xlabel=x_label, ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        _lines(axes, same, x)
        if chance := sorted({x(row): row["chance"] for row in same if "chance" in row}.items()):
            axes.plot(*zip(*chance, strict=True), color="grey", linestyle="dotted", label="chance")
        lines |= {line.get_label(): line for line in axes.get_lines()}
    figure.supylabel("success rate", fontsize="medium")
    figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=columns * 2)
    figure.savefig(file, dpi=120)


def _lines(axes: Axes, rows: Sequence[Row], x: Callable[[Row], float]) -> None:
    for name, same in grouped(rows, label).items():
        first = same[0]  # color and style are the same in every panel
        color, style = f"C{_OBSERVATIONS.index(first['observation'])}", _STYLES[_ARCHS.index(first["arch"])]
        points = {at: [row["success_rate"] for row in point] for at, point in sorted(grouped(same, x).items())}
        at, rates = list(points), list(points.values())
        axes.plot(at, [mean(point) for point in rates], style, color=color, marker=".", label=name)
        axes.fill_between(at, [min(point) for point in rates], [max(point) for point in rates], color=color, alpha=0.2)
