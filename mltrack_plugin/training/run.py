"""Run a training: Lightning trainer, checkpoints, model card; the task brings network, batches and losses."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, IterableDataset

from mltrack_plugin.archives.archive import resolve_device
from mltrack_plugin.atomic import output_errors
from mltrack_plugin.errors import ConfigurationError, MissingExtraError
from mltrack_plugin.training.curves import draw_curves
from mltrack_plugin.training.guard import StopWhenNotFinite, memory_errors
from mltrack_plugin.training.metrics_file import CountSteps, MetricsFile
from mltrack_plugin.training.record import CheckpointCard
from mltrack_plugin.training.resume import checked_step
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import Task
from mltrack_plugin.training.tasks import make_task


class _Stream(IterableDataset[Any]):
    """The task's training batches from a given one on."""

    def __init__(self, task: Task, start: int) -> None:
        self.task = task
        self.start = start

    def __iter__(self) -> Iterator[Any]:
        return self.task.training_batches(self.start)


class _ValidateTheEnd(Callback):  # type: ignore[misc]
    """Validates after the last step, too, if the number of steps is no multiple of those between validations."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any) -> None:
        # Reaching max_steps ends an epoch without a validation, a wish to stop does not.
        trainer.should_stop = trainer.should_stop or trainer.global_step >= trainer.max_steps


class TaskData(lightning.LightningDataModule):  # type: ignore[misc]
    """Training batches from the step that the trainer has reached, and the validation batches."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def train_dataloader(self) -> DataLoader[Any]:
        start = self.trainer.global_step if self.trainer is not None else 0
        return DataLoader(_Stream(self.task, start), batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self._validation, batch_size=None)  # type: ignore[arg-type]

    @functools.cached_property
    def _validation(self) -> list[Any]:
        """Kept, because loaders are made anew for each validation."""
        return list(self.task.validation_batches())


def train(
    config: TrainingConfig,
    output: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train, writing checkpoints to ``output``.

    Args:
        config: the run.
        output: folder for ``last.ckpt``, ``best.ckpt`` (best validation score), ``metrics.csv`` and its curves,
            ``curves.png`` (where matplotlib is installed); the latter two also when the training is interrupted.
        resume: go on from ``last.ckpt``.
        device: "auto", "cpu" or "cuda".
        threads: torch threads; torch's default if None.
        progress: show a progress bar.
        callbacks: further Lightning callbacks.

    Returns:
        Path of the last checkpoint.

    Raises:
        ConfigurationError: if the folder holds a training already and ``resume`` is off, or the other way round; if
            the data set is of a detector that the model is not made for.
        ModelError: if the checkpoint to resume is damaged, or one of another training or network; if the device is
            "cuda" and there is none.
        OutputError: if the folder cannot be made.
        TrainingError: if loss or gradient is not finite, or memory exhausted; the last checkpoint stays good.
    """
    last = output / "last.ckpt"
    if last.exists() and not resume:
        raise ConfigurationError(
            f"{output} holds a training already; go on with --resume or choose another folder"
        )
    if resume and not last.exists():
        raise ConfigurationError(f"nothing to resume: {last} does not exist")
    if threads is not None:
        torch.set_num_threads(threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    lightning.seed_everything(config.seed, verbose=False)
    task = make_task(config)
    task.check_detector()
    with contextlib.closing(task):
        task.check(device)
        device = resolve_device(device)
        with output_errors(output):
            output.mkdir(parents=True, exist_ok=True)
        _fit(task, output, resume, device, progress, callbacks)
    return last


def _fit(
    task: Task, output: Path, resume: bool, device: str, progress: bool, callbacks: Sequence[Callback]
) -> None:
    """As :func:`train`, of a task whose data set is open."""
    config, last = task.config, output / "last.ckpt"
    with memory_errors():
        module = task.module()
    step = checked_step(last, task.card(module), config.network, module) if resume else None
    # At the end of the epoch, not of its validation: only then does a resumed run start with the next epoch.
    always: dict[str, Any] = {"enable_version_counter": False, "save_on_train_epoch_end": True}
    checkpoints = [
        ModelCheckpoint(output, "best", monitor="val_score", mode="max", **always),
        ModelCheckpoint(output, "last", **always),
    ]
    if config.patience is not None:
        stop = EarlyStopping("val_score", mode="max", patience=config.patience, check_finite=False)
        checkpoints.insert(0, stop)
    metrics = MetricsFile(output / "metrics.csv", step)
    trainer = lightning.Trainer(
        max_steps=config.steps,
        limit_train_batches=config.validation_every,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        gradient_clip_val=config.gradient_clip,
        precision=config.precision,
        accelerator={"cpu": "cpu", "cuda": "gpu"}[device],
        devices=1,
        callbacks=[
            CheckpointCard(task),
            CountSteps(),
            StopWhenNotFinite(last),
            _ValidateTheEnd(),
            *checkpoints,
            *callbacks,
        ],
        logger=metrics,
        enable_progress_bar=progress,
        enable_model_summary=False,
        log_every_n_steps=min(50, config.validation_every),
    )
    try:
        with quiet_lightning(), memory_errors(trainer):
            trainer.fit(module, TaskData(task), ckpt_path=str(last) if resume else None, weights_only=True)
    finally:
        # Also after an interruption or an error: this is when curves are looked at.
        if metrics.rows:
            with contextlib.suppress(MissingExtraError):
                draw_curves(metrics.rows, output / "curves.png")


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence what Lightning says about choices that are made here on purpose."""
    with warnings.catch_warnings():
        for message in (
            "Checkpoint directory .* exists and is not empty",  # the logger's folder lies in it
            "The '.*_dataloader' does not have many workers",  # simulation is cheap beside the network
            ".*could not find the monitored key",  # Lightning ends the checkpoint's epoch again when it resumes
            "Experiment logs directory .* exists and is not empty",
            ".*isinstance\\(treespec, LeafSpec\\).*",  # Lightning's own use of torch
        ):
            warnings.filterwarnings("ignore", message=message)
        yield
