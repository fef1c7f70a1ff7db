"""Training stops with a reason, and its last good checkpoint stays, where a loss is not finite or memory is used up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from mltrack_plugin.errors import TrainingError

#: How torch says that memory is exhausted, on a CPU and on a GPU.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class StopWhenNotFinite(Callback):  # type: ignore[misc]
    """Stops before a loss or gradient that is not finite reaches the weights.

    Args:
        last: the checkpoint to go on from, for the message.
    """

    def __init__(self, last: Path) -> None:
        self.last = last

    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        if not torch.isfinite(loss.detach()).all():
            self._stop(trainer, pl_module, f"the loss is {loss.item()}")

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        # In 16-mixed an overflow is part of the method: the scaler leaves the step out.
        if trainer.precision == "16-mixed":
            return
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                self._stop(trainer, pl_module, f"the gradient of {name} is not finite")

    def _stop(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, what: str) -> None:
        step, every = trainer.global_step, pl_module.config.validation_every
        kept = (
            f"{self.last} holds the last good weights; go on from there with --resume and another setting"
            if self.last.exists()
            else "no checkpoint was written yet"
        )
        raise TrainingError(
            f"{what} at step {step} (training batch {step}, number {step % every} since the last validation). "
            f"Try a smaller learning_rate or gradient_clip, or precision 32-true. {kept}"
        )


@contextlib.contextmanager
def memory_errors(trainer: lightning.Trainer | None = None) -> Iterator[None]:
    """Say what to change when memory is exhausted (raises ``TrainingError``); without a trainer: before any step."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(text in str(error) for text in _NO_MEMORY):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        when = "before the first step" if trainer is None else f"at step {trainer.global_step}"
        raise TrainingError(
            f"memory is exhausted {when} ({reason}). "
            "Lower batch_size (encemb: batch_hits), or leave large events out with max_event_hits and "
            "oversized_events: leave-out"
        ) from error
