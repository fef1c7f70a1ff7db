"""The data set of the HEP.TrkX vertex finder: QCD events with pile-up on the three inner barrel layers.

Farrell et al., "Novel deep learning methods for track reconstruction" (arXiv:1810.06111), backup: the vertex finder
was shown at an average of 5 and of 25 pile-up interactions. Collisions are simulated one by one and kept with their
hits on the three layers; an event is a random hard collision with a Poisson number of random soft ones, each turned
around the beam and mirrored at random. Splits have collisions of their own.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Vertices
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.published.heptrkx.graphs.layers import layer_numbers
from mltrack_plugin.published.heptrkx.images.raster import unrolled_images
from mltrack_plugin.published.heptrkx.simulation.heptrkx import (
    HeptrkxConfig,
    HeptrkxDataset,
    qcd_collisions,
    ranges,
)
from mltrack_plugin.simulation.acts_chain import DetectorEvent, simulate_many
from mltrack_plugin.simulation.bank import ParticleBank, bank_from_events, stop_hadrons, stored_bank
from mltrack_plugin.simulation.base import SPLITS
from mltrack_plugin.simulation.event import SimulatedEvent

_log = logging.getLogger(__name__)

#: (volume, layer) of the three inner barrel layers of the GenericDetector, and their mean radii in mm.
VERTEX_LAYERS = ((8, 2), (8, 4), (8, 6))
VERTEX_RADII = (32.3, 72.1, 116.1)
#: Tracks on all three layers that make a vertex one that can be found.
MIN_TRACKS = 2
_MAX_ETA = 3.0
#: Parameters that decide what is simulated.
_SIMULATED = (
    *("min_pt", "min_pt_hat", "energy", "beam_sigma_xy", "beam_sigma_z"),
    *("hadron_stop", "resolution", "field"),
)
#: Collisions simulated in one ACTS job.
_JOB = 500


class HeptrkxVertexConfig(HeptrkxConfig):
    """Parameters of the events of the vertex finder; ``block`` and ``blocks`` have no meaning here."""

    pileup: float = Field(5.0, ge=0.0, le=300.0)
    """Mean number of inelastic collisions on top of the hard one (Poisson)."""
    min_pt: float = Field(0.3, ge=0.1)
    """Smallest transverse momentum of a particle at production, GeV; softer ones are not simulated."""
    min_pt_hat: float = Field(20.0, gt=0.0)
    """Smallest transverse momentum exchange of the hard collision, GeV: without it nothing tells the primary vertex."""
    duplicates: bool = True
    """Keep further hits of a particle on a layer (from modules that overlap): a vertex finder sees them."""
    hard_sources: int = Field(300, ge=1)
    """Hard collisions that are simulated for each split."""
    soft_sources: int = Field(900, ge=1)
    """Soft collisions that are simulated for each split."""
    train_factor: int = Field(4, ge=1)
    """Factor on both in the training split."""


@dataclasses.dataclass(frozen=True)
class CollisionPool:
    """Simulated collisions of a split, as columns.

    Attributes:
        bank: particles and hits on the three layers; its sources are the collisions, first the hard ones.
        n_hard: number of hard collisions.
        z: (n_collisions,) float64, mm: vertex; NaN without any particle.
        n_tracks: (n_collisions,) int64: particles with three hits or more.
        hit_start: (n_collisions + 1,) int64: collision c owns the hits ``hit_start[c]:hit_start[c + 1]``.
        channel: (n_hits,) int64: position of the hit's layer in VERTEX_LAYERS.
        phi: (n_hits,) float64, radian.
        hit_z: (n_hits,) float64, mm.
    """

    bank: ParticleBank
    n_hard: int
    z: Array
    n_tracks: Array
    hit_start: Array
    channel: Array
    phi: Array
    hit_z: Array

    @classmethod
    def from_bank(cls, bank: ParticleBank, n_hard: int) -> CollisionPool:
        """Derive the columns from a bank."""
        collision = np.repeat(np.arange(bank.n_sources), np.diff(bank.source_offsets))
        volume, layer, _ = split_geometry_id(bank.geometry_id)
        # Most particles of a collision come from its vertex itself, so the median is exact.
        z = np.full(bank.n_sources, np.nan)
        for source in np.unique(collision):
            z[source] = np.median(
                bank.vertex[bank.source_offsets[source] : bank.source_offsets[source + 1], 2]
            )
        return cls(
            bank=bank,
            n_hard=n_hard,
            z=z,
            n_tracks=np.bincount(collision[bank.n_hits >= len(VERTEX_LAYERS)], minlength=bank.n_sources),
            hit_start=bank.hit_offsets[bank.source_offsets],
            channel=layer_numbers(volume, layer, VERTEX_LAYERS).astype(np.int64),
            phi=np.arctan2(bank.position[:, 1], bank.position[:, 0]).astype(np.float64),
            hit_z=bank.position[:, 2].astype(np.float64),
        )


@dataclasses.dataclass(frozen=True)
class VertexImages:
    """Images of E events with the truth.

    Attributes:
        images: (E, 3, n_phi, n_z) float32.
        primary: (E,) float64, mm: vertex of the hard collision.
        event: (m,) int64: event of each vertex that can be found, the primary one included.
        z: (m,) float64, mm.
    """

    images: Array
    primary: Array
    event: Array
    z: Array


class HeptrkxVertexDataset(HeptrkxDataset):
    """QCD events with pile-up on the three inner barrel layers."""

    Config = HeptrkxVertexConfig

    def __init__(self, name: str, tag: int, settings: Any) -> None:
        super().__init__(name, tag, settings)
        self._pools: dict[tuple[str, int], CollisionPool] = {}

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the first event of a split simulates or loads its collisions.

        The particles of the hard collision come first.
        """
        collisions, rng = self._choice(index, seed, split)
        return self._compose(self.pool(seed, split).bank, collisions, rng)

    def vertices(self, index: int, *, seed: int, split: str) -> Vertices:
        """True vertices of ``event(index)``: the hard one, then the others with two tracks or more on the three layers.

        ``weight`` is the number of tracks.
        """
        pool = self.pool(seed, split)
        collisions, rng = self._choice(index, seed, split)
        # The same draws as the composition makes: angles first, then mirrors.
        rng.uniform(-np.pi, np.pi, len(collisions))
        z = pool.z[collisions] * np.where(rng.random(len(collisions)) < 0.5, -1.0, 1.0)
        tracks = pool.n_tracks[collisions]
        soft = 1 + np.flatnonzero(tracks[1:] >= MIN_TRACKS)
        order = np.append(0, soft[np.argsort(-tracks[soft], kind="stable")])
        return Vertices(z=z[order], z_error=np.zeros(len(order)), weight=tracks[order])

    def images(
        self,
        number: int,
        size: int,
        *,
        seed: int,
        split: str,
        shape: tuple[int, int],
        z_max: float,
        pileup: tuple[float, ...] = (),
        shift: float = 0.0,
    ) -> VertexImages:
        """``size`` events as images, much faster than one by one; other events than ``event`` gives.

        Args:
            number: of the batch.
            shape: rows in phi and columns in z.
            z_max: half length of the image, mm.
            pileup: mean numbers of soft collisions, one of which is picked for each event; default: the data set's.
            shift: standard deviation of a random shift of each collision along the beam, mm: it keeps a network from
                learning the simulated vertices by heart, and leaves a long barrel as it was.
        """
        pool = self.pool(seed, split)
        rng = np.random.default_rng(np.random.SeedSequence([*self.entropy(number, seed, split), size]))
        means = rng.choice(np.asarray(pileup or (self.config.pileup,)), size)
        counts = 1 + rng.poisson(means)
        event = np.repeat(np.arange(size), counts)
        first = np.cumsum(counts) - counts
        collision = rng.integers(pool.n_hard, pool.bank.n_sources, len(event))
        collision[first] = rng.integers(0, pool.n_hard, size)
        angle = rng.uniform(-np.pi, np.pi, len(event))
        mirror = np.where(rng.random(len(event)) < 0.5, -1.0, 1.0)
        offset = rng.normal(0.0, shift, len(event)) if shift else np.zeros(len(event))
        starts, stops = pool.hit_start[collision], pool.hit_start[collision + 1]
        rows = ranges(starts, stops)
        member = np.repeat(np.arange(len(event)), stops - starts)
        images, _ = unrolled_images(
            event[member],
            pool.channel[rows],
            pool.phi[rows] + angle[member],
            pool.hit_z[rows] * mirror[member] + offset[member],
            shape=(size, len(VERTEX_LAYERS), *shape),
            z_max=z_max,
        )
        z = pool.z[collision] * mirror + offset
        visible = pool.n_tracks[collision] >= MIN_TRACKS
        return VertexImages(images, z[first], event[visible], z[visible])

    def pool(self, seed: int, split: str) -> CollisionPool:
        """The collisions of a split.

        Raises:
            MissingExtraError: if they must be simulated and pyacts or pythia8mc is not installed.
            ConfigurationError: if kept collisions were made with other parameters.
        """
        self.entropy(0, seed, split)
        if (split, seed) not in self._pools:
            factor = self.config.train_factor if split == "train" else 1
            n_hard, n_soft = factor * self.config.hard_sources, factor * self.config.soft_sources
            self._pools[split, seed] = CollisionPool.from_bank(
                self._kept(seed, split, n_hard, n_soft), n_hard
            )
        return self._pools[split, seed]

    def _choice(self, index: int, seed: int, split: str) -> tuple[Array, np.random.Generator]:
        """Collisions of an event, the hard one first, and the generator of their orientations."""
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        pool = self.pool(seed, split)
        hard = rng.integers(pool.n_hard)
        n_soft = pool.bank.n_sources - pool.n_hard
        n = int(rng.poisson(self.config.pileup))
        if n > n_soft:
            raise ConfigurationError(
                f"data set {self.name}: {n} soft collisions for one event, but only {n_soft} are simulated; "
                "give a larger soft_sources"
            )
        return np.append(hard, pool.n_hard + rng.choice(n_soft, n, replace=False)), rng

    def _kept(self, seed: int, split: str, n_hard: int, n_soft: int) -> ParticleBank:
        values = {name: getattr(self.config, name) for name in _SIMULATED}
        made = {"seed": seed, "split": split, "hard": n_hard, "soft": n_soft, **values}
        return stored_bank(
            self.config.bank_dir,
            f"heptrkx-vertex-{split}-{seed}.npz",
            json.dumps(made, sort_keys=True),
            lambda: self._collide(seed, split, n_hard, n_soft),
        )

    def _collide(self, seed: int, split: str, n_hard: int, n_soft: int) -> ParticleBank:
        """Simulate the collisions of a split, hard ones first."""
        _log.info(
            "simulating %d hard and %d soft collisions (%s split, seed %d)", n_hard, n_soft, split, seed
        )
        config: HeptrkxVertexConfig = self.config
        *seeds, detector_seed = np.random.SeedSequence([self.tag, SPLITS[split], seed, 0, 0]).spawn(3)
        collisions = qcd_collisions(config, _MAX_ETA, n_hard, n_soft, seeds)
        rng = np.random.default_rng(detector_seed)
        events: list[DetectorEvent] = []
        for start in range(0, len(collisions), _JOB):
            job = simulate_many(
                collisions[start : start + _JOB],
                int(rng.integers(2**62)),
                field=config.field,
                resolution=config.resolution,
            )
            events += [_inner_hits(stop_hadrons(event, config.hadron_stop, rng)) for event in job]
        return bank_from_events(events, min_pt=config.min_pt, max_eta=_MAX_ETA)


def _inner_hits(event: DetectorEvent) -> DetectorEvent:
    """The event with its hits on the three layers only."""
    volume, layer, _ = split_geometry_id(event.geometry_id)
    keep = layer_numbers(volume, layer, VERTEX_LAYERS) >= 0
    hits = {name: getattr(event, name)[keep] for name in ("position", "time", "geometry_id", "particle")}
    return dataclasses.replace(event, **hits)
