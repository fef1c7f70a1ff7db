"""ACTS sequences for tests: simulated events, algorithms that look into or change the whiteboard, known groupings."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acts
import acts.examples as examples
import numpy as np
from acts.examples.simulation import (
    EtaConfig,
    MomentumConfig,
    ParticleConfig,
    ParticleSelectorConfig,
    addDigiParticleSelection,
    addDigitization,
    addFatras,
    addParticleGun,
)

from mltrack_plugin.detectors.acts_geometry import PITCH, generic_detector
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.simulation.acts_chain import digitisation_config

u = acts.UnitConstants
QUIET = acts.logging.FATAL


def geometry() -> Any:
    """Tracking geometry of the GenericDetector."""
    return generic_detector()[1]


@functools.cache
def field(tesla: float = 2.0) -> Any:
    return acts.ConstantBField(acts.Vector3(0, 0, tesla * u.T))


def sequencer(events: int = 1, threads: int = 1, level: Any = acts.logging.ERROR) -> Any:
    """A Sequencer with the floating point trap of ACTS on, as by default."""
    return examples.Sequencer(events=events, numThreads=threads, trackFpes=True, logLevel=level)


def simulated(
    events: int = 1, particles: int = 8, threads: int = 1, seed: int = 1, space_points: bool = True
) -> Any:
    """A Sequencer that simulates pions of 0.5-10 GeV, |eta| < 2, up to measurements and space points."""
    s = sequencer(events, threads)
    rnd = examples.RandomNumbers(seed=seed)
    addParticleGun(
        s,
        MomentumConfig(0.5 * u.GeV, 10 * u.GeV, transverse=True),
        EtaConfig(-2, 2, uniform=True),
        ParticleConfig(particles, acts.PdgParticle.ePionPlus, randomizeCharge=True),
        rnd=rnd,
    )
    addFatras(s, geometry(), field(), rnd=rnd)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digitisation.json"
        path.write_text(json.dumps(digitisation_config()))
        addDigitization(s, geometry(), field(), digiConfigFile=path, rnd=rnd, doMerge=False)
    addDigiParticleSelection(
        s, ParticleSelectorConfig(pt=(0.4 * u.GeV, None), measurements=(7, None), removeNeutral=True)
    )
    if space_points:
        add_space_points(s)
    return s


def add_space_points(s: Any, key: str = "spacepoints") -> None:
    s.addAlgorithm(
        examples.SpacePointMaker(
            level=QUIET,
            inputMeasurements="measurement_subset",
            outputSpacePoints=key,
            trackingGeometry=geometry(),
            geometrySelection=[acts.GeometryIdentifier(volume=volume) for volume in PITCH],
        )
    )


class Spy(examples.IAlgorithm):
    """Calls a function with collections of the whiteboard, and keeps what it returns, by event number."""

    def __init__(self, look: Callable[..., Any], **inputs: Any) -> None:
        examples.IAlgorithm.__init__(self, "Spy", QUIET)
        self.look = look
        self.seen: dict[int, Any] = {}
        self.handles = [examples.ReadDataHandle(self, kind, key) for key, kind in inputs.items()]
        for handle, key in zip(self.handles, inputs, strict=True):
            handle.initialize(key)

    def execute(self, context: Any) -> Any:
        self.seen[context.eventNumber] = self.look(*(handle(context.eventStore) for handle in self.handles))
        return examples.ProcessCode.SUCCESS


class Put(examples.IAlgorithm):
    """Writes what a function makes of an input of the same kind, for example permuted or broken space points."""

    def __init__(self, make: Callable[[Any], Any], kind: Any, source: str | None, target: str) -> None:
        examples.IAlgorithm.__init__(self, "Put", QUIET)
        self.make = make
        self.source = None
        if source is not None:
            self.source = examples.ReadDataHandle(self, kind, "Source")
            self.source.initialize(source)
        self.target = examples.WriteDataHandle(self, kind, "Target")
        self.target.initialize(target)

    def execute(self, context: Any) -> Any:
        given = None if self.source is None else self.source(context.eventStore)
        self.target(context, self.make(given))
        return examples.ProcessCode.SUCCESS


def space_points_of(source: Any, groups: list[list[int]], shift: float = 0.0) -> Any:
    """Space points with the source links of groups of others, at the place of the first of each group, moved in x."""
    columns = acts.SpacePointColumns
    made = acts.SpacePointContainer(columns.X | columns.Y | columns.Z | columns.R | columns.SourceLinks)
    for group in groups:
        point, first = made.createSpacePoint(), source[group[0]]
        point.x, point.y, point.z = first.x + shift, first.y, first.z
        point.r = float(np.hypot(point.x, point.y))
        point.assignSourceLinks([link for i in group for link in source[i].sourceLinks])
    return made


def lists(container: Any) -> list[list[int]]:
    return [list(entry) for entry in container]


class Grouping(Algorithm):
    """A track finder whose answer a function gives: hits -> labels, negative = on no track."""

    def __init__(self, labels: Callable[[EventStore, Hits], Any]) -> None:
        super().__init__()
        self.labels = labels
        self._hits = self.read_handle(Hits, "hits")
        self._tracks = self.write_handle(ProtoTracks, "proto_tracks")

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        self._tracks(
            event_store, ProtoTracks.from_labels(np.asarray(self.labels(event_store, hits), np.int64))
        )
        return ProcessCode.SUCCESS


class Truth:
    """The true particle of each measurement, read from the whiteboard before the track finder runs.

    Add ``spy`` to the sequence; ``labels`` groups hits of space points that are measurement by measurement.
    """

    def __init__(self) -> None:
        self.spy = Spy(self._read, measurement_particles_map=examples.MeasurementParticlesMap)

    @staticmethod
    def _read(particles: Any) -> dict[int, int]:
        return {int(measurement): int(barcode.particle) for measurement, barcode in particles}

    def labels(self, store: EventStore, hits: Hits) -> Any:
        found = self.spy.seen[store.event_number]
        return np.array([found.get(i, -1) for i in range(len(hits))])


def performance(s: Any, tracks: str, prefix: str) -> Any:
    """ACTS's performance writer for tracks with their matching under ``{prefix}..._matching``."""
    writer = examples.PythonPatternRecognitionPerformanceWriter(
        config=examples.PythonPatternRecognitionPerformanceWriter.Config(
            inputTracks=tracks,
            inputParticles="particles_selected",
            inputTrackParticleMatching=f"{prefix}track_particle_matching",
            inputParticleTrackMatching=f"{prefix}particle_track_matching",
            inputParticleMeasurementsMap="particle_measurements_map",
        ),
        level=QUIET,
    )
    s.addWriter(writer)
    return writer
