"""The results of a benchmark of agents: tables, and plots against steps and against the number of objects.

Our tasks have success rates, other environments have returns.

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
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.tables import Row, grouped, read_rows, report_folder, write_rows

TESTS_FILE = "tests.json"
_AGENT = ("task", "observation", "arch", "seed")
TEST_COLUMNS = (
    *(*_AGENT, "steps", "mode", "num_objects", "success_rate", "ci95_low", "ci95_high"),
    *("chance", "episodes", "minutes", "steps_per_second", "algorithm", "commit", "mean_return", "random_return"),
)
CURVE_COLUMNS = (*_AGENT, "step", "success_rate", "mean_return")
TEXTS = ("task", "observation", "arch", "mode", "algorithm", "commit")
"""Columns that do not hold numbers."""

_NO_ARCH = "none"
"""Set network of agents that read no tokens."""
_OBSERVATIONS, _ARCHS, _TASKS = list(OBSERVATIONS), [_NO_ARCH, *ARCHITECTURES], list(TASKS)
_STYLES: Sequence[Any] = ("-", "-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), ":")


def write_report(folders: Sequence[Path], out: Path) -> None:
    """Write agents.csv, agents-steps.csv, agents.md, agents-steps.png and agents-objects.png to the folder ``out``.

    The agents are those of run folders that have been tested, and those that the CSV files hold already.
    """
    runs = [(read_run(folder), json.loads((folder / TESTS_FILE).read_text())) for folder in folders]
    with report_folder(out):
        tests = updated(out / "agents.csv", TEST_COLUMNS, [row for run in runs for row in tests_of(*run)])
        curves = updated(out / "agents-steps.csv", CURVE_COLUMNS, [row for run, _ in runs for row in curve_of(run)])
        with replacing(out / "agents.md") as temporary:
            temporary.write_text(markdown(tests), "utf-8")
        plot(curves, out / "agents-steps.png", "million steps", lambda row: row["step"] / 1e6)
        trained = [row for row in tests if row.get("mode") == "train"]
        plot(trained, out / "agents-objects.png", "objects", lambda row: row["num_objects"])


def updated(file: Path, columns: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """Replace the rows of these agents in a CSV, and return all of its rows, task by task."""

    def place(row: Row) -> tuple[Any, ...]:
        kind = _OBSERVATIONS.index(row["observation"]), _ARCHS.index(row["arch"])
        task = _TASKS.index(row["task"]) if row["task"] in _TASKS else len(_TASKS)
        return task, row["task"], *kind, row["seed"]

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
        | {"ci95_low": round(row["ci95"][0], 4), "ci95_high": round(row["ci95"][1], 4)}
        | {key: value for key, value in (test | row).items() if key in TEST_COLUMNS}
        for test in tests
        for row in test["results"]
    ]


def curve_of(run: AgentRun) -> list[Row]:
    """A row per evaluation in the training of one run."""
    rows = [
        {"step": row.step, "success_rate": row.success_rate, "mean_return": row.mean_return} for row in run.evaluations
    ]
    return [identity(run) | {key: value for key, value in row.items() if value is not None} for row in rows]


def markdown(rows: Sequence[Row]) -> str:
    """A table per task and mode: the mean, the worst and the best success of the seeds, by number of objects.

    Of other environments, the same of the returns.
    """
    parts = []
    for (task, mode), here in grouped(rows, lambda row: (row["task"], row.get("mode"))).items():
        if mode is None:
            parts.append(_returns(task, here))
            continue
        chance = {
            row["num_objects"]: f"{row['chance']:.2f}" for row in sorted(here, key=lambda row: row["num_objects"])
        }
        titles = " | ".join(f"{number} object{'s' * (number > 1)}" for number in chance)
        lines = [f"### {task}, {'combinations of the training' if mode == 'train' else 'held-out combinations'}", ""]
        lines += [f"| observation | {titles} | seeds | steps | minutes |", "|---" * (len(chance) + 4) + "|"]
        for name, same in grouped(here, label).items():
            by_number = grouped(same, lambda row: row["num_objects"])
            cells = [spread([row["success_rate"] for row in by_number.get(number, [])], 2) for number in chance]
            seeds = list({row["seed"]: row for row in same}.values())
            cells += [str(len(seeds)), f"{max(row['steps'] for row in seeds):,}"]
            lines.append(f"| {name} | {' | '.join(cells)} | {spread([row['minutes'] for row in seeds], 0)} |")
        lines.append(f"| random baseline | {' | '.join(chance.values())} | | | |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _returns(task: str, rows: Sequence[Row]) -> str:
    """The table of an environment without success."""
    lines = [f"### {task}", "", "| observation | mean return | seeds | steps | minutes | steps/s |", "|---" * 6 + "|"]
    for name, same in grouped(rows, label).items():
        speed = spread([float(row["steps_per_second"]) for row in same], 0)
        cells = [
            spread([row["mean_return"] for row in same], 1),
            str(len(same)),
            f"{max(row['steps'] for row in same):,}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {spread([row['minutes'] for row in same], 0)} | {speed} |")
    lines.append(f"| random | {spread([row['random_return'] for row in rows], 1)} | | | | |")
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float], digits: int) -> str:
    """The mean of values, with the least and the greatest if there are several."""
    if not values:
        return ""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def plot(rows: Sequence[Row], file: Path, x_label: str, x: Callable[[Row], float]) -> None:
    """Plot scores by task: a line per kind of agent, a band from worst to best seed, and the random baseline."""
    by_task = grouped(rows, lambda row: row["task"])
    if not by_task:
        return
    columns, height = min(len(by_task), 4), -(-len(by_task) // 4)
    figure = Figure(figsize=(columns * 3.2, height * 2.6), layout="constrained")
    lines: dict[object, Artist] = {}
    for i, (task, same) in enumerate(by_task.items()):
        axes = figure.add_subplot(height, columns, i + 1, title=task, xlabel=x_label)
        if "success_rate" in same[0]:
            axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
        _lines(axes, same, x)
        if chance := sorted({x(row): row["chance"] for row in same if "chance" in row}.items()):
            axes.plot(*zip(*chance, strict=True), color="grey", linestyle="dotted", label="random baseline")
        lines |= {line.get_label(): line for line in axes.get_lines()}
    returns, successes = ({kind in row for row in rows} == {True} for kind in ("mean_return", "success_rate"))
    label_of = "mean return" if returns else "success rate" if successes else "success rate or mean return"
    figure.supylabel(label_of, fontsize="medium")
    figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=columns * 2)
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=120)


def _lines(axes: Axes, rows: Sequence[Row], x: Callable[[Row], float]) -> None:
    for name, same in grouped(rows, label).items():
        first = same[0]  # color and style are the same in every panel
        color, style = f"C{_OBSERVATIONS.index(first['observation'])}", _STYLES[_ARCHS.index(first["arch"])]
        points = {at: [_score(row) for row in point] for at, point in sorted(grouped(same, x).items())}
        at, rates = list(points), list(points.values())
        axes.plot(at, [mean(point) for point in rates], linestyle=style, color=color, marker=".", label=name)
        axes.fill_between(at, [min(point) for point in rates], [max(point) for point in rates], color=color, alpha=0.2)


def _score(row: Row) -> float:
    """Success rate, or the mean return where there is none."""
    return float(row["success_rate"] if "success_rate" in row else row["mean_return"])
