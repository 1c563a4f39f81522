"""The run folder: a self-describing place for everything a training run leaves behind.

``config.json``        model, recipe, data set, seed, commit, versions, command, and metrics at the end
``metrics.csv``        one row per logged step; the same values go to TensorBoard (``events.*``)
``checkpoint.pt``      all state of the training, to resume from; written atomically
``model.safetensors``  averaged weights of the latest evaluation; with config.json, ``LAVAE.from_pretrained`` loads it
``figures/``           reconstructions of validation scenes with predicted centres
"""

import csv
import io
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from lavae_rl.pictures import save_png
from lavae_rl.runs.atomic import replacing
from lavae_rl.runs.claims import check_empty, claimed_run
from lavae_rl.runs.config import CONFIG_FILE
from lavae_rl.runs.reading import check_file, shortened
from lavae_rl.runs.tables import read_csv
from lavae_rl.runs.weights import read_torch
from lavae_rl.shapes import Picture

CHECKPOINT_FILE, METRICS_FILE, FIGURES_FOLDER = "checkpoint.pt", "metrics.csv", "figures"
FRAMES_FOLDER = "frames"
"""Folder of frames that were collected for a run, before it."""


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
        if not resume:
            check_empty(self.path, FRAMES_FOLDER)
        elif not (self.path / CONFIG_FILE).exists():
            raise FileNotFoundError(f"nothing to resume in {self.path}: no {CONFIG_FILE} there; start without --resume")
        self._writer: SummaryWriter | None = None
        self._resume = resume

    def claim(self) -> None:
        """Keep other processes from training in the folder until it is closed; see ``claimed_run``."""
        self.enter_context(claimed_run(self.path, self._resume, FRAMES_FOLDER))

    def save_figure(self, name: str, picture: Picture) -> None:
        """Write ``figures/NAME.png``."""
        folder = self.path / FIGURES_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        save_png(folder / f"{name}.png", picture)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint; a crash in the middle leaves the previous one whole."""
        saved = io.BytesIO()  # of a full disk, PyTorch would not say what is wrong
        torch.save(dict(state), saved)
        with replacing(self.path / CHECKPOINT_FILE) as temporary:
            temporary.write_bytes(saved.getbuffer())

    def load_checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        """The latest checkpoint, read without running code; None if the run was stopped before its first.

        Raises ValueError where the file is truncated or no checkpoint of ours.
        """
        # Of several processes on CPUs, each has a "cpu:RANK", which no tensor can be moved to.
        place = "cpu" if device.type == "cpu" else device
        path = self.path / CHECKPOINT_FILE
        if not path.exists():
            return None
        check_file(path)
        try:
            return dict(read_torch(path.read_bytes(), "it", place))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is truncated or not a checkpoint of this program: {shortened(error)}") from error

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
        """Drop rows of ``metrics.csv`` past ``step``, since a resumed run writes them again.

        Raises ValueError where the file is damaged.
        """
        path = self.path / METRICS_FILE
        if not path.exists():
            return
        header, *rows = read_csv(path) or [[]]
        try:
            kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}): remove it, and the run goes on without it") from error
        with replacing(path) as temporary, temporary.open("w", newline="") as stream:
            csv.writer(stream).writerows([header, *kept] if header else [])
