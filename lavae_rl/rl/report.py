"""What the agents of a benchmark achieved: a table, and plots against steps and against the number of objects.

Reads run folders: ``config.json`` of ``agents/train_agent.py``, and ``tests.json``, a list of what
``agents/evaluate_agent.py --json`` writes. Two CSV files keep what was read, so that agents that were trained elsewhere
stay in the table.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lavae_rl.model.checkpoint import read_facts
from lavae_rl.policies.set_extractor import ARCHITECTURES
from lavae_rl.rl.agents import POLICIES
from lavae_rl.rl.presets import PRESETS
from lavae_rl.rl.vec_envs import OBSERVATIONS
from lavae_rl.runs.tables import Row, read_rows, report_folder, write_rows

TESTS_FILE = "tests.json"
_AGENT = ("task", "observation", "arch", "seed")
TEST_COLUMNS = (
    *(*_AGENT, "steps", "mode", "num_objects", "success_rate", "ci95_low", "ci95_high"),
    *("chance", "episodes", "minutes", "steps_per_second", "algorithm", "commit"),
)
CURVE_COLUMNS = (*_AGENT, "step", "success_rate")
KINDS: Mapping[str, type] = dict.fromkeys(("task", "observation", "arch", "mode", "algorithm", "commit"), str) | (
    dict.fromkeys(("seed", "steps", "step", "num_objects", "episodes", "steps_per_second"), int)
)
"""Types of the columns that are no fractions."""

Key = TypeVar("Key")
Item = TypeVar("Item")
_PANEL, _COLUMNS = (3.2, 2.6), 4
_NO_ARCH = "none"
"""Set network of agents that read no tokens."""
_ARCHS = (_NO_ARCH, *ARCHITECTURES)
_STYLES = ("-", "-", "--", "-.", ":")


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Writes agents.csv, agents-steps.csv, agents.md, agents-steps.png and agents-objects.png.

    Agents that the CSV files in ``out`` have already stay in them, unless they are among these too.

    Args:
        folders: of runs that have been tested.
        out: where to write.
    """
    runs = [read_facts(folder) | {"tests": json.loads((folder / TESTS_FILE).read_text())} for folder in folders]
    with report_folder(out):
        tests = updated(out / "agents.csv", TEST_COLUMNS, [row for run in runs for row in tests_of(run)])
        curves = updated(out / "agents-steps.csv", CURVE_COLUMNS, [row for run in runs for row in curve_of(run)])
        (out / "agents.md").write_text(markdown(tests))
        plot_steps(curves, out / "agents-steps.png")
        plot_objects(tests, out / "agents-objects.png")


