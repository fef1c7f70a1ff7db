"""A particle bank from real events: a TrackML directory, or other input with truth that the readers know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors.geometry_ids import join_geometry_id
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.simulation.acts_chain import DetectorEvent
from mltrack_plugin.simulation.bank import ParticleBank, bank_from_events
from mltrack_plugin.simulation.base import SPLITS, split_window

Array = npt.NDArray[Any]


def trackml_bank(
    path: Path,
    split: str,
    shares: tuple[float, float, float],
    *,
    max_sources: int,
    min_pt: float,
    max_eta: float,
    min_hits: int,
) -> ParticleBank:
    """The particles of those events of a directory that a split owns. Noise hits drop out.

    Args:
        path: events with hits, truth and particles.
        split: train, validation or test.
        shares: of the three splits in the events, in the order of the directory.
        max_sources: no more events than this.
        min_pt: GeV, at production.
        max_eta: largest absolute pseudorapidity at production.
        min_hits: particles with fewer hits are left out.

    Raises:
        InputError: if the directory cannot be read or has no truth.
        ConfigurationError: if the split owns no event.
    """
    from mltrack_plugin.io import open_events

    reader = open_events(str(path))
    reader.initialize()
    try:
        available = reader.num_events()
        first, size = split_window(available, shares, split)
        if not size:
            everything = ",".join("1" if name == split else "0" for name in SPLITS)
            raise ConfigurationError(
                f"{path}: the {split} split owns none of the {available} events; give other --shares, "
                f"e.g. {everything}"
            )
        events = []
        for read in reader.events(first, first + min(size, max_sources)):
            if read.error is not None:
                raise InputError(f"{path}: event {read.event_number}: {read.error}") from read.error
            kinds = {"hits": Hits, "truth_links": TruthLinks, "particles": Particles}
            missing = [key for key in kinds if key not in read.collections]
            if missing:
                raise InputError(f"{path}: event {read.event_number} has no {' and no '.join(missing)}")
            events.append(detector_event_from(**{key: read.collections[key] for key in kinds}))
    finally:
        reader.finalize()
    return bank_from_events(events, min_pt=min_pt, max_eta=max_eta, min_hits=min_hits)


def detector_event_from(hits: Hits, truth_links: TruthLinks, particles: Particles) -> DetectorEvent:
    """Collections as a :class:`DetectorEvent`; hits without a known particle drop out.

    Real data has no true time: the distance from the production vertex takes its place in ordering the hits.

    Raises:
        InputError: if there are no volume, layer and module numbers.
    """
    ids = particles.particle_id
    if not len(ids):
        raise InputError("an event without particles cannot be a source")
    row = particles.rows(truth_links.particle_id)
    known = np.flatnonzero(row >= 0)
    particle, position = row[known], hits.positions[known]
    geometry_id = hits.geometry_id
    if geometry_id is None:
        if hits.volume_id is None or hits.layer_id is None or hits.module_id is None:
            raise InputError("source events need volume, layer and module numbers, or geometry ids")
        geometry_id = join_geometry_id(hits.volume_id, hits.layer_id, hits.module_id)
    vertex = np.stack([particles.vx, particles.vy, particles.vz], axis=1)
    pdg = particles.pdg_id
    return DetectorEvent(
        position=position,
        time=np.linalg.norm(position - vertex[particle], axis=1).astype(np.float32),
        geometry_id=geometry_id[known],
        particle=particle,
        vertex=vertex,
        momentum=np.stack([particles.px, particles.py, particles.pz], axis=1),
        charge=particles.q,
        pdg=np.zeros(len(ids), dtype=np.int32) if pdg is None else pdg,
    )
