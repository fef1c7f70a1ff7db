"""Events of helices with truth and collections of tracks of them, made from a seed without a detector."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, Tracks, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.helix.helix import helix_positions
from mltrack_plugin.helix.perigee import true_perigee
from mltrack_plugin.io.acts_tracks_csv import ActsTracksCsvWriter
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.io.root_tracks import RootTracksWriter

#: Events, and particles of each, that the tests of ``mltrack compare`` share.
N_EVENTS, N_PARTICLES = 6, 30
LAYERS = (32.0, 72.0, 116.0, 172.0, 260.0, 360.0, 500.0, 660.0, 820.0, 1020.0)
#: Standard errors of d0, z0 (mm), phi, theta (rad), and of q/p relative to it.
ERRORS = np.array([0.03, 0.06, 1e-3, 5e-4, 0.02])


def make_event(
    number: int, n: int = 30, seed: int = 3, noise: int = 20, displaced: float = 0.0
) -> EventStore:
    """Hits, truth links and particles of ``n`` particles with ten hits each.

    Args:
        displaced: largest distance in mm of the production vertex from the beam line.
    """
    rng = np.random.default_rng([seed, number])
    pt = np.exp(rng.uniform(np.log(0.5), np.log(10), n))
    phi, eta = rng.uniform(-np.pi, np.pi, n), rng.uniform(-2, 2, n)
    vertex = rng.normal(0, [0.1, 0.1, 50.0], (n, 3))
    vertex[:, 0] += rng.uniform(0, displaced, n) * np.cos(phi)
    vertex[:, 1] += rng.uniform(0, displaced, n) * np.sin(phi)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    q = rng.choice([-1, 1], n)
    owner = np.repeat(np.arange(n), len(LAYERS))
    perigee = true_perigee(vertex, momentum, q, 2.0)
    positions = helix_positions(perigee[owner], 2.0, np.tile(LAYERS, n))
    positions = np.concatenate([positions, rng.uniform(-1000, 1000, (noise, 3))])
    ids = np.concatenate([owner + 1, np.zeros(noise, dtype=np.int64)])
    order = rng.permutation(len(ids))
    store = EventStore(number)
    store.add("hits", Hits(np.arange(len(ids)) + 1000 * number, *positions[order].T))
    store.add("truth_links", TruthLinks(ids[order]))
    particle_id = np.arange(1, n + 1, dtype=np.uint64)
    store.add("particles", Particles(particle_id, *vertex.T, *momentum.T, q=q))
    return store


def true_labels(store: EventStore) -> Any:
    """(n_hits,) row of the particle of each hit, -1 for noise."""
    return store.get("truth_links", TruthLinks).particle_id.astype(np.int64) - 1


def fitted(store: EventStore, labels: Any, seed: int = 5, scale: float = 1.0) -> Tracks:
    """Tracks of the given labels; parameters are those of the first hit's particle, smeared by ``scale`` x ERRORS."""
    proto = ProtoTracks.from_labels(labels)
    p = store.get("particles", Particles)
    true = true_perigee(np.stack([p.vx, p.vy, p.vz], axis=1), np.stack([p.px, p.py, p.pz], axis=1), p.q, 2.0)
    owner = true_labels(store)[proto.hit_indices[proto.offsets[:-1]]]
    true = true[np.maximum(owner, 0)]
    errors = ERRORS * np.where(np.arange(5) == 4, np.abs(true), 1.0)
    rng = np.random.default_rng([seed, store.event_number])
    fit = true + scale * errors * rng.normal(size=true.shape)
    fit[:, 2] = np.pi - np.mod(np.pi - fit[:, 2], 2 * np.pi)
    covariance = np.zeros((len(true), 5, 5))
    covariance[:, range(5), range(5)] = errors**2
    d0, z0, phi, theta, qop = fit.T
    return Tracks(
        proto.offsets, proto.hit_indices, d0=d0, z0=z0, phi=phi, theta=theta, qop=qop, covariance=covariance
    )


def with_tracks(store: EventStore, tracks: Tracks) -> EventStore:
    """The same event with tracks."""
    result = EventStore(store.event_number)
    for key in store:
        result.add(key, store.get(key, object))
    result.add("tracks", tracks)
    return result


def write(writer: Any, stores: list[EventStore]) -> str:
    """Write the stores; returns the path."""
    writer.initialize()
    writer.set_job_info({})
    for store in stores:
        writer.write(store)
    writer.finalize()
    return str(writer.config.path)


def write_truth(path: Path, stores: list[EventStore], detector: str = "generic") -> str:
    """A ROOT file of events with truth."""
    return write(RootEventsWriter(path=str(path), detector=detector), stores)


def write_tracks(path: Path, stores: list[EventStore]) -> str:
    """A ROOT file of tracks."""
    return write(RootTracksWriter(path=str(path)), stores)


def ours(store: EventStore) -> Tracks:
    """Particles 0 and 1 as one track, 2 split in two, 3 lost; two noise hits as a track."""
    labels = true_labels(store)
    noise = np.flatnonzero(labels < 0)
    second_half = np.flatnonzero(labels == 2)[6:]
    labels[labels == 1] = 0
    labels[labels == 3] = -1
    labels[second_half] = 100
    labels[noise[:2]] = 101
    return fitted(store, labels)


def theirs(store: EventStore) -> Tracks:
    """All particles but number 4, without the last hit of number 5."""
    labels = true_labels(store)
    labels[labels == 4] = -1
    labels[np.flatnonzero(labels == 5)[-1]] = -1
    return fitted(store, labels, seed=6, scale=2.0)


def pair(compared: Any, truth: bool = True, tracks: Any = None, reference: Any = None) -> tuple[Any, ...]:
    """Options of ``mltrack compare`` for two files of tracks, and with ``truth`` their events."""
    options = ("--tracks", tracks or compared.tracks, "--reference", reference or compared.reference)
    return (*options, "--truth", compared.truth) if truth else options


def sharing(folder: Path, stores: list[EventStore]) -> str:
    """ACTS CSV in which the first two tracks of each event hold a common hit."""
    path = Path(write(ActsTracksCsvWriter(path=str(folder)), stores))
    for file in path.glob("*-tracks.csv"):
        lines = file.read_text().split("\n")
        first = re.search(r"\[(\d+),", lines[1])[1]
        lines[2] = lines[2].replace("[", f"[{first},")
        file.write_text("\n".join(lines))
    return str(path)
