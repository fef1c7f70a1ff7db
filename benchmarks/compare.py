"""Reprints how long `mltrack compare` takes and how much memory it needs (goals: docs/performance.md).

    python benchmarks/compare.py [--events 100] [--tracks 10000] [--json FILE]

Makes events of helices with noise from a seed (no detector simulation), two collections of tracks with merged,
split and missing tracks and smeared parameters, and compares them in fresh processes with one thread: all events
and a fifth of them, so that memory that grows with the events would show.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

#: Radii of the hits in mm.
LAYERS = (32.0, 72.0, 116.0, 172.0, 260.0, 360.0, 500.0, 660.0, 820.0, 1020.0, 1100.0, 1180.0)
NOISE = 0.15
FIELD_Z = 2.0
#: Standard errors of d0 and z0 (mm), phi and theta (rad), q/p (relative).
ERRORS = (0.03, 0.06, 1e-3, 5e-4, 0.02)
#: Goals: s of CPU time for all events (a busy machine disturbs the wall time); MB that all events may need
#: beyond a fifth of them (the buffers of the page).
GOALS = {"cpu_seconds": 120.0, "memory_growth_mb": 48.0}


def write_events(folder: Path, n_events: int, n_tracks: int, seed: int = 1) -> None:
    """``events.root``, ``a.root`` and ``b.root`` in a folder."""
    from mltrack_plugin.event_data import Hits, Particles, TruthLinks
    from mltrack_plugin.framework.event_store import EventStore
    from mltrack_plugin.helix.helix import helix_positions
    from mltrack_plugin.helix.perigee import true_perigee
    from mltrack_plugin.io.root_events_writer import RootEventsWriter
    from mltrack_plugin.io.root_tracks import RootTracksWriter

    truth = RootEventsWriter(path=str(folder / "events.root"), detector="generic")
    writers = [RootTracksWriter(path=str(folder / name)) for name in ("a.root", "b.root")]
    for writer in (truth, *writers):
        writer.initialize()
    for number in range(n_events):
        rng = np.random.default_rng([seed, number])
        pt = np.exp(rng.uniform(np.log(0.5), np.log(10), n_tracks))
        phi, eta = rng.uniform(-np.pi, np.pi, n_tracks), rng.uniform(-2.5, 2.5, n_tracks)
        vertex = rng.normal(0, [0.1, 0.1, 50.0], (n_tracks, 3))
        momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
        q = rng.choice([-1, 1], n_tracks)
        perigee = true_perigee(vertex, momentum, q, FIELD_Z)
        owner = np.repeat(np.arange(n_tracks), len(LAYERS))
        positions = helix_positions(perigee[owner], FIELD_Z, np.tile(LAYERS, n_tracks))
        n_noise = int(NOISE * len(owner))
        positions = np.concatenate([positions, rng.uniform(-1000, 1000, (n_noise, 3))])
        ids = np.concatenate([owner + 1, np.zeros(n_noise, dtype=np.int64)])
        shuffle = rng.permutation(len(ids))
        x, y, z = positions[shuffle].T
        store = EventStore(number)
        store.add("hits", Hits(np.arange(len(ids)), x, y, z))
        store.add("truth_links", TruthLinks(ids[shuffle]))
        store.add(
            "particles", Particles(np.arange(1, n_tracks + 1, dtype=np.uint64), *vertex.T, *momentum.T, q=q)
        )
        truth.write(store)
        for writer in writers:
            mine = EventStore(number)
            mine.add("hits", store.get("hits", Hits))
            mine.add("tracks", _tracks(rng, ids[shuffle] - 1, perigee))
            writer.write(mine)
    for writer in (truth, *writers):
        writer.finalize()


def _tracks(rng: np.random.Generator, particle: Any, perigee: Any) -> Any:
    """True tracks of which 2% are missing, 2% merged with another one and 10% of the hits lost."""
    from mltrack_plugin.event_data import ProtoTracks, Tracks

    n = len(perigee)
    target = np.arange(n)
    target[rng.random(n) < 0.02] = -1
    merged = rng.random(n) < 0.02
    target[merged] = rng.integers(0, n, int(merged.sum()))
    labels = np.where(particle >= 0, target[particle], -1)
    labels[rng.random(len(labels)) < 0.1] = -1
    proto = ProtoTracks.from_labels(labels)
    true = perigee[labels[proto.hit_indices[proto.offsets[:-1]]]]
    scale = np.abs(np.where(np.arange(5) == 4, true, 1.0)) * ERRORS
    fit = true + scale * rng.normal(size=true.shape)
    fit[:, 2] = np.pi - np.mod(np.pi - fit[:, 2], 2 * np.pi)
    covariance = np.zeros((len(true), 5, 5))
    covariance[:, range(5), range(5)] = scale**2
    d0, z0, phi, theta, qop = fit.T
    return Tracks(
        proto.offsets, proto.hit_indices, d0=d0, z0=z0, phi=phi, theta=theta, qop=qop, covariance=covariance
    )


def compare(folder: str, events: int) -> dict[str, float]:
    """Compare the first events in this process: seconds and peak memory."""
    from mltrack_plugin.cli.main import main

    began = time.monotonic()
    files = {name: str(Path(folder) / f"{name}.root") for name in ("a", "b", "events")}
    output = str(Path(folder) / f"page-{events}")
    options = ["--truth", files["events"], "--events", str(events), "--output", output]
    if main(["compare", "--tracks", files["a"], "--reference", files["b"], *options]):
        raise SystemExit("the comparison failed")
    return {
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def fresh(folder: Path, events: int) -> dict[str, float]:
    """:func:`compare` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "150"}
    command = [sys.executable, __file__, "--measure", str(folder), str(events)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--tracks", type=int, default=10_000)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "EVENTS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(compare(arguments.measure[0], int(arguments.measure[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_events(Path(folder), arguments.events, arguments.tracks)
        few = max(1, arguments.events // 5)
        result = {str(n): fresh(Path(folder), n) for n in (few, arguments.events)}
    print(f"two collections of about {arguments.tracks} tracks per event, with truth")
    for n, measured in result.items():
        print(
            f"{n:>5} events: {measured['seconds']:6.1f} s ({measured['cpu_seconds']:.1f} s of CPU), "
            f"peak memory {measured['peak_memory_mb']:.0f} MB"
        )
    growth = result[str(arguments.events)]["peak_memory_mb"] - result[str(few)]["peak_memory_mb"]
    print(
        f"memory grows by {growth:.0f} MB; goals: {GOALS['cpu_seconds']:.0f} s of CPU, "
        f"{GOALS['memory_growth_mb']:.0f} MB of growth"
    )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({**result, "memory_growth_mb": growth}, indent=1))


if __name__ == "__main__":
    main()
