"""Particle banks: simulated particles with their hits, from which events of any multiplicity are composed.

Simulating a full event takes seconds, composing one from a bank a fraction of a millisecond. An event is
composed as the published TrackML subsets are: a number of particles picked at random from ONE source event,
with all their hits.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import ConfigurationError, InputError, OutputError
from mltrack_plugin.simulation.acts_chain import DetectorEvent
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.full_event import noise_hits
from mltrack_plugin.simulation.measured_event import measured_event

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class ParticleBank:
    """Particles of several source events with their hits, as columns.

    Attributes:
        source_offsets: (n_sources + 1,) int64; source s owns the particles
            ``source_offsets[s]:source_offsets[s + 1]``.
        hit_offsets: (n_particles + 1,) int64; particle p owns the hits
            ``hit_offsets[p]:hit_offsets[p + 1]``, along the track (by true time).
        vertex: (n_particles, 3) float32, mm.
        momentum: (n_particles, 3) float32, GeV, at production.
        charge: (n_particles,) float32, e.
        pdg: (n_particles,) int32.
        position: (n_hits, 3) float32, mm.
        geometry_id: (n_hits,) uint64.
    """

    source_offsets: Array
    hit_offsets: Array
    vertex: Array
    momentum: Array
    charge: Array
    pdg: Array
    position: Array
    geometry_id: Array

    @property
    def n_sources(self) -> int:
        return len(self.source_offsets) - 1

    @property
    def n_particles(self) -> int:
        return len(self.hit_offsets) - 1

    @property
    def n_hits(self) -> Array:
        """(n_particles,) int64."""
        return np.diff(self.hit_offsets)

    @property
    def pt(self) -> Array:
        """(n_particles,) float32, GeV."""
        return np.asarray(np.hypot(self.momentum[:, 0], self.momentum[:, 1]))

    def save(self, path: str | Path, provenance: str = "") -> None:
        """Write to an uncompressed ``.npz`` file, completely or not at all.

        Args:
            path: of the file; an existing one is replaced.
            provenance: how the bank was made; kept with it.
        """
        path = Path(path)
        columns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                np.savez(file, provenance=np.array(provenance), **columns)
            temporary.replace(path)
        except OSError as error:
            raise OutputError(f"cannot write the particle bank {path}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of :meth:`save`.

        Raises:
            InputError: if the file is missing, damaged or no particle bank.
        """
        return cls.load_with_provenance(path)[0]

    @classmethod
    def load_with_provenance(cls, path: str | Path) -> tuple[Self, str]:
        """As :meth:`load`, with the text that was saved beside the bank."""
        try:
            # np.load would leave the file open if it turns out to be damaged.
            with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                bank = cls(**{f.name: file[f.name] for f in dataclasses.fields(cls)})
                return bank, str(file["provenance"]) if "provenance" in file else ""
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is not a readable particle bank: {error}") from error


def stored_bank(
    folder: Path | None, name: str, provenance: str, make: Callable[[], ParticleBank]
) -> ParticleBank:
    """A bank from its file in ``folder``, which is written if it does not exist; without a folder it is made anew.

    Raises:
        ConfigurationError: if the file was made with other parameters.
    """
    if folder is None:
        return make()
    path = Path(folder) / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        make().save(path, provenance)
    bank, found = ParticleBank.load_with_provenance(path)
    if found != provenance:
        raise ConfigurationError(
            f"{path} was made with other parameters ({found}); needed are {provenance}. "
            "Choose another --bank-dir or remove the file"
        )
    return bank


@dataclasses.dataclass(frozen=True)
class ComposedEvent:
    """An event composed from a bank; hits ordered by module as in TrackML files.

    Attributes:
        position: (n_hits, 3) float32, mm.
        geometry_id: (n_hits,) uint64.
        track: (n_hits,) int64, row of ``particles``; -1 = noise.
        order: (n_hits,) int64, position of the hit along its track, from 0; -1 for noise.
        particles: (n_tracks,) int64, rows of the bank.
        vertex: (n_tracks, 3) float32, mm.
        momentum: (n_tracks, 3) float32, GeV.
        charge: (n_tracks,) float32, e.
        pdg: (n_tracks,) int32.
    """

    position: Array
    geometry_id: Array
    track: Array
    order: Array
    particles: Array
    vertex: Array
    momentum: Array
    charge: Array
    pdg: Array


