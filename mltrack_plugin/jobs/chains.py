"""A chain of algorithms without a file: which algorithms a name stands for, and running them on one event."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeAlias

from mltrack_plugin.errors import ConfigurationError, ModelError, did_you_mean
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, Reader, ReadEvent
from mltrack_plugin.framework.chain import check_chain, for_detector, unique_names
from mltrack_plugin.framework.event_loop import EventLoop, EventResult, count_key
from mltrack_plugin.framework.summary import StepTime
from mltrack_plugin.jobs.config import JobConfig, available_jobs, load_job
from mltrack_plugin.settings import Config as BaseConfig

#: Shipped job configuration that runs where neither a chain nor a model is named.
DEFAULT_JOB = "encemb-generic"

#: A shipped job configuration by name, a YAML file, a configuration, or algorithms in the order in which they run.
Chain: TypeAlias = str | os.PathLike[str] | JobConfig | Sequence[Algorithm]


class HitsInMemory(Reader):
    """Stands at the head of a chain whose hits come from the program: declares them, reads no file."""

    class Config(BaseConfig):
        """Settings of the source."""

        source: str = "memory"
        """Where the hits come from, for messages."""
        hits: str = "hits"
        """Event store key of the hits."""
        detector: str | None = None
        """Name of the detector; ``None`` = not known."""

    format_name: ClassVar[str] = "memory"

    def __init__(self, config: BaseConfig | None = None, **settings: object) -> None:
        super().__init__(config, **settings)
        self.write_handle(Hits, self.config.hits)
        #: Events to deliver; whoever drives the chain event by event needs none.
        self.given: Sequence[Hits] = ()

    @property
    def source(self) -> str:
        return str(self.config.source)

    @property
    def detector(self) -> str | None:
        """Name of the detector from the settings."""
        name: str | None = self.config.detector
        return name

    def num_events(self) -> int:
        """Number of events given."""
        return len(self.given)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        """The events given, numbered from 0."""
        for index, hits in list(enumerate(self.given))[start:stop]:
            yield ReadEvent(index, index, {self.config.hits: hits})


class ChainRunner:
    """A checked chain with its models loaded, applied to one event after the other.

    Args:
        chain: job configuration or its name, YAML file or algorithms; ``None`` = the job that ships with ``model``.
        model: shipped model or archive, instead of the one that the chain names.
        detector: whose hits the events hold; checked against the models' cards. ``None`` = not known.
        tracks: key of the tracks to hand on; algorithms after the one that writes it do not run.
            ``None`` = those written last.
        device: where networks run; ``None`` = as the chain says.
        source: where the hits come from, for messages.

    Raises:
        ConfigurationError: for an unknown chain, algorithm or key (with the nearest), a broken data flow, or a
            chain that finds no tracks.
        ModelError: for an unknown model (with the nearest), a damaged one, or one of another detector.
    """

    def __init__(
        self,
        chain: Chain | None = None,
        *,
        model: str | os.PathLike[str] | None = None,
        detector: str | None = None,
        tracks: str | None = None,
        device: str | None = None,
        source: str = "memory",
    ) -> None:
        made = resolve_chain(chain, model, detector, device)
        head = HitsInMemory(source=source)
        self.tracks_key = _tracks_key(made, tracks)
        last = max(i for i, a in enumerate(made) if self.tracks_key in [h.key for h in a.outputs])
        self.algorithms = made[: last + 1]
        check_chain([head, *self.algorithms])
        keep = {h.key for element in [head, *self.algorithms] for h in element.outputs}
        self._loop = EventLoop(head, self.algorithms, keep, "skip", 1, 0.0)
        #: Time spent in each algorithm so far.
        self.times = [StepTime(name) for name in unique_names([head, *self.algorithms])]
        self._ready = False

    def initialize(self) -> None:
        """Load the models, unless they are loaded."""
        if not self._ready:
            for algorithm in self.algorithms:
                algorithm.initialize()
            self._ready = True

    def finalize(self) -> None:
        """Let the algorithms log what they counted; :meth:`initialize` makes them ready again."""
        if self._ready:
            for algorithm in self.algorithms:
                algorithm.finalize()
            self._ready = False

    def run(self, event_number: int, hits: Hits) -> EventResult:
        """Run the algorithms on the hits of one event.

        Returns:
            All collections by key, or the reason why the event could not be processed.

        Raises:
            MltrackError: for errors that concern the whole job.
        """
        event = ReadEvent(event_number, event_number, {"hits": hits})
        return self._loop.process(event, self.times)


def resolve_chain(
    chain: Chain | None = None,
    model: str | os.PathLike[str] | None = None,
    detector: str | None = None,
    device: str | None = None,
) -> list[Algorithm]:
    """The algorithms that a user's choice of chain and model means (see :class:`ChainRunner`)."""
    name = None if model is None else os.fspath(model)
    if chain is None:
        chain = DEFAULT_JOB if name is None else _job_of(name)
    if isinstance(chain, str | os.PathLike):
        chain = load_job(chain)
    if isinstance(chain, JobConfig):
        return [for_detector(a, detector) for a in chain.algorithms(model=name, device=device)]
    algorithms = list(chain)
    for algorithm in algorithms:
        if not isinstance(algorithm, Algorithm):
            raise ConfigurationError(
                "a chain is a list of algorithms of mltrack_plugin, the name of a job configuration or a YAML "
                f"file; got a {type(algorithm).__name__} in the list"
            )
    if not algorithms:
        raise ConfigurationError("the chain is empty: it needs algorithms that make tracks of hits")
    if name is not None:
        with_model = [a for a in algorithms if "model" in type(a.config).model_fields]
        if not with_model:
            raise ConfigurationError(f"model {name!r} is given, but no algorithm of the chain takes a model")
        algorithms = [
            type(a)(a.config.model_copy(update={"model": name})) if a in with_model else a for a in algorithms
        ]
    return [for_detector(a, detector) for a in algorithms]


def _job_of(model: str) -> str:
    """The shipped job that uses a shipped model; for a model of one's own, a job for its architecture."""
    from mltrack_plugin.archives.manifest import available_models
    from mltrack_plugin.jobs.choice import jobs_for_model

    models = available_models()
    if model in models and models[model].job is None:
        raise ConfigurationError(f"model {model!r} is no part of a shipped job; give the chain that uses it")
    if model not in models and model in available_jobs():
        raise ConfigurationError(f"{model!r} is a job configuration, not a model: write chain={model!r}")
    if model in models or os.path.exists(os.path.expanduser(model)):
        fitting = jobs_for_model(model)
        return DEFAULT_JOB if DEFAULT_JOB in fitting else fitting[0]
    raise ModelError(
        f"no shipped model {model!r} and no such file. {did_you_mean(model, models)} (see: mltrack models)"
    )


def _tracks_key(algorithms: list[Algorithm], wanted: str | None) -> str:
    found = count_key(algorithms, ProtoTracks)
    if found is None:
        names = ", ".join(a.name for a in algorithms)
        raise ConfigurationError(f"the chain ({names}) writes neither proto tracks nor tracks")
    if wanted is None:
        return found
    keys = [h.key for a in algorithms for h in a.outputs if issubclass(h.kind, ProtoTracks)]
    if wanted not in keys:
        raise ConfigurationError(
            f"no algorithm of the chain writes tracks {wanted!r}. {did_you_mean(wanted, keys)}"
        )
    return wanted
