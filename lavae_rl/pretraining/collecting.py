"""Collecting frames with a progress bar, for the programs that do."""

from pathlib import Path

from rich import progress as bars
from rich.console import Console
from rich.markup import escape

from lavae_rl.data.rollouts import Policy, Rollouts, collect


def collect_under_bar(
    settings: Rollouts, folder: Path, resume: bool, console: Console, policy: Policy | None = None
) -> Rollouts:
    """Collect frames into a folder, show how far it is, and say what was collected; see ``rollouts.collect``."""
    columns = (bars.TextColumn("collecting"), bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=settings.num_frames)
        done = collect(settings, folder, policy, resume, lambda number: bar.update(task, completed=number))
    size = sum(path.stat().st_size for path in folder.glob("*.npy"))
    black = f", {done.skipped:,} black ones left out" if done.skipped else ""
    console.print(
        f"{escape(done.env_id)}: {done.collected:,} frames of {len(done.episodes)} episodes in {escape(str(folder))}, "
        f"{size / 1e6:,.0f} MB{black}"
    )
    return done
