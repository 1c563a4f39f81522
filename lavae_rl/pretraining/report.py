"""Reports of a pretraining on the console, and a picture of its survey."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from lavae_rl.data.sources import SceneSpec
from lavae_rl.evaluation.figures import background_figure
from lavae_rl.model.checkpoint import MODEL_TYPES
from lavae_rl.model.image.background import Pictures
from lavae_rl.pictures import to_bytes
from lavae_rl.pretraining.run import PretrainingRun
from lavae_rl.pretraining.state import Progress
from lavae_rl.pretraining.survey import MISFIT, Survey
from lavae_rl.shapes import Picture

_SHOWN = 4


def describe_survey(found: Survey) -> list[str]:
    """Say in a few lines what was chosen, and why."""
    chosen = found.choices
    windows = " and ".join(f"{chosen.sprite_size * scale} px" for scale in chosen.scales)
    lines = [
        f"background: {chosen.background}; {_describe_background(found)}, "
        f"{found.background.ignored.float().mean():.1%} are ignored; {chosen.different:.1%} of a frame differ from it "
        "(--background sets it)",
        f"windows: {windows}; 3 of 4 components are at most {chosen.side:.0f} px long, 95 % at most "
        f"{chosen.largest_side:.0f} px (--sprite-size N sets the smallest)",
        f"objects: up to {chosen.max_objects}; half of the frames have at most {chosen.count:.0f} components, 95 % at "
        f"most {chosen.largest_count:.0f} (--max-objects N sets it)",
    ]
    if chosen.different > MISFIT:
        lines.append(
            "warning: so large a part of the frames is not background that objects will hardly be found. Try another "
            "--background; screens that scroll have none that fits (docs/own_environment.md)"
        )
    return lines


def _describe_background(found: Survey) -> str:
    if not isinstance(found.background, Pictures):
        return f"changes in {found.choices.background_directions} directions"
    several = (found.background.frequency[1:] > 0).any(0).float().mean()
    return f"{several:.1%} of the pixels have up to {found.choices.background_states} colours"


def survey_figure(found: Survey) -> Picture:
    """Draw what was found, by ``background_figure``, on some frames spread over the recording."""
    chosen = np.linspace(0, len(found.frames) - 1, min(_SHOWN, len(found.frames))).round().astype(int)
    return background_figure(
        pictures=to_bytes(found.background.examples().permute(0, 2, 3, 1).numpy()),
        ignored=found.background.ignored.numpy(),
        windows=[found.choices.sprite_size * scale for scale in found.choices.scales],
        frames=found.frames[chosen],
        nats=found.nats[chosen],
        boxes=[found.components[i].box for i in chosen],
    )


def describe(progress: Progress, terms: dict[str, float]) -> str:
    """The loss terms of a step, as the progress bar shows them."""
    shown = {
        "log p": "log_likelihood",
        "unexplained nats": "unexplained",
        "KL": "kl",
        "appearance KL": "kl_appearance",
        "dream": "dream_centre",
    }
    measured = {label: terms[name] for label, name in shown.items() if not math.isnan(terms.get(name, math.nan))}
    text = "  ".join(f"{label} {value:.3g}" for label, value in measured.items())
    return text + (f"  [red]skipped {progress.skipped}[/]" if progress.skipped else "")


def describe_evaluation(progress: Progress, measured: dict[str, float]) -> str:
    """One line on an evaluation."""
    found = "count accuracy {count_accuracy:.2%}  location error {location_error_px:.2f} px  "
    found = found.format(**measured) if "count_accuracy" in measured else ""
    if "explained" in measured:
        found = "surprise explained {explained:.1%}  {mean_count:.1f} objects a frame, {persistence:.1%} persist  "
        found = found.format(**measured)
    return f"step {progress.step:6,d}  {progress.seconds:5.0f} s  {found}ELBO {measured['elbo']:.1f} nats"


def summary(run: PretrainingRun, out: Path) -> Table:
    """The table at the end of a run."""
    metrics: dict[str, Any] = run.metrics or {}
    found = {}
    if "count_accuracy_0_3" in metrics and isinstance(run.data, SceneSpec):
        error = metrics["location_error_px"]
        found = {
            f"count accuracy, 0 to {run.data.max_objects} objects": f"{metrics['count_accuracy_0_3']:.2%}",
            "count accuracy, 7 objects": f"{metrics['count_accuracy_7']:.2%}",
            "location error": "none found" if error is None else f"{error:.2f} px",
            "missed / false objects": f"{metrics['miss_rate']:.3%} / {metrics['false_rate']:.3%}",
        }
    bound: dict[str, str] = {}
    if "entropy_floor" in metrics:
        bound["ELBO / bound"] = f"{metrics['elbo']:.1f} / {metrics['log_likelihood_bound']:.1f} nats per frame"
        bound["entropy bound"] = f"{-metrics['entropy_floor']:.1f} nats per frame"
    else:
        found = {
            "surprise explained": f"{metrics['explained']:.1%}",
            "objects per frame": f"{metrics['mean_count']:.2f}",
            "found again in the next frame": "unknown"
            if metrics["persistence"] is None
            else f"{metrics['persistence']:.1%}",
        }
        bound["ELBO"] = f"{metrics['elbo']:.1f} nats per frame"
    kind = MODEL_TYPES[run.model_type].rpartition(":")[2]
    table = Table(title="Test splits", show_header=False, title_justify="left")
    rows = (
        found
        | bound
        | {
            "training": f"{run.training_seconds:.0f} s, {run.skipped_steps} steps skipped",
            "run folder": str(out),
            "weights": f"model.safetensors: {kind}.from_pretrained({str(out)!r})",
            "curves": "metrics.csv, or tensorboard --logdir",
            "pictures": "figures/",
        }
    )
    for row in rows.items():
        table.add_row(*map(escape, row))
    return table
