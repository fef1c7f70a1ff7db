"""metrics.csv: one row per logged step, kept through interruptions."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger

from mltrack_plugin.atomic import AtomicFile
from mltrack_plugin.errors import InputError

#: Columns that every row has.
_KEYS = ("step", "epoch")


class MetricsFile(Logger):  # type: ignore[misc]
    """Writes what a training logs to a CSV file, complete at any time.

    Args:
        path: the file.
        resume_step: keep the rows of an earlier run up to this step; None = start anew.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict[str, float]] = []
        if resume_step is not None and path.exists():
            self.rows = [row for row in read_metrics(path) if row["step"] < resume_step]

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Keep one row."""
        row = {"step": float(step if step is not None else len(self.rows))}
        self.rows.append(row | {name: float(value) for name, value in metrics.items()})

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the checkpoint holds the settings."""

    def save(self) -> None:
        """Write all rows."""
        if not self.rows:
            return
        others = sorted({name for row in self.rows for name in row} - set(_KEYS))
        text = io.StringIO()
        writer = csv.DictWriter(text, [*_KEYS, *others], lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({name: f"{value:.10g}" for name, value in row.items()})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = AtomicFile(self.path, overwrite=True)
        file.file.write(text.getvalue().encode())
        file.commit()

    def finalize(self, status: str) -> None:
        """Write all rows, whatever ended the training."""
        self.save()


class CountSteps(Callback):  # type: ignore[misc]
    """Log the same steps after a resumption: Lightning's own count of them is one too high there."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics.csv: what was logged at each step; empty cells are left out.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: the metrics of a training cannot be read ({error})") from error
    if any("step" not in row for row in rows):
        raise InputError(f"{path}: the metrics of a training need a column 'step'")
    return rows
