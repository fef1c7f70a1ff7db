"""Small random events for the tests of the writers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, Tracks, TruthLinks
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.framework.event_store import EventStore

#: Neither consecutive nor sorted, as event numbers of real files are.
NUMBERS = (21000, 7, 4_000_000_000, 12)


def make_event(number: int, *, n_hits: int = 30, n_tracks: int = 4, optional: bool = True) -> EventStore:
    """An event with hits, truth, particles and tracks; ``optional`` decides about optional columns."""
    rng = np.random.default_rng([number, n_hits])
    truth = rng.integers(-1, n_tracks, n_hits)
    found = np.where(rng.random(n_hits) < 0.2, -1, truth)
    proto = ProtoTracks.from_labels(found)
    n = len(proto)
    root = rng.normal(size=(n, 5, 5))
    hits = Hits(
        hit_id=rng.permutation(n_hits).astype(np.uint64) + np.uint64(2**63),
        **{name: rng.normal(scale=500, size=n_hits) for name in "xyz"},
        **({"time": rng.random(n_hits), "layer_id": rng.integers(0, 9, n_hits)} if optional else {}),
    )
    tracks = Tracks(
        proto.offsets,
        proto.hit_indices,
        membership=rng.random(len(proto.hit_indices)) if optional else None,
        d0=rng.normal(size=n),
        z0=rng.normal(size=n),
        phi=rng.uniform(-3, 3, n),
        theta=rng.uniform(0.1, 3, n),
        qop=rng.normal(size=n),
        covariance=root @ root.transpose(0, 2, 1) + np.eye(5) if optional else None,
        chi2=rng.random(n),
        ndf=rng.integers(0, 9, n),
        quality=rng.random(n) if optional else None,
        hit_chi2=rng.random(len(proto.hit_indices)) if optional else None,
    )
    particle_id = np.arange(1, n_tracks + 1, dtype=np.uint64) << np.uint64(24)
    store = EventStore(number)
    store.add("hits", hits)
    store.add(
        "truth_links",
        TruthLinks(np.where(truth < 0, 0, particle_id[truth]) if n_tracks else np.zeros(n_hits, int)),
    )
    store.add(
        "particles",
        Particles(
            particle_id,
            *rng.normal(size=(6, n_tracks)),
            q=rng.choice([-1.0, 1.0], n_tracks),
            pdg_id=np.full(n_tracks, 211) if optional else None,
        ),
    )
    store.add("tracks", tracks)
    return store


def without(store: EventStore, *keys: str) -> EventStore:
    """The same event without some collections."""
    result = EventStore(store.event_number)
    for key in store:
        if key not in keys:
            result.add(key, store.get(key, object))
    return result


def write_all(writer: Writer, events: Iterable[EventStore], info: dict[str, str] | None = None) -> Any:
    """Run a writer over events and complete its file."""
    writer.initialize()
    for event in events:
        writer.write(event)
    writer.set_job_info(info or {})
    writer.finalize()
    return writer.config.path