def updated(file: Path, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """Replaces what a CSV has of the agents of these rows; returns all that it has now, task by task."""
    new = {agent(row) for row in rows}
    kept = [row for row in read_rows(file, KINDS) if agent(row) not in new]
    tasks = list(PRESETS)

    def place(row: Row) -> tuple[int, int, int, int]:
        kind = OBSERVATIONS.index(row["observation"]), _ARCHS.index(row["arch"])
        return tasks.index(row["task"]), *kind, row["seed"]

    everything = sorted([*kept, *rows], key=place)
    write_rows(file, columns, everything)
    return everything


def agent(row: Row) -> tuple[Any, ...]:
    """What tells an agent from others."""
    return tuple(row[key] for key in _AGENT)


def label(row: Row) -> str:
    """How the table calls agents that differ by their seeds alone: by architecture too, if not the usual one."""
    usual = row["arch"] in (PRESETS[row["task"]].arch, _NO_ARCH)
    return str(row["observation"]) if usual else f"{row['observation']}, {row['arch']}"


def identity(run: Row) -> dict[str, Any]:
    """The first columns of all rows of one run."""
    arch = _NO_ARCH if run["observation"] in POLICIES else run["preset"]["arch"]
    return {key: run[key] for key in ("task", "observation", "seed")} | {"arch": arch}


def tests_of(run: Row) -> list[Row]:
    """A row per test of one run."""
    steps, seconds = run["evaluations"][-1]["step"], run["seconds"]
    same = identity(run) | {"algorithm": run["preset"]["algorithm"], "commit": run["commit"], "steps": steps}
    same |= {"minutes": round(seconds / 60, 1), "steps_per_second": round(steps / seconds)}
    return [
        same
        | {"mode": test["mode"], "ci95_low": round(row["ci95"][0], 4), "ci95_high": round(row["ci95"][1], 4)}
        | {key: row[key] for key in ("num_objects", "success_rate", "chance", "episodes")}
        for test in run["tests"]
        for row in test["results"]
    ]


def curve_of(run: Row) -> list[Row]:
    """A row per evaluation in the training of one run."""
    return [identity(run) | {key: row[key] for key in ("step", "success_rate")} for row in run["evaluations"]]


def markdown(rows: Sequence[Row]) -> str:
    """A table per task and mode: mean success of the seeds, and the worst and the best, for each number of objects."""
    parts = []
    for (task, mode), here in grouped(rows, lambda row: (row["task"], row["mode"])).items():
        numbers = sorted({row["num_objects"] for row in here})
        lines = [
            f"### {task}, {'looks of the training' if mode == 'train' else 'held-out looks'}",
            "",
            "| observation | "
            + " | ".join(f"{number} object{'s' * (number > 1)}" for number in numbers)
            + " | seeds | steps | minutes |",
            "|---" * (len(numbers) + 4) + "|",
        ]
        for name, same in grouped(here, label).items():
            by_number = grouped(same, lambda row: row["num_objects"])
            cells = [spread([row["success_rate"] for row in by_number.get(number, [])], 2) for number in numbers]
            seeds = list({row["seed"]: row for row in same}.values())
            cells += [str(len(seeds)), f"{max(row['steps'] for row in seeds):,}"]
            lines.append(f"| {name} | {' | '.join(cells)} | {spread([row['minutes'] for row in seeds], 0)} |")
        chance = {row["num_objects"]: f"{row['chance']:.2f}" for row in here}
        lines.append("| chance | " + " | ".join(chance[number] for number in numbers) + " | | | |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and of several values the least and the greatest."""
    if not values:
        return ""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def grouped(items: Sequence[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Items with the same key, in order of their first occurrence."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def plot_steps(curves: Sequence[Row], file: Path) -> None:
    """Success against steps of training: a line per kind of agent, and a band from the worst to the best seed."""
    with _panels(list(grouped(curves, lambda row: row["task"])), "million steps", file) as panels:
        for task, same in grouped(curves, lambda row: row["task"]).items():
            _lines(panels[task], same, lambda row: row["step"] / 1e6)


def plot_objects(tests: Sequence[Row], file: Path) -> None:
    """Success against the number of objects, in looks of the training, with the success of chance."""
    tests = [row for row in tests if row["mode"] == "train"]
    with _panels(list(grouped(tests, lambda row: row["task"])), "objects", file) as panels:
        for task, same in grouped(tests, lambda row: row["task"]).items():
            _lines(panels[task], same, lambda row: row["num_objects"])
            chance = sorted({row["num_objects"]: row["chance"] for row in same}.items())
            panels[task].plot(*zip(*chance, strict=True), color="grey", linestyle="dotted", label="chance")


def _lines(axes: Axes, rows: Sequence[Row], x: Callable[[Row], float]) -> None:
    for name, same in grouped(rows, label).items():
        first = same[0]  # the same look in every panel
        color, style = f"C{OBSERVATIONS.index(first['observation'])}", _STYLES[_ARCHS.index(first["arch"])]
        points = sorted((value, [row["success_rate"] for row in point]) for value, point in grouped(same, x).items())
        at, rates = zip(*points, strict=True)
        axes.plot(at, [mean(point) for point in rates], style, color=color, marker=".", label=name)
        axes.fill_between(at, [min(point) for point in rates], [max(point) for point in rates], color=color, alpha=0.2)


@contextmanager
def _panels(titles: Sequence[str], x_label: str, file: Path) -> Iterator[dict[str, Axes]]:
    """A picture with a panel per task, all of success rates, written at the end; without tasks, none."""
    columns, rows = max(min(len(titles), _COLUMNS), 1), max(-(-len(titles) // _COLUMNS), 1)
    figure = Figure(figsize=(columns * _PANEL[0], rows * _PANEL[1]), layout="constrained")
    panels = {title: figure.add_subplot(rows, columns, i + 1) for i, title in enumerate(titles)}
    for title, axes in panels.items():
        axes.set(title=title, xlabel=x_label, ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
    yield panels
    if panels:
        lines = {line.get_label(): line for axes in panels.values() for line in axes.get_lines()}
        figure.supylabel("success rate", fontsize="medium")
        figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=columns * 2)
        figure.savefig(file, dpi=120)
