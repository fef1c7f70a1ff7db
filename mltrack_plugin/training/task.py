"""What a training task provides; the loop around it is the same for all (:mod:`mltrack_plugin.training.run`)."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import lightning
import torch
from torch import nn

from mltrack_plugin.detectors import find_detector
from mltrack_plugin.errors import ConfigurationError, EventError
from mltrack_plugin.settings import Config as BaseConfig
from mltrack_plugin.settings import validated
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.files import training_dataset
from mltrack_plugin.training.settings import TrainingConfig, portable_settings
from mltrack_plugin.version import __version__

C = TypeVar("C", bound=BaseConfig)
#: (index) -> event; the same index gives the same event.
EventSource = Callable[[int], SimulatedEvent]


#: Events in a row that may be left out for their size before the training gives up.
_MOST_LEFT_OUT = 100


def bounded(events: EventSource, max_hits: int, place: str, *, leave_out: bool) -> EventSource:
    """Events of at most ``max_hits`` hits.

    Args:
        events: by index.
        max_hits: see above.
        place: of the events, for messages.
        leave_out: the next smaller event, or where the events end the one before, takes the place of a larger one;
            otherwise it is an error.

    Returns:
        events by index; raises ``EventError`` for an event that is too large.
    """

    def event(index: int) -> SimulatedEvent:
        whole = events(index)
        if len(whole.hits) <= max_hits:
            return whole
        others = _others(events, index) if leave_out else iter(())
        smaller = next((found for found in others if len(found.hits) <= max_hits), None)
        if smaller is None:
            raise EventError(
                f"{place}: event {index} has {len(whole.hits)} hits, more than max_event_hits = {max_hits}"
                + (f", and none of up to {_MOST_LEFT_OUT - 1} others has less" if leave_out else "")
                + ". Raise it if memory allows, train on smaller events, or give oversized_events: leave-out"
            )
        return smaller

    return event


def _others(events: EventSource, index: int) -> Iterator[SimulatedEvent]:
    """Events behind one; if they end, those before it."""
    for number in range(index + 1, index + _MOST_LEFT_OUT):
        try:
            found = events(number)
        except ConfigurationError:
            # Own events come to an end.
            yield from map(events, range(index - 1, max(-1, index - _MOST_LEFT_OUT), -1))
            return
        yield found


def with_hits(events: EventSource, n: int) -> list[SimulatedEvent]:
    """Those of the first ``n`` validation events that have hits (raises ``ConfigurationError`` if none has)."""
    found = [event for event in map(events, range(n)) if len(event.hits)]
    if not found:
        raise ConfigurationError(f"none of the {n} validation events has hits; give more validation_events")
    return found


class TaskModule(lightning.LightningModule):  # type: ignore[misc]
    """Base of the modules: AdamW without decay of biases and norms, linear warm-up, cosine decay to zero.

    Subclasses log ``val_score`` (larger is better) at the end of each validation.

    Args:
        config: the training run.
        network: what is trained and exported.
    """

    def __init__(self, config: TrainingConfig, network: nn.Module) -> None:
        super().__init__()
        self.config: Any = config
        self.network: Any = network

    def configure_optimizers(self) -> Any:
        config = self.config
        decay = [p for p in self.parameters() if p.ndim >= 2]
        other = [p for p in self.parameters() if p.ndim < 2]
        optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": config.weight_decay}, {"params": other, "weight_decay": 0.0}],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
        )

        def factor(step: int) -> float:
            if step < config.warmup_steps:
                return float((step + 1) / config.warmup_steps)
            done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
            return float(0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Task(ABC):
    """One training problem: network, batches, losses and what the model card says about them.

    Args:
        config: the run, of this class's ``Config``.
    """

    #: Class of the configuration.
    Config: ClassVar[type[TrainingConfig]] = TrainingConfig

    def __init__(self, config: Any) -> None:
        self.config = config

    def check(self, device: str) -> None:  # noqa: B027 - most tasks run everywhere
        """Refuse a run that this machine cannot do, before anything is simulated.

        Args:
            device: "auto", "cpu" or "cuda".
        """

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The data set; kept, because some simulate a bank of particles when first used."""
        return training_dataset(self.config.dataset, self.config.dataset_settings)

    @property
    def validation_sets(self) -> list[Dataset]:
        """Data sets that the network is scored on during the training, if they are not the training's own."""
        return []

    def check_detector(self) -> None:
        """Refuse hits of another detector, or in another coordinate system, than the model is made for.

        Raises:
            ConfigurationError: naming both.
        """
        config = self.config
        for dataset in (self.dataset, *self.validation_sets):
            detector, known = dataset.detector, find_detector(dataset.detector)
            unit = "mm" if known is None else known.length_unit
            if detector not in config.detectors:
                raise ConfigurationError(
                    f"{config.name}: the data set {dataset.name} holds hits of the detector {detector!r}, but the "
                    f"model is made for {', '.join(config.detectors)}; name it in detectors, or choose another data set"
                )
            if config.length_unit != unit:
                raise ConfigurationError(
                    f"{config.name}: hits of the detector {detector!r} are given in {unit}: length_unit must be "
                    f"{unit}, not {config.length_unit}"
                )

    def close(self) -> None:
        """Let go of the files of the data sets."""
        for dataset in (self.dataset, *self.validation_sets):
            dataset.close()

    def source(self, split: str, dataset: Dataset | None = None) -> EventSource:
        """Events of a split, by index; one with more hits than ``max_event_hits`` is treated as the run asks for.

        Args:
            split: train, validation or test.
            dataset: whose events; default: that of the training.
        """
        chosen = dataset or self.dataset
        return bounded(
            lambda index: chosen.event(index, seed=self.config.seed, split=split),
            self.config.max_event_hits,
            f"data set {chosen.name}, split {split}",
            leave_out=self.config.oversized_events == "leave-out",
        )

    def settings_for(self, kind: type[C], **given: Any) -> C:
        """Settings of the network: those of the configuration, and those that the training itself knows or measures.

        Raises:
            ConfigurationError: naming each setting that is wrong, or is in both.
        """
        network, place = self.config.network, f"{self.config.name}: network"
        if twice := sorted(network.keys() & given.keys()):
            raise ConfigurationError(
                f"{place}: {', '.join(twice)} cannot be set: the training takes care of it"
            )
        settings = validated(kind, {**network, **given}, place)
        assert isinstance(settings, kind)
        return settings

    @abstractmethod
    def module(self) -> TaskModule:
        """The module with an untrained network, whose constants are measured on training events."""

    @abstractmethod
    def training_batches(self, start: int) -> Iterator[Any]:
        """Batches number ``start``, ``start + 1``, ... of an endless stream; each depends on the seed and its
        number alone, so that a resumed training sees what an uninterrupted one would have seen."""

    @abstractmethod
    def validation_batches(self) -> Sequence[Any]:
        """The validation events."""

    @abstractmethod
    def card(self, module: TaskModule) -> dict[str, Any]:
        """Content of the model card as plain values; ``hyperparameters`` rebuild the network."""

    def common_card(self) -> dict[str, Any]:
        """What every card says about the run."""
        config = self.config
        return {
            "name": config.name,
            "version": config.version,
            "architecture": config.architecture,
            "detectors": list(config.detectors),
            "training_data": {
                "dataset": config.dataset,
                "settings": portable_settings(config.dataset_settings),
                "split": "train",
                "seed": config.seed,
            },
            "training_recipe": {
                "optimiser": f"AdamW, learning rate {config.learning_rate}, cosine decay",
                "batch_size": config.batch_size,
                "steps": config.steps,
                "precision": config.precision,
            },
            "mltrack_version": __version__,
            "license": "MPL-2.0",
        }
