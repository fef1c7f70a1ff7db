"""Run a training: data, network, Lightning trainer, checkpoints, model card."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from mltrack_plugin import __version__
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models.encreg import EncReg, EncRegConfig
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.config import TrainingConfig
from mltrack_plugin.training.data import EventBatches, collate
from mltrack_plugin.training.module import RegressionTraining
from mltrack_plugin.training.targets import PARAMETERS, hit_targets

#: Events from which input and output constants and validity ranges are measured.
STATISTICS_EVENTS = 200


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What training events look like: constants of the network and validity of the model."""

    target_center: tuple[float, ...]
    target_scale: tuple[float, ...]
    validity: dict[str, tuple[float, float]]


def measure(source: Callable[[int], SimulatedEvent], targets: tuple[str, ...]) -> Statistics:
    """Median and half the central 68% of the targets, and the ranges of the coordinates (widened by 5%).

    Quantiles, because displaced particles give impact parameters a tail of metres.
    """
    events = [source(i) for i in range(STATISTICS_EVENTS)]
    found = [hit_targets(event.particles, event.truth_links, targets) for event in events]
    values = np.concatenate([target[row >= 0] for target, row in found]).astype(np.float64)
    low, middle, high = np.percentile(values, [16.0, 50.0, 84.0], axis=0)
    r = np.concatenate([event.hits.r for event in events])
    z = np.concatenate([event.hits.z for event in events])
    counts = [len(event.hits) for event in events]
    margin = 0.05 * float(r.max())
    return Statistics(
        tuple(middle.tolist()),
        tuple(np.maximum((high - low) / 2.0, 1e-3).tolist()),
        {
            "r": (max(0.0, float(r.min()) - margin), float(r.max()) + margin),
            "z": (float(z.min()) - 2 * margin, float(z.max()) + 2 * margin),
            "n_hits": (1.0, 4.0 * max(counts)),
        },
    )


class EventData(lightning.LightningDataModule):  # type: ignore[misc]
    """Training events from the step that the trainer has reached, and fixed validation events."""

    def __init__(
        self,
        config: TrainingConfig,
        train: Callable[[int], SimulatedEvent],
        validation: Callable[[int], SimulatedEvent],
    ) -> None:
        super().__init__()
        self.config = config
        self.train = train
        self.validation = validation

    def train_dataloader(self) -> DataLoader[Any]:
        start = self.trainer.global_step if self.trainer is not None else 0
        config = self.config
        batches = EventBatches(self.train, config.targets, config.batch_size, start, config.seed)
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        config = self.config
        events = [self.validation(i) for i in range(config.validation_events)]
        chunks = [events[i : i + config.batch_size] for i in range(0, len(events), config.batch_size)]
        return DataLoader([collate(chunk, config.targets) for chunk in chunks], batch_size=None)  # type: ignore[arg-type]


class CheckpointCard(Callback):  # type: ignore[misc]
    """Adds to each checkpoint what an export needs, as plain values: no class is unpickled to read it."""

    def __init__(self, config: TrainingConfig, network_config: EncRegConfig, statistics: Statistics) -> None:
        self.content: dict[str, Any] = {
            "architecture": config.architecture,
            "architecture_config": network_config.model_dump(mode="json"),
            "card": card_content(config, network_config, statistics),
        }

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        scale = pl_module.log_scale.detach().exp().cpu()
        network: Any = pl_module.network
        # A resumed training keeps the constants it started with: they are those of the network.
        constants = {name: getattr(network, name).tolist() for name in ("output_mean", "output_scale")}
        content: dict[str, Any] = {
            "architecture": self.content["architecture"],
            "architecture_config": self.content["architecture_config"] | constants,
            "card": dict(self.content["card"]),
        }
        content["card"]["hyperparameters"] = content["architecture_config"]
        content["card"]["output_scales"] = (scale * network.output_scale.cpu()).tolist()
        content["card"]["metrics"] = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")
        } | {"steps": float(trainer.global_step)}
        checkpoint["mltrack"] = content


