"""TransformerTrackFinding: a chain of this package's algorithms as one algorithm of an ACTS Sequencer."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from mltrack_plugin.acts.checks import GeometryCheck, detector_of
from mltrack_plugin.acts.floating_point import no_floating_point_traps
from mltrack_plugin.acts.space_points import (
    MAX_SPACE_POINTS,
    MeasurementLinks,
    acts,
    acts_proto_tracks,
    examples,
    hits_of,
    measurement_geometry_ids,
    measurement_links,
)
from mltrack_plugin.errors import ConfigurationError, EventDataError, EventError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.event_loop import EventResult, explain, set_torch_threads
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.summary import SkippedEvent, StepTime
from mltrack_plugin.jobs.chains import Chain, ChainRunner

_log = logging.getLogger(__name__)

#: Key of the :class:`MeasurementLinks` in the event store that ``onEvent`` receives.
LINKS_KEY = "measurement_links"


class TransformerTrackFinding(examples.IAlgorithm):  # type: ignore[misc, name-defined]
    """Finds tracks among the space points of the whiteboard: ``SpacePointContainer`` -> ``ProtoTrackContainer``.

    Each proto track lists the measurements of one track candidate, from the inside out; measurements that
    belong to no candidate (noise) are on none. Models are loaded here, so errors of configuration show before
    the run. Floating point traps of the Sequencer are off while the chain runs; events are processed one at
    a time also in a Sequencer with many threads.

    Parameters are spelled as in ACTS configurations.

    Args:
        chain: algorithms, name of a shipped job configuration or path of a YAML file; ``None`` = the job that
            ships with ``model``.
        model: name of a shipped model or path of an archive, instead of the one that the chain names.
        inputSpacePoints: key of the ``SpacePointContainer``.
        inputMeasurements: key of the ``MeasurementContainer`` that the space points were made of; gives hits their
            volume, layer and module. ``None`` = hits have positions only.
        outputProtoTracks: key of the ``ProtoTrackContainer``.
        trackingGeometry: if given, measurements that do not lie on its modules are refused (needs
            ``inputMeasurements``).
        detector: whose hits these are, checked against the model; ``None`` = recognised from the tracking geometry
            if it is the GenericDetector, else not known.
        tracks: key in this package's event store of the tracks that become proto tracks; algorithms that run
            after the one that writes it are left out. ``None`` = what the chain writes last.
        onEvent: called with this package's :class:`~mltrack_plugin.EventStore` of each event, which holds all that
            the chain made (hits, tracks with their parameters and qualities, ...) and the
            :class:`~mltrack_plugin.acts.space_points.MeasurementLinks` as ``"measurement_links"``. The arrays are
            copies that may be kept, for example with ``onEvent=stores.append``.
        onError: ``"fail"`` ends the run at an event that cannot be processed; ``"skip"`` logs it and leaves it without
            proto tracks.
        threads: threads of torch; ``None`` leaves torch's setting.
        name: name in logs and timing tables.
        level: ACTS logging level.

    Raises:
        ConfigurationError: for an unknown chain, algorithm or key (with the nearest), or a broken chain.
        ModelError: for an unknown model (with the nearest), a damaged one, or one of another detector.
        MissingExtraError: without pyacts.
    """

    def __init__(
        self,
        chain: Chain | None = None,
        *,
        model: str | os.PathLike[str] | None = None,
        inputSpacePoints: str = "spacepoints",
        inputMeasurements: str | None = "measurements",
        outputProtoTracks: str = "transformer_proto_tracks",
        trackingGeometry: Any = None,
        detector: str | None = None,
        tracks: str | None = None,
        onEvent: Callable[[EventStore], object] | None = None,
        onError: Literal["fail", "skip"] = "fail",
        threads: int | None = 1,
        name: str = "TransformerTrackFinding",
        level: Any = acts.logging.INFO,
    ) -> None:
        examples.IAlgorithm.__init__(self, name, level)
        if onError not in ("fail", "skip"):
            raise ConfigurationError(f"onError must be 'fail' or 'skip', not {onError!r}")
        if threads is not None and threads < 1:
            raise ConfigurationError(f"threads must be at least 1, not {threads}")
        for what, key in (("inputSpacePoints", inputSpacePoints), ("outputProtoTracks", outputProtoTracks)):
            if not key:
                raise ConfigurationError(f"{what} must not be empty")
        self._geometry_check: GeometryCheck | None = None
        if trackingGeometry is not None:
            detector = detector or detector_of(trackingGeometry)
            if inputMeasurements is not None:
                self._geometry_check = GeometryCheck(trackingGeometry)
        self._label = name
        self._on_event = onEvent
        self._on_error = onError
        self._threads = threads
        self._runner = ChainRunner(
            chain,
            model=model,
            detector=detector,
            tracks=tracks,
            source=f"ACTS whiteboard {inputSpacePoints!r}",
        )
        self._runner.initialize()
        self._space_points = examples.ReadDataHandle(self, acts.SpacePointContainer, "InputSpacePoints")
        self._space_points.initialize(inputSpacePoints)
        self._measurements = None
        if inputMeasurements is not None:
            self._measurements = examples.ReadDataHandle(
                self, examples.MeasurementContainer, "InputMeasurements"
            )
            self._measurements.initialize(inputMeasurements)
        self._proto_tracks = examples.WriteDataHandle(self, examples.ProtoTrackContainer, "OutputProtoTracks")
        self._proto_tracks.initialize(outputProtoTracks)
        # torch lets go of the GIL, so another thread of the Sequencer could enter in the middle of an event.
        self._lock = threading.Lock()
        self._too_long = 0
        #: Events left without proto tracks because of ``onError="skip"``.
        self.skipped: list[SkippedEvent] = []
        self._reading, self._writing = StepTime("read the whiteboard"), StepTime("write the whiteboard")

    @property
    def times(self) -> list[StepTime]:
        """Time so far: reading the whiteboard, each algorithm of the chain, writing the whiteboard."""
        return [self._reading, *self._runner.times[1:], self._writing]

    def initialize(self) -> Any:
        """Called by ACTS before the first event: models are ready for a second run, too."""
        self._runner.initialize()
        return examples.ProcessCode.SUCCESS

    def execute(self, context: Any) -> Any:
        """Called by ACTS for each event."""
        with self._lock, no_floating_point_traps():
            before = None if self._threads is None else set_torch_threads(self._threads)
            try:
                self._process(context)
            finally:
                if before is not None:
                    set_torch_threads(before)
        return examples.ProcessCode.SUCCESS

    def finalize(self) -> Any:
        """Called by ACTS after the last event: logs what was left out."""
        self._runner.finalize()
        if self._too_long:
            _log.warning(
                "%s: %d candidates of more than %d space points are left out (the limit of ACTS seeds)",
                self._label,
                self._too_long,
                MAX_SPACE_POINTS,
            )
        if self.skipped:
            _log.warning(
                "%s: %d events could not be processed, the first is event %d: %s",
                self._label,
                len(self.skipped),
                self.skipped[0].event_number,
                self.skipped[0].reason,
            )
        return examples.ProcessCode.SUCCESS

    def _process(self, context: Any) -> None:
        number = int(context.eventNumber)
        clock = _Clock()
        # Views of the whiteboard live no longer than this call; what stays are copies.
        space_points = self._space_points(context.eventStore)
        try:
            hits, links = self._read(space_points, context)
        except (EventDataError, EventError) as error:
            clock.stop(self._reading)
            result = EventResult(
                number, number, skipped=SkippedEvent(number, number, "space points", explain(error))
            )
            hits, links = _nothing()
        else:
            clock.stop(self._reading)
            result = self._runner.run(number, hits)
        if result.skipped is not None:
            self._give_up(result.skipped)
        clock = _Clock()
        found = result.collections.get(self._runner.tracks_key, _NO_TRACKS)
        container, too_long = acts_proto_tracks(found, hits, links)
        self._proto_tracks(context, container)
        self._too_long += too_long
        clock.stop(self._writing)
        if self._on_event is not None:
            self._on_event(self._store(result, hits, links))

    def _read(self, space_points: Any, context: Any) -> tuple[Hits, MeasurementLinks]:
        links = measurement_links(space_points)
        if self._measurements is None:
            return hits_of(space_points, links, None), links
        measurements = self._measurements(context.eventStore)
        geometry_ids = measurement_geometry_ids(measurements)
        if self._geometry_check is not None:
            self._geometry_check.check_modules(geometry_ids)
        hits = hits_of(space_points, links, geometry_ids)
        if self._geometry_check is not None and links.one_to_one:
            self._geometry_check.check_positions(
                measurements, hits.positions, links.indices, context.recoGeoContext
            )
        return hits, links

    def _give_up(self, event: SkippedEvent) -> None:
        text = f"{self._label}: event {event.event_number}: {event.step}: {event.reason}"
        if self._on_error == "fail":
            raise EventError(f"{text}. To go on without proto tracks for such events: onError='skip'")
        self.skipped.append(event)
        _log.warning("%s", text)

    def _store(self, result: EventResult, hits: Hits, links: MeasurementLinks) -> EventStore:
        store = EventStore(result.event_number, self._label)
        for key, value in ({"hits": hits} | result.collections).items():
            store.add(key, value)
        store.add(LINKS_KEY, links)
        return store


class _Clock:
    """Adds the time since its construction to a step."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def stop(self, step: StepTime) -> None:
        step.add(time.process_time() - self._cpu, time.perf_counter() - self._wall)


_NO_TRACKS = ProtoTracks.from_lists([])


def _nothing() -> tuple[Hits, MeasurementLinks]:
    """Hits and links of an event that could not be read."""
    import numpy as np

    empty = np.empty(0)
    none = np.empty(0, dtype=np.int64)
    return Hits(hit_id=none, x=empty, y=empty, z=empty), MeasurementLinks(np.zeros(1, dtype=np.int64), none)
