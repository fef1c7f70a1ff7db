"""Which algorithms of this package run inside an ACTS sequence, and running them on one event."""

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
from mltrack_plugin.jobs.config import available_jobs, load_job
from mltrack_plugin.settings import Config as BaseConfig

#: Shipped job configuration that runs where neither a chain nor a model is named.
DEFAULT_JOB = "encemb-generic"

#: A shipped job configuration, a YAML file, or algorithms in the order in which they run.
Chain: TypeAlias = str | os.PathLike[str] | Sequence[Algorithm]


class WhiteboardSource(Reader):
    """Stands for the ACTS whiteboard at the head of a chain: declares the hits, reads no file."""

    class Config(BaseConfig):
        """Settings of the source."""

        space_points: str = "spacepoints"
        """Key of the space points in the ACTS whiteboard."""
        hits: str = "hits"
        """Key of the hits that are made of them in this package's event store."""

    format_name: ClassVar[str] = "acts-whiteboard"

    def __init__(self, config: BaseConfig | None = None, **settings: object) -> None:
        super().__init__(config, **settings)
        self.write_handle(Hits, self.config.hits)

    @property
    def source(self) -> str:
        return f"ACTS whiteboard {self.config.space_points!r}"

    def num_events(self) -> int:
        """0: events come from the ACTS Sequencer."""
        return 0

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        """No events: they come from the ACTS Sequencer."""
        return iter(())


class ChainRunner:
    """A checked chain with its models loaded, applied to one event after the other.

    Args:
        chain: shipped job configuration, YAML file or algorithms; ``None`` = the job that ships with ``model``.
        model: shipped model or archive, instead of the one that the chain names.
        detector: whose hits the events hold; checked against the models' cards. ``None`` = not known.
        tracks: key of the tracks to hand on; algorithms after the one that writes it do not run.
            ``None`` = those written last.
        space_points: key of the space points in the ACTS whiteboard, for messages.

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
        space_points: str = "spacepoints",
    ) -> None:
        made = resolve_chain(chain, model, detector)
        source = WhiteboardSource(space_points=space_points)
        self.tracks_key = _tracks_key(made, tracks)
        last = max(i for i, a in enumerate(made) if self.tracks_key in [h.key for h in a.outputs])
        self.algorithms = made[: last + 1]
        check_chain([source, *self.algorithms])
        keep = {h.key for element in [source, *self.algorithms] for h in element.outputs}
        self._loop = EventLoop(source, self.algorithms, keep, "skip", 1, 0.0)
        #: Time spent in each algorithm so far.
        self.times = [StepTime(name) for name in unique_names([source, *self.algorithms])]
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
    chain: Chain | None = None, model: str | os.PathLike[str] | None = None, detector: str | None = None
) -> list[Algorithm]:
    """The algorithms that a user's choice of chain and model means (see :class:`ChainRunner`)."""
    name = None if model is None else os.fspath(model)
    if chain is None:
        chain = DEFAULT_JOB if name is None else _job_of(name)
    if isinstance(chain, str | os.PathLike):
        return [for_detector(a, detector) for a in load_job(chain).algorithms(model=name)]
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
        raise ConfigurationError(
            f"the chain ({names}) writes neither proto tracks nor tracks, so there is nothing for ACTS"
        )
    if wanted is None:
        return found
    keys = [h.key for a in algorithms for h in a.outputs if issubclass(h.kind, ProtoTracks)]
    if wanted not in keys:
        raise ConfigurationError(
            f"no algorithm of the chain writes tracks {wanted!r}. {did_you_mean(wanted, keys)}"
        )
    return wanted
