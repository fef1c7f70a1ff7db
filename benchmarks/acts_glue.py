"""Reprints what the adapter for ACTS costs beside the algorithms it runs (goal and meaning: docs/acts.md).

    python benchmarks/acts_glue.py [--particles 10000] [--events 3] [--model NAME|FILE] [--json FILE]

Simulates events with ACTS (Fatras, GenericDetector), finds their tracks with TransformerTrackFinding in the same
Sequencer and prints the adapter's own CPU time per hit, which is all of its ``execute`` but the algorithms:
copying space points, tracing them to measurements, reading geometry ids, checking them against the tracking
geometry, writing proto tracks. Without ``--model`` the true groupings stand for the network, so that events of any
size can be measured; the share of the glue in the total means something with a network only.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

#: Microseconds of CPU time per hit.
GOAL = 10.0


def measure(events: int, particles: int, model: str | None, seed: int = 1) -> dict[str, Any]:
    """CPU time of reading, finding and writing, in microseconds per hit."""
    import acts
    import acts.examples as examples
    import numpy as np
    from acts.examples.simulation import (
        EtaConfig,
        MomentumConfig,
        ParticleConfig,
        addDigitization,
        addFatras,
        addParticleGun,
    )

    from mltrack_plugin.acts import TransformerTrackFinding
    from mltrack_plugin.detectors.acts_geometry import PITCH, generic_detector
    from mltrack_plugin.event_data import Hits, ProtoTracks
    from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
    from mltrack_plugin.simulation.acts_chain import digitisation_config

    u = acts.UnitConstants
    geometry = generic_detector()[1]
    field = acts.ConstantBField(acts.Vector3(0, 0, 2 * u.T))
    s = examples.Sequencer(events=events, numThreads=1, logLevel=acts.logging.ERROR)
    rnd = examples.RandomNumbers(seed=seed)
    addParticleGun(
        s,
        MomentumConfig(0.5 * u.GeV, 10 * u.GeV, transverse=True),
        EtaConfig(-3, 3, uniform=True),
        ParticleConfig(particles, acts.PdgParticle.ePionPlus, randomizeCharge=True),
        rnd=rnd,
    )
    addFatras(s, geometry, field, rnd=rnd)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digitisation.json"
        path.write_text(json.dumps(digitisation_config()))
        addDigitization(s, geometry, field, digiConfigFile=path, rnd=rnd, doMerge=False)
    volumes = [acts.GeometryIdentifier(volume=volume) for volume in PITCH]
    s.addAlgorithm(
        examples.SpacePointMaker(
            level=acts.logging.ERROR,
            inputMeasurements="measurement_subset",
            outputSpacePoints="spacepoints",
            trackingGeometry=geometry,
            geometrySelection=volumes,
        )
    )
    truth: dict[str, Any] = {}

    class ReadTruth(examples.IAlgorithm):  # type: ignore[misc]
        def __init__(self) -> None:
            examples.IAlgorithm.__init__(self, "ReadTruth", acts.logging.ERROR)
            self.map = examples.ReadDataHandle(self, examples.MeasurementParticlesMap, "Map")
            self.map.initialize("measurement_particles_map")

        def execute(self, context: Any) -> Any:
            pairs = [(m, barcode.particle) for m, barcode in self.map(context.eventStore)]
            truth["labels"] = np.array([particle for _, particle in sorted(pairs)])
            return examples.ProcessCode.SUCCESS

    class TrueGroups(Algorithm):
        def __init__(self) -> None:
            super().__init__()
            self._hits = self.read_handle(Hits, "hits")
            self._tracks = self.write_handle(ProtoTracks, "proto_tracks")

        def execute(self, event_store: Any) -> ProcessCode:
            self._tracks(event_store, ProtoTracks.from_labels(truth["labels"]))
            return ProcessCode.SUCCESS

    class Timed(TransformerTrackFinding):
        """Measures all that happens in ``execute``, bookkeeping and ``onEvent`` included."""

        cpu_s = 0.0

        def execute(self, context: Any) -> Any:
            began = time.process_time()
            code = super().execute(context)
            self.cpu_s += time.process_time() - began
            return code

    hits: list[int] = []
    tracks: list[int] = []

    def count(store: Any) -> None:
        hits.append(len(store.get("hits", Hits)))
        key = [k for k in store if isinstance(store.get(k, object), ProtoTracks)][-1]
        tracks.append(len(store.get(key, ProtoTracks)))

    if model is None:
        s.addAlgorithm(ReadTruth())
        finder = Timed([TrueGroups()], trackingGeometry=geometry, onEvent=count)
    else:
        finder = Timed(model=model, trackingGeometry=geometry, onEvent=count)
    s.addAlgorithm(finder)
    s.run()
    per_hit = {step.name: 1e6 * step.cpu_s / max(1, sum(hits)) for step in finder.times}
    total = 1e6 * finder.cpu_s / max(1, sum(hits))
    glue = total - sum(list(per_hit.values())[1:-1])
    return {
        "events": events,
        "particles": particles,
        "hits_per_event": sum(hits) / events,
        "tracks_per_event": sum(tracks) / events,
        "model": model,
        "cpu_us_per_hit": per_hit,
        "total_us_per_hit": total,
        "glue_us_per_hit": glue,
        "glue_share": glue / total,
        "goal_us_per_hit": GOAL,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--particles", type=int, default=10_000, help="per event")
    parser.add_argument("--events", type=int, default=3)
    parser.add_argument("--model", help="network to run instead of the true groupings")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    options = parser.parse_args()
    result = measure(options.events, options.particles, options.model, options.seed)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    finder = options.model or "true groupings"
    print(
        f"{result['events']} events of {result['particles']} particles, {result['hits_per_event']:.0f} hits and "
        f"{result['tracks_per_event']:.0f} tracks each ({finder})"
    )
    for name, value in result["cpu_us_per_hit"].items():
        print(f"  {name:<24} {value:9.3f} us per hit")
    verdict = "met" if result["glue_us_per_hit"] < GOAL else "missed"
    print(f"glue {result['glue_us_per_hit']:.2f} us per hit; goal under {GOAL:.0f}: {verdict}")
    print(f"glue / total {result['glue_share']:.1%}" + ("" if options.model else " (without a network)"))


if __name__ == "__main__":
    main()
