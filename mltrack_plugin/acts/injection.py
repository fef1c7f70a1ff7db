"""Events of a file in a Sequencer of ACTS: its algorithms and writers then work on exactly the hits that
``mltrack run`` sees, noise included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mltrack_plugin.acts.measurements import (
    MEASUREMENT_PARTICLES,
    MEASUREMENTS,
    PARTICLE_MEASUREMENTS,
    PARTICLES,
    SUBSET,
    measurement_container,
    measurements_of,
    truth_maps,
)
from mltrack_plugin.detectors.acts_geometry import require_acts
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks

Event = tuple[Hits, TruthLinks | None, Particles | None]


def add_events(
    sequencer: Any,
    events: Sequence[Event],
    *,
    truth: bool = True,
    tolerance: float = 0.05,
    resolution: float = 1.0,
) -> None:
    """Let an ACTS Sequencer start from given events of the GenericDetector instead of a simulation.

    Its event i is ``events[i]``. Written are ``measurements`` and ``measurement_subset``, and with truth
    ``particles``, ``measurement_particles_map`` and ``particle_measurements_map``: what ``addSeeding``,
    ``addCKFTracks``, ``TrackTruthMatcher`` and the performance writers read.

    Args:
        sequencer: ``acts.examples.Sequencer`` of at most as many events; nothing else may be in it that writes these.
        events: hits, and with ``truth`` truth links and particles.
        truth: whether the truth is written.
        tolerance: see :func:`~mltrack_plugin.acts.measurements.measurements_of`.
        resolution: see there.

    Raises:
        InputError, EventDataError: at once, if hits of any event do not fit the detector, or truth is missing.
    """
    measurements = [
        measurements_of(hits, tolerance=tolerance, resolution=resolution) for hits, _, _ in events
    ]
    maps = [
        truth_maps(found, links, particles) if truth else None
        for found, (_, links, particles) in zip(measurements, events, strict=True)
    ]
    acts, examples = require_acts()
    base: Any = examples.IAlgorithm

    class EventSource(base):  # type: ignore[misc]
        """Writes measurements and truth."""

        def __init__(self) -> None:
            base.__init__(self, "EventSource", acts.logging.ERROR)
            self.output = _handle(self, examples.WriteDataHandle, examples.MeasurementContainer, MEASUREMENTS)
            self.truth = [
                _handle(self, examples.WriteDataHandle, kind, key)
                for kind, key in (
                    (examples.SimParticleContainer, PARTICLES),
                    (examples.MeasurementParticlesMap, MEASUREMENT_PARTICLES),
                    (examples.ParticleMeasurementsMap, PARTICLE_MEASUREMENTS),
                )
                if truth
            ]

        def execute(self, context: Any) -> Any:
            number = context.eventNumber
            if number >= len(measurements):
                raise ConfigurationError(
                    f"the Sequencer asks for event {number}, given are {len(measurements)}"
                )
            self.output(context, measurement_container(measurements[number]))
            # What is written belongs to the whiteboard: an event can be used once.
            if (found := maps[number]) is not None:
                parts = (found.particles, found.of_measurement, found.of_particle)
                for handle, part in zip(self.truth, parts, strict=True):
                    handle(context, part)
            return examples.ProcessCode.SUCCESS

    class AllMeasurements(base):  # type: ignore[misc]
        """A subset refers to its container where it lies, so another algorithm makes it."""

        def __init__(self) -> None:
            base.__init__(self, "AllMeasurements", acts.logging.ERROR)
            self.input = _handle(self, examples.ReadDataHandle, examples.MeasurementContainer, MEASUREMENTS)
            self.output = _handle(self, examples.WriteDataHandle, examples.MeasurementSubset, SUBSET)

        def execute(self, context: Any) -> Any:
            container = self.input(context.eventStore)
            self.output(context, examples.MeasurementSubset(container, range(len(container))))
            return examples.ProcessCode.SUCCESS

    for algorithm in (EventSource(), AllMeasurements()):
        sequencer.addAlgorithm(algorithm)


def _handle(owner: Any, direction: Any, kind: Any, key: str) -> Any:
    handle = direction(owner, kind, key)
    handle.initialize(key)
    return handle
