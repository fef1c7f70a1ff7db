"""Algorithm, Reader, Writer and their data handles: what a sequence is made of.

Peers: ``IAlgorithm``, ``IReader``, ``IWriter``, ``DataHandle`` of the ACTS examples framework.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel

from mltrack_plugin.errors import ConfigurationError, EventError, did_you_mean
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.registry import registered_name
from mltrack_plugin.reprs import html_table, short
from mltrack_plugin.settings import Config, validated
from mltrack_plugin.settings_help import with_settings

if TYPE_CHECKING:
    from mltrack_plugin.event_data import Hits, Particles, TruthLinks
    from mltrack_plugin.framework.source import Source

T = TypeVar("T")


class ProcessCode(enum.Enum):
    """Outcome of one ``execute`` call."""

    SUCCESS = 0
    #: Stop processing this event without an error (a filter said no).
    SKIP = 1
    #: The event cannot be processed; the sequencer applies its error policy.
    ABORT = 2


@dataclass(frozen=True, slots=True)
class ReadHandle(Generic[T]):
    """A declared input: key and type."""

    key: str
    kind: type[T]
    optional: bool = False

    def __call__(self, event_store: EventStore) -> T:
        """Read from the store (raises ``ConfigurationError`` if missing or of another type)."""
        return event_store.get(self.key, self.kind)

    def get(self, event_store: EventStore) -> T | None:
        """Read from the store, ``None`` if the collection is not there."""
        return event_store.get(self.key, self.kind) if self.key in event_store else None


@dataclass(frozen=True, slots=True)
class WriteHandle(Generic[T]):
    """A declared output: key and type."""

    key: str
    kind: type[T]

    def __call__(self, event_store: EventStore, value: T) -> None:
        """Write to the store.

        Raises:
            ConfigurationError: if the value has another type than declared, or the key is taken.
        """
        if not isinstance(value, self.kind):
            raise ConfigurationError(
                f"output {self.key!r} was declared as {self.kind.__name__}, got {type(value).__name__}"
            )
        event_store.add(self.key, value)


class SequenceElement(ABC):  # noqa: B024 - abstract through its subclasses' methods
    """What readers, algorithms and writers share: a config, a name and declared handles.

    Args:
        config: a ``self.Config``, or a mapping of its settings.
        settings: the settings by name, instead of ``config``.

    Raises:
        ConfigurationError: naming each setting that is wrong, and the nearest existing one.
    """

    #: Frozen pydantic model with one documented field per setting.
    Config: ClassVar[type[Config]] = Config

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__doc__ = with_settings(cls.__dict__.get("__doc__"), cls.Config)

    def __init__(self, config: BaseModel | Mapping[str, Any] | None = None, **settings: Any) -> None:
        if config is not None and settings:
            raise ConfigurationError(f"{type(self).__name__}: give a config or settings, not both")
        if isinstance(config, self.Config):
            self.config: Any = config
        else:
            self.config = validated(self.Config, dict(config or settings), type(self).__name__)
        self._inputs: list[ReadHandle[Any]] = []
        self._outputs: list[WriteHandle[Any]] = []

    @property
    def name(self) -> str:
        """Name in logs and timing tables: that of job files, or of the class if it is not registered."""
        return registered_name(type(self))

    @property
    def inputs(self) -> tuple[ReadHandle[Any], ...]:
        """Declared inputs."""
        return tuple(self._inputs)

    @property
    def outputs(self) -> tuple[WriteHandle[Any], ...]:
        """Declared outputs."""
        return tuple(self._outputs)

    def read_handle(self, kind: type[T], key: str, *, optional: bool = False) -> ReadHandle[T]:
        """Declare an input (call in ``__init__``)."""
        handle = ReadHandle(key, kind, optional)
        self._inputs.append(handle)
        return handle

    def write_handle(self, kind: type[T], key: str) -> WriteHandle[T]:
        """Declare an output (call in ``__init__``)."""
        handle = WriteHandle(key, kind)
        self._outputs.append(handle)
        return handle

    def changed_settings(self) -> dict[str, Any]:
        """The settings that differ from their defaults; those without a default are among them."""
        fields = type(self.config).model_fields
        return {
            name: value
            for name, value in self.config
            if fields[name].is_required() or value != fields[name].get_default(call_default_factory=True)
        }

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={short(value)}" for name, value in self.changed_settings().items())
        return f"{type(self).__name__}({settings})"

    def _repr_html_(self) -> str:
        changed = self.changed_settings()
        rows = [
            (name, short(value), "" if name in changed else "default", fields.description or "")
            for (name, value), fields in zip(
                self.config, type(self.config).model_fields.values(), strict=True
            )
        ]
        return html_table(type(self).__name__, rows, ("setting", "value", "", ""))

    def initialize(self) -> None:  # noqa: B027 - an optional hook, empty on purpose
        """Called once per process before the first event: load models, open files."""

    def finalize(self) -> None:  # noqa: B027 - an optional hook, empty on purpose
        """Called once per process after the last event."""


class Algorithm(SequenceElement):
    """A pure step from declared inputs to declared outputs.

    Subclasses declare handles in ``__init__`` and implement ``execute``; they change nothing but
    their outputs, and the same input gives the same output.
    """

    @abstractmethod
    def execute(self, event_store: EventStore) -> ProcessCode:
        """Process one event.

        Raises:
            EventError: if this event cannot be processed (the sequencer adds event and algorithm).
        """

    def describe(self) -> dict[str, str]:
        """Facts for the output's ``meta`` tree beyond the configuration (e.g. a model's sha256)."""
        return {}


@dataclass(slots=True, repr=False)
class ReadEvent:
    """One event as a reader delivers it: its collections, or the reason why it has none.

    ``event.hits``, ``event.truth`` and ``event.particles`` are the collections of these kinds; ``event[key]`` is the
    one under an event store key.
    """

    #: Position in the input, counted from 0.
    index: int
    #: Number of the event in the input file.
    event_number: int
    #: Collections by event store key.
    collections: dict[str, Any] = field(default_factory=dict)
    #: Why the event could not be read (the reader goes on with the next one).
    error: Exception | None = None

    @property
    def hits(self) -> Hits:
        """The hits.

        Raises:
            EventError: if the event could not be read, with the reason, or has no hits.
        """
        from mltrack_plugin.event_data import Hits

        if (hits := self._of(Hits)) is None:
            raise EventError(f"event {self.event_number} has no hits, only: {', '.join(self.collections)}")
        return hits

    @property
    def truth(self) -> TruthLinks | None:
        """Which particle made each hit; ``None`` where the input has no truth (raises as :attr:`hits`)."""
        from mltrack_plugin.event_data import TruthLinks

        return self._of(TruthLinks)

    @property
    def particles(self) -> Particles | None:
        """The true particles; ``None`` where the input has none (raises as :attr:`hits`)."""
        from mltrack_plugin.event_data import Particles

        return self._of(Particles)

    def __getitem__(self, key: str) -> Any:
        """The collection under a key (raises ``EventError``, with the nearest key)."""
        self._refuse_unread()
        if key not in self.collections:
            raise EventError(
                f"event {self.event_number} has no {key!r}. {did_you_mean(key, self.collections)}"
            )
        return self.collections[key]

    def __repr__(self) -> str:
        if self.error is not None:
            return f"event {self.event_number}: cannot be read: {self.error}"
        found = (f"{key}: {len(value)}" for key, value in self.collections.items())
        return f"event {self.event_number} ({', '.join(found)})"

    def _of(self, kind: type[T]) -> T | None:
        self._refuse_unread()
        return next((found for found in self.collections.values() if isinstance(found, kind)), None)

    def _refuse_unread(self) -> None:
        if self.error is not None:
            raise EventError(f"event {self.event_number} cannot be read: {self.error}") from self.error


class Reader(SequenceElement):
    """Streams events from a file. Outputs are declared handles.

    A reader must be cheap to construct (it is rebuilt from its config in every worker process)
    and opens its file in ``initialize``; ``finalize`` may be followed by another ``initialize``.
    ``for event in reader`` and ``len(reader)`` do both by themselves.
    """

    #: Name of the format, as ``--format`` and entry points know it.
    format_name: ClassVar[str] = ""
    #: Loops and the like that have the reader open (see :meth:`in_use`).
    _users = 0

    @classmethod
    def recognises(cls, source: Source) -> float:
        """How sure this reader is that an input is of its format, from the content: 0 = it is not, 1 = no doubt.

        Where no format is named the surest reader is taken. By default 0: the format must be named.
        """
        return 0.0

    @property
    @abstractmethod
    def source(self) -> str:
        """What is read, for messages (usually the path)."""

    @property
    def hit_kind(self) -> str | None:
        """What the hits are where an input has several kinds ("measurements", "hits", "spacepoints"); known after
        ``initialize``.
        """
        return None

    @abstractmethod
    def num_events(self) -> int:
        """Number of events in the input (valid after ``initialize``)."""

    @abstractmethod
    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        """Events ``start <= index < stop`` in input order, read in chunks.

        An event that violates the data contract (NaN coordinates, repeated hit ids, ...) is delivered
        with ``error`` set; damage that makes reading on impossible raises ``InputError``.
        """

    @contextmanager
    def in_use(self) -> Iterator[Self]:
        """The reader initialized; finalized afterwards, unless it is in use by an outer ``in_use``."""
        if not self._users:
            self.initialize()
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self.finalize()

    def __iter__(self) -> Iterator[ReadEvent]:
        with self.in_use():
            yield from self.events()

    def __len__(self) -> int:
        with self.in_use():
            return self.num_events()

    def __bool__(self) -> bool:
        # A reader without events is one all the same, and finding out would open the file.
        return True


class Writer(SequenceElement):
    """Takes collections of events in input order and writes a file when complete.

    ``initialize`` opens a temporary name beside the output, ``write`` appends one event, ``finalize``
    completes the file and renames it, ``abort`` removes what was written.
    """

    #: Name of the format, as entry points know it.
    format_name: ClassVar[str] = ""
    #: Facts about the job, see :meth:`set_job_info`.
    _info: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def write(self, event_store: EventStore) -> None:
        """Append one event."""

    @abstractmethod
    def abort(self) -> None:
        """Remove everything written so far; called instead of ``finalize`` after an error."""

    def set_job_info(self, info: Mapping[str, str]) -> None:
        """Receive name -> text facts about the job (configuration, versions, model checksums, skipped events as JSON)
        for the file's metadata, kept as ``_info``. Called once, before ``finalize``."""
        self._info = dict(info)