def card_content(config: TrainingConfig, network: EncRegConfig, statistics: Statistics) -> dict[str, Any]:
    """The model card's fields as plain values."""
    unit = config.length_unit
    return {
        "name": config.name,
        "version": config.version,
        "architecture": config.architecture,
        "hyperparameters": network.model_dump(mode="json"),
        "features": ["x", "y", "z"],
        "units": {
            **dict.fromkeys(("x", "y", "z"), unit),
            **{name: PARAMETERS[name][0] for name in config.targets},
        },
        "coordinate_system": "cartesian",
        "detectors": list(config.detectors),
        "outputs": list(config.targets),
        "validity": {name: list(limits) for name, limits in statistics.validity.items()},
        "training_data": {
            "dataset": config.dataset,
            "settings": config.dataset_settings,
            "split": "train",
            "seed": config.seed,
        },
        "training_recipe": {
            "optimiser": f"AdamW, learning rate {config.learning_rate}, cosine decay",
            "batch_size": config.batch_size,
            "steps": config.steps,
            "loss": (
                f"{config.regression_weight} smooth L1 (beta {config.regression_beta}) + "
                f"{config.contrastive_weight} supervised contrastive"
            ),
            "precision": config.precision,
        },
        "mltrack_version": __version__,
        "license": "MPL-2.0",
    }


def event_source(config: TrainingConfig, split: str) -> Callable[[int], SimulatedEvent]:
    """Events of a split of the configured data set, by index."""
    from mltrack_plugin.simulation.datasets import make_dataset

    dataset = make_dataset(config.dataset, config.dataset_settings)
    return lambda index: dataset.event(index, seed=config.seed, split=split)


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
        output: folder for ``last.ckpt``, ``best.ckpt`` (best validation score) and ``metrics.csv``.
        resume: go on from ``last.ckpt``.
        device: "auto", "cpu" or "cuda".
        threads: torch threads; torch's default if None.
        progress: show a progress bar.
        callbacks: further Lightning callbacks.

    Returns:
        Path of the last checkpoint.

    Raises:
        ConfigurationError: if the folder holds a training already and ``resume`` is off, or the other way round.
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
    source = event_source(config, "train")
    statistics = measure(source, config.targets)
    network_config = EncRegConfig(
        **config.network,
        input_mean=(0.0, 0.0, 0.0),
        input_scale=(config.length_scale,) * 3,
        output_mean=statistics.target_center,
        output_scale=statistics.target_scale,
    )
    network = EncReg(network_config)
    if config.kernel_start is not None:
        network.start_as_kernel(config.kernel_start)
    module = RegressionTraining(config, network)
    # At the end of the epoch, not of its validation: only then does a resumed run start with the next epoch.
    always: dict[str, Any] = {"enable_version_counter": False, "save_on_train_epoch_end": True}
    checkpoints = [
        ModelCheckpoint(output, "best", monitor="val_score", mode="max", **always),
        ModelCheckpoint(output, "last", **always),
    ]
    trainer = lightning.Trainer(
        max_steps=config.steps,
        limit_train_batches=config.validation_every,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        gradient_clip_val=config.gradient_clip,
        precision=config.precision,
        accelerator={"cpu": "cpu", "cuda": "gpu"}.get(device, "auto"),
        devices=1,
        callbacks=[CheckpointCard(config, network_config, statistics), *checkpoints, *callbacks],
        logger=CSVLogger(output, name="", version="log"),
        enable_progress_bar=progress,
        enable_model_summary=False,
        log_every_n_steps=min(50, config.validation_every),
    )
    data = EventData(config, source, event_source(config, "validation"))
    with quiet_lightning():
        trainer.fit(module, data, ckpt_path=str(last) if resume else None, weights_only=True)
    return last


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
