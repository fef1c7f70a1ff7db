"""How a sequence runs: the settings of a :class:`~mltrack_plugin.framework.sequencer.Sequencer`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.framework.event_loop import OnError


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The arguments of the sequencer, which documents them.

    Raises:
        ConfigurationError: if one is out of range.
    """

    events: int | None
    skip: int
    workers: int
    threads: int
    on_error: OnError
    chunk_size: int
    checkpoint_s: float
    progress: Callable[[int, int], None] | None
    resume: bool
    log: Callable[[str], None]
    info: Mapping[str, str]
    executor: str | None = None

    @property
    def executor_name(self) -> str:
        """Registered name of the executor: "processes" for several workers, if none is named."""
        return self.executor or ("processes" if self.workers > 1 else "serial")

    def __post_init__(self) -> None:
        for name, lowest in {"events": 1, "skip": 0, "workers": 1, "threads": 1, "chunk_size": 1}.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ConfigurationError(f"{name} must be at least {lowest}, not {value}")
        if self.on_error not in ("fail", "skip"):
            raise ConfigurationError(f"on_error must be 'fail' or 'skip', not {self.on_error!r}")
