"""The run folder: a self-describing place for everything a training run leaves behind.

``config.json``        model, recipe, data set, seed, commit, versions, command, and metrics at the end
``metrics.csv``        one row per logged step; the same values go to TensorBoard (``events.*``)
``checkpoint.pt``      all state of the training, to resume from; written atomically
``model.safetensors``  averaged weights of the latest evaluation; with config.json, ``LAVAE.from_pretrained`` loads it
``figures/``           reconstructions of validation scenes with predicted centres
"""

import csv
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from torch.utils.tensorboard import SummaryWriter

from lavae_rl.pictures import save_png
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.locks import locked
from lavae_rl.shapes import Picture

CHECKPOINT_FILE, METRICS_FILE, FIGURES_FOLDER = "checkpoint.pt", "metrics.csv", "figures"
FRAMES_FOLDER = "frames"
"""Folder of frames that were collected for a run, before it."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone. Raises FileExistsError where another process trains in it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise FileExistsError(f"another process trains in {folder}; wait for it, or choose another --out") from error


class RunFolder(ExitStack):
    """One run's folder, opened to start or to resume the run; leaving its context closes what it has opened.

    Args:
        path: empty but for frames, or missing, unless the run in it is resumed.
        resume: whether to continue the run in it.

    Raises:
        FileExistsError: the folder holds something and ``resume`` is False.
        FileNotFoundError: nothing to resume.
    """

    def __init__(self, path: str | Path, resume: bool) -> None:
        super().__init__()
        self.path = Path(path)
        if resume and not (self.path / CONFIG_FILE).is_file():
            raise FileNotFoundError(f"nothing to resume in {self.path}: no {CONFIG_FILE} there; start without --resume")
        if (
            not resume
            and self.path.exists()
            and (not self.path.is_dir() or any(entry.name != FRAMES_FOLDER for entry in self.path.iterdir()))
        ):
            raise FileExistsError(
                f"{self.path} holds another run or other files; continue that run with --resume, "
                "or choose an empty folder with --out"
            )
        self._writer: SummaryWriter | None = None

    def claim(self) -> None:
        """Keep other processes from training in the folder until it is closed; see ``claimed``."""
        self.enter_context(claimed(self.path))

    def save_figure(self, name: str, picture: Picture) -> None:
        """Write ``figures/NAME.png``."""
        folder = self.path / FIGURES_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        save_png(folder / f"{name}.png", picture)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint; a crash in the middle leaves the previous one whole."""
        with replacing(self.path / CHECKPOINT_FILE) as temporary, temporary.open("wb") as stream:
            torch.save(dict(state), stream)
            stream.flush()
            os.fsync(stream.fileno())

    def load_checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        """The latest checkpoint, read without running code; None if the run was stopped before its first.

        Raises ValueError where the file is truncated or no checkpoint of ours.
        """
        # Of several processes on CPUs, each has a "cpu:RANK", which no tensor can be moved to.
        place = "cpu" if device.type == "cpu" else device
        path = self.path / CHECKPOINT_FILE
        if not path.exists():
            return None
        try:
            return dict(torch.load(path, map_location=place, weights_only=True))
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is truncated or not a checkpoint of this program: {error}") from error

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a row to ``metrics.csv`` and to TensorBoard. All rows need the same names, in the same order."""
        path = self.path / METRICS_FILE
        fresh = not path.exists() or path.stat().st_size == 0
        with path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, ["step", *metrics])
            if fresh:
                writer.writeheader()
            writer.writerow({"step": step, **metrics})
        if self._writer is None:
            self._writer = SummaryWriter(self.path, purge_step=step)
            self.callback(self._writer.close)
        for name, value in metrics.items():
            if value == value:  # a metric that was not measured at this step is NaN
                self._writer.add_scalar(name, value, step)

    def forget_after(self, step: int) -> None:
        """Drop rows of ``metrics.csv`` past ``step``, since a resumed run writes them again."""
        path = self.path / METRICS_FILE
        if not path.exists():
            return
        with path.open(newline="") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
        kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
        with replacing(path) as temporary, temporary.open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *kept] if header else [])
