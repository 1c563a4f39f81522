"""Collecting frames with a progress bar, for the programs that do."""

from pathlib import Path

from rich import progress as bars
from rich.console import Console
from rich.markup import escape

from lavae_rl.data.checks import check_moving, flickers, hides_objects
from lavae_rl.data.manifest import Rollouts
from lavae_rl.data.recordings import open_recording
from lavae_rl.data.rollouts import Agent, collect


def collect_under_bar(
    settings: Rollouts, folder: Path, resume: bool, console: Console, agent: Agent | None = None
) -> Rollouts:
    """Collect frames into a folder, show how far it is, and say what was collected; see ``rollouts.collect``.

    Raises:
        ValueError: see ``rollouts.collect``; or frames in which nothing moves.
    """
    columns = (bars.TextColumn("collecting"), bars.BarColumn(20), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=settings.num_frames)
        done = collect(settings, folder, agent, resume, lambda number: bar.update(task, completed=number))
    size = sum((folder / name).stat().st_size for name in done.files)
    black = f", {done.skipped:,} black ones left out" if done.skipped else ""
    console.print(
        f"{escape(done.env_id)}: {done.collected:,} frames of {len(done.episodes)} episodes in {escape(str(folder))}, "
        f"{size / 1e6:,.0f} MB{black}"
    )
    warn(done, folder, console)
    return done


def warn(done: Rollouts, folder: Path, console: Console) -> None:
    """Check collected frames, and print how to collect better ones where objects flicker.

    Raises:
        ValueError: nothing moves in them.
    """
    recording = open_recording(folder)
    check_moving(recording)
    if hides_objects(done.env_id, done.env_kwargs):
        console.print(
            f"[yellow]note:[/] {escape(done.env_id)} draws some objects in every other frame only, and an even "
            "frameskip never shows them: collect again, into another folder, with "
            """--env-kwargs '{"frameskip": 3}' --max-frames 2"""
        )
    elif done.max_frames == 1 and flickers(recording, recording.episodes):
        console.print(
            "[yellow]note:[/] objects show in every other frame only: collect again, into another folder, with "
            "--max-frames 2"
        )
