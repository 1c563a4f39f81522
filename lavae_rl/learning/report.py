"""What the agents of a benchmark achieved: a table, and plots against steps and against the number of objects.

Reads run folders: ``config.json`` of ``agents/train_agent.py``, and ``tests.json``, a list of what
``agents/evaluate_agent.py --json`` writes.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lavae_rl.learning.agents import read_facts
from lavae_rl.learning.vec_envs import OBSERVATIONS
from lavae_rl.model.pretrained import CONFIG_FILE

TESTS_FILE = "tests.json"
COLUMNS = [
    *("task", "observation", "seed", "steps", "mode", "num_objects", "success_rate", "ci95_low", "ci95_high"),
    *("chance", "episodes", "minutes", "steps_per_second", "algorithm", "arch", "commit"),
]

Row = Mapping[str, Any]
Key = TypeVar("Key")
Item = TypeVar("Item")
_PANEL, _COLUMNS = (3.2, 2.6), 4


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Facts of all runs in a folder of run folders, with their tests, in order of their names.

    Runs that have not been evaluated yet are left out.
    """
    runs = []
    for config in sorted(folder.glob(f"*/{CONFIG_FILE}")):
        facts, tests = read_facts(config.parent), config.with_name(TESTS_FILE)
        if facts["evaluations"]:
            runs.append(facts | {"tests": json.loads(tests.read_text()) if tests.exists() else []})
    return runs


def write_report(folder: Path, out: Path) -> None:
    """Writes ``agents.csv``, ``agents.md``, ``agents-steps.png`` and ``agents-objects.png``.

    Args:
        folder: of run folders.
        out: where to write.
    """
    runs = read_runs(folder)
    rows = [row for run in runs for row in table(run)]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "agents.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (out / "agents.md").write_text(markdown(rows))
    plot_steps(runs, out / "agents-steps.png")
    plot_objects(rows, out / "agents-objects.png")


def table(run: Row) -> list[Row]:
    """A row per test of one run."""
    steps, seconds = run["evaluations"][-1]["step"], run["seconds"]
    same = {key: run[key] for key in ("task", "observation", "seed", "algorithm", "commit")}
    same |= {"arch": run["preset"]["arch"], "steps": steps}
    same |= {"minutes": round(seconds / 60, 1), "steps_per_second": round(steps / seconds)}
    return [
        same
        | {"mode": test["mode"], "ci95_low": round(row["ci95"][0], 4), "ci95_high": round(row["ci95"][1], 4)}
        | {key: row[key] for key in ("num_objects", "success_rate", "chance", "episodes")}
        for test in run["tests"]
        for row in test["results"]
    ]


def markdown(rows: Sequence[Row]) -> str:
    """A table per task and mode: mean success of the seeds, and the worst and the best, for each number of objects."""
    parts = []
    for (task, mode), here in grouped(rows, lambda row: (row["task"], row["mode"])).items():
        numbers = sorted({row["num_objects"] for row in here})
        lines = [
            f"### {task}, {'looks of the training' if mode == 'train' else 'held-out looks'}",
            "",
            "| observation | " + " | ".join(f"{number} objects" for number in numbers) + " | seeds | steps | minutes |",
            "|---" * (len(numbers) + 4) + "|",
        ]
        for observation, same in grouped(here, lambda row: row["observation"]).items():
            by_number = grouped(same, lambda row: row["num_objects"])
            cells = [spread([row["success_rate"] for row in by_number.get(number, [])], 2) for number in numbers]
            seeds = list({row["seed"]: row for row in same}.values())
            cells += [str(len(seeds)), f"{max(row['steps'] for row in seeds):,}"]
            lines.append(f"| {observation} | {' | '.join(cells)} | {spread([row['minutes'] for row in seeds], 0)} |")
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


def plot_steps(runs: Sequence[Row], file: Path) -> None:
    """Success against steps of training: a line per observation, and a band from the worst to the best seed."""
    with _panels(list(grouped(runs, lambda run: run["task"])), "million steps", file) as panels:
        for (task, observation), group in grouped(runs, lambda run: (run["task"], run["observation"])).items():
            curves = [run["evaluations"] for run in group]
            points = list(zip(*curves, strict=False))  # of an unfinished seed there are fewer
            steps = [point[0]["step"] / 1e6 for point in points]
            _line(panels[task], observation, steps, [[row["success_rate"] for row in point] for point in points])


def plot_objects(rows: Sequence[Row], file: Path) -> None:
    """Success against the number of objects, in looks of the training, with the success of chance."""
    rows = [row for row in rows if row["mode"] == "train"]
    with _panels(list(grouped(rows, lambda row: row["task"])), "objects", file) as panels:
        for (task, observation), same in grouped(rows, lambda row: (row["task"], row["observation"])).items():
            points = sorted(grouped(same, lambda row: row["num_objects"]).items())
            numbers = [number for number, _ in points]
            _line(panels[task], observation, numbers, [[row["success_rate"] for row in point] for _, point in points])
        for task, same in grouped(rows, lambda row: row["task"]).items():
            chance = sorted({row["num_objects"]: row["chance"] for row in same}.items())
            panels[task].plot(*zip(*chance, strict=True), color="grey", linestyle="dotted", label="chance")


def _line(axes: Axes, observation: str, x: Sequence[float | int], values: Sequence[Sequence[float]]) -> None:
    color = f"C{OBSERVATIONS.index(observation)}"  # the same in every panel
    axes.plot(x, [mean(point) for point in values], color=color, marker=".", label=observation)
    axes.fill_between(x, [min(point) for point in values], [max(point) for point in values], color=color, alpha=0.2)


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
    for axes in list(panels.values())[:1]:
        axes.set_ylabel("success rate")
        axes.legend(fontsize="small")
    if panels:
        figure.savefig(file, dpi=120)