def bank_from_events(
    events: Sequence[DetectorEvent], *, min_pt: float = 0.15, max_eta: float = 4.0, min_hits: int = 1
) -> ParticleBank:
    """Collect the selected charged particles of full events.

    Args:
        events: one per source.
        min_pt: GeV, at production.
        max_eta: largest absolute pseudorapidity at production.
        min_hits: particles with fewer hits are left out.
    """
    parts: dict[str, list[Array]] = {f.name: [] for f in dataclasses.fields(ParticleBank)}
    n_selected, counts_selected = [], []
    for event in events:
        counts = np.bincount(event.particle, minlength=event.n_particles)
        pt = np.hypot(event.momentum[:, 0], event.momentum[:, 1])
        central = np.abs(event.momentum[:, 2]) <= np.sinh(max_eta) * pt
        keep = (event.charge != 0) & (pt >= min_pt) & central & (counts >= min_hits)
        hits = np.flatnonzero(keep[event.particle])
        hits = hits[np.lexsort((event.time[hits], event.particle[hits]))]
        n_selected.append(int(keep.sum()))
        counts_selected.append(counts[keep])
        for name in ("vertex", "momentum", "charge", "pdg"):
            parts[name].append(getattr(event, name)[keep])
        for name in ("position", "geometry_id"):
            parts[name].append(getattr(event, name)[hits])
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items() if arrays}
    counts_all = np.concatenate([[0], *counts_selected])
    return ParticleBank(
        source_offsets=np.cumsum([0, *n_selected], dtype=np.int64),
        hit_offsets=np.cumsum(counts_all, dtype=np.int64),
        **columns,
    )


