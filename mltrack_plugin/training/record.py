"""What a checkpoint says about its making: command, time and machine, so that its model card can name them."""

from __future__ import annotations

import time
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from mltrack_plugin.framework.timing import machine
from mltrack_plugin.training.config import training_command
from mltrack_plugin.training.task import Task


class CheckpointCard(Callback):  # type: ignore[misc]
    """Adds to each checkpoint what an export needs, as plain values: no class is unpickled to read it.

    The wall time adds up over interrupted and resumed runs.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._before: float | None = None
        self._first_step = 0
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of the training so far, validation included."""
        return (self._before or 0.0) + time.monotonic() - self._start

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._start = time.monotonic()
        if self._before is None:
            # A checkpoint without a record leaves the time before it unknown.
            self._first_step = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """The time, for a resumed run."""
        return {"seconds": self.seconds, "first_step": self._first_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._before = float(state_dict["seconds"])
        self._first_step = int(state_dict["first_step"])

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        card = self.task.card(pl_module)
        card["metrics"] = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val_")
        } | {"steps": float(trainer.global_step)}
        recipe = {
            "command": training_command(self.task.config),
            "wall_time_s": round(self.seconds),
            "machine": describe_machine(pl_module.device),
        }
        if self._first_step:
            recipe["wall_time_from_step"] = self._first_step
        card["training_recipe"] = card.get("training_recipe", {}) | recipe
        checkpoint["mltrack"] = {
            "architecture": self.task.config.architecture,
            "architecture_config": card["hyperparameters"],
            "card": card,
        }


def describe_machine(device: torch.device) -> str:
    """Processor, threads and accelerator in words; nothing that names the machine itself."""
    threads = torch.get_num_threads()
    text = f"{machine()['processor']}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{text}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else text