def stop_hadrons(event: DetectorEvent, probability: float, rng: np.random.Generator) -> DetectorEvent:
    """Let hadrons end early, as nuclear interactions with the detector material do.

    Fatras of the ACTS examples has no nuclear interactions, and its tracks are longer than those of TrackML.
    Here a hadron ends behind each of its hits with the same probability; nothing is produced at its end.

    Args:
        event: as simulated.
        probability: per hit; 0.02 gives the hit counts of TrackML.
        rng: source of the random choices.
    """
    if probability <= 0:
        return event
    last = np.where(
        np.abs(event.pdg) >= 100, rng.geometric(probability, event.n_particles), len(event.time) + 1
    )
    sort = np.lexsort((event.time, event.particle))
    counts = np.bincount(event.particle, minlength=event.n_particles)
    order = np.empty(len(sort), dtype=np.int64)
    order[sort] = np.arange(len(sort)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = order < last[event.particle]
    hits = {name: getattr(event, name)[keep] for name in ("position", "time", "geometry_id", "particle")}
    return dataclasses.replace(event, **hits)


def compose(
    bank: ParticleBank,
    rng: np.random.Generator,
    tracks: tuple[int, int] = (10, 50),
    *,
    source: int | None = None,
    augment: bool = False,
    noise: float = 0.0,
    module_noise: bool = False,
    window: int | None = None,
) -> ComposedEvent:
    """One event of particles picked at random, without repetition, from one source event.

    ``augment`` turns the event by a uniform angle around the beam and mirrors it in z in half of the cases. A
    solenoid field and the layers of the detector are symmetric under both. The modules are not: a turned hit
    lies on the right layer but up to some millimetres off any real module plane, which is why it is meant for
    training only. Geometry ids are those of the unturned hits.

    Noise hits are hits of other particles of the bank, each turned by its own random angle: distributed over
    the layers as real hits are, and related to nothing. Or they lie anywhere on the modules, as in full events.

    Args:
        bank: where the particles come from.
        rng: source of all random choices.
        tracks: smallest and largest number of particles, both included; uniform. A source with fewer
            particles gives all it has.
        source: source event; by default a random one.
        augment: see above.
        noise: noise hits as a fraction of the particles' hits.
        module_noise: draw them from the modules (:func:`~mltrack_plugin.simulation.full_event.noise_hits`).
        window: of these particles keep only about this many, in a window around a random one that takes the same
            share in azimuth and in pseudorapidity of the directions: a cut-out with the density of the whole event.

    Raises:
        ConfigurationError: if the source has fewer particles than the smallest number asked for.
    """
    source = int(rng.integers(bank.n_sources)) if source is None else source
    first, last = int(bank.source_offsets[source]), int(bank.source_offsets[source + 1])
    if last - first < tracks[0]:
        raise ConfigurationError(
            f"source event {source} has {last - first} particles, fewer than the {tracks[0]} asked for"
        )
    n = min(int(rng.integers(tracks[0], tracks[1] + 1)), last - first)
    particles = first + rng.choice(last - first, size=n, replace=False)
    if window is not None and window < n:
        particles = particles[in_window(bank.momentum[particles], window, rng)]
        n = len(particles)
    starts = bank.hit_offsets[particles]
    counts = bank.hit_offsets[particles + 1] - starts
    track = np.repeat(np.arange(n), counts)
    order = np.arange(len(track)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = starts[track] + order
    position, geometry_id = bank.position[rows], bank.geometry_id[rows]
    vertex, momentum = bank.vertex[particles], bank.momentum[particles]
    if n_noise := round(noise * len(rows)):
        if module_noise:
            noise_position, noise_id = noise_hits(n_noise, rng)
        else:
            extra = rng.integers(len(bank.position), size=n_noise)
            noise_position = _turned(bank.position[extra], rng.uniform(-np.pi, np.pi, n_noise))
            noise_id = bank.geometry_id[extra]
        position = np.concatenate([position, noise_position])
        geometry_id = np.concatenate([geometry_id, noise_id])
        track, order = np.append(track, np.full(n_noise, -1)), np.append(order, np.full(n_noise, -1))
    if augment:
        angle, mirror = rng.uniform(-np.pi, np.pi), rng.random() < 0.5
        position, vertex, momentum = (_turned(a, angle, mirror) for a in (position, vertex, momentum))
    sort = np.argsort(geometry_id, kind="stable")
    return ComposedEvent(
        position=position[sort],
        geometry_id=geometry_id[sort],
        track=track[sort],
        order=order[sort],
        particles=particles,
        vertex=vertex,
        momentum=momentum,
        charge=bank.charge[particles],
        pdg=bank.pdg[particles],
    )


def in_window(directions: Array, size: int, rng: np.random.Generator) -> Array:
    """Rows, ascending, of about ``size`` vectors (n, 3) in a window around a random one; see :func:`compose`."""
    n = len(directions)
    share = (size / n) ** 0.5
    px, py, pz = directions.astype(np.float64).T
    phi, rank = np.arctan2(py, px), np.argsort(np.argsort(pz / np.hypot(px, py)))
    center = rng.integers(n)
    # A window that would reach beyond the last one is moved inside.
    low = np.clip(rank[center] - share * n / 2, 0, n * (1 - share))
    turned = np.remainder(phi - phi[center] + np.pi * share, 2 * np.pi)
    return np.flatnonzero((turned < 2 * np.pi * share) & (rank >= low) & (rank < low + share * n))


def _turned(vectors: Array, angle: Array | float, mirror: bool = False) -> Array:
    """Vectors (n, 3) turned around z, float32, and mirrored in z."""
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y, z = vectors.T
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, -z if mirror else z], axis=1).astype(
        np.float32
    )


def composed_to_event(composed: ComposedEvent) -> SimulatedEvent:
    """A composed event as collections: hits numbered from 1, particle ids from the bank, TrackML weights."""
    particle_id = (composed.particles + 1).astype(np.uint64)
    truth = np.where(composed.track >= 0, particle_id[composed.track], np.uint64(0))
    return measured_event(
        position=composed.position,
        geometry_id=composed.geometry_id,
        truth=truth,
        particle_id=particle_id,
        vertex=composed.vertex,
        momentum=composed.momentum,
        charge=composed.charge,
        pdg=composed.pdg,
        nhits=np.bincount(composed.track[composed.track >= 0], minlength=len(particle_id)),
    )
