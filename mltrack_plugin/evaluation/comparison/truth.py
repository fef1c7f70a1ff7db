"""The truth of an event: its particles, their kinematics, and which of them count in efficiencies."""

from __future__ import annotations

import dataclasses

import numpy as np

from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.evaluation.matching import Matching, match_hit_lists
from mltrack_plugin.evaluation.scores import DEFAULT_MIN_HITS
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.event_data.barcodes import barcode_parts
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.file_tracks import FileTracks
from mltrack_plugin.helix.perigee import true_perigee

#: What rates are drawn against. d0 is the absolute value.
VARIABLES = ("pt", "eta", "phi", "d0", "z0", "density")
#: Radius in eta-phi within which neighbours count as local track density.
DENSITY_RADIUS = 0.1


@dataclasses.dataclass(frozen=True)
class Cuts:
    """Which particles count in efficiencies."""

    #: Hits that a particle must have left, and that a track must have to be credited.
    min_hits: int = DEFAULT_MIN_HITS
    #: GeV, true transverse momentum at production.
    min_pt: float = 0.0
    #: Absolute true pseudorapidity at production.
    max_eta: float | None = None

    def __post_init__(self) -> None:
        if self.min_hits < 1:
            raise ConfigurationError(f"min_hits must be at least 1, got {self.min_hits}")
        if not self.min_pt >= 0:
            raise ConfigurationError(f"min_pt must not be negative, got {self.min_pt} GeV")
        if self.max_eta is not None and not self.max_eta > 0:
            raise ConfigurationError(f"max_eta must be positive, got {self.max_eta}")

    @property
    def need_momenta(self) -> bool:
        """Whether the cuts look at momenta."""
        return self.min_pt > 0 or self.max_eta is not None


DEFAULT_CUTS = Cuts()


@dataclasses.dataclass(frozen=True, eq=False)
class EventTruth:
    """The particles that left hits in an event, in ascending order of their ids."""

    #: (n_hits,) uint64: particle of each hit, 0 = noise.
    particle_of_hit: Array
    #: (n_particles,) uint64.
    particle_ids: Array
    #: (n_particles,) int64: hits of the particle.
    n_hits: Array
    #: (n_particles,) bool: left at least ``min_hits`` hits, and |eta| is below the cut.
    reconstructable: Array
    #: (n_particles,) bool: above the pT cut.
    above_pt: Array
    #: (n_particles, 5) float64: true d0, z0, phi, theta, q/p at the perigee; NaN where momenta are unknown.
    perigee: Array
    #: Name of VARIABLES -> (n_particles,) float64, NaN where unknown.
    values: dict[str, Array]

    @property
    def selected(self) -> Array:
        """(n_particles,) bool: counts in efficiencies."""
        return np.asarray(self.reconstructable & self.above_pt)


def event_truth(
    hits: Hits,
    truth_links: TruthLinks,
    particles: Particles | None,
    cuts: Cuts,
    field_z: float,
    momenta: bool = True,
) -> EventTruth:
    """The truth of an event.

    Args:
        hits: the hits.
        truth_links: their particles, row by row.
        particles: the true particles; those that it lacks have unknown momenta.
        cuts: which particles count; one of unknown momentum fails a cut on it.
        field_z: solenoid field in T, in which the particles are followed to the beam line.
        momenta: whether the momenta of ``particles`` are momenta (in REDVID they are not).

    Raises:
        EventDataError: if there is not one link per hit.
    """
    truth_links.check_against(hits)
    of_hit = truth_links.particle_id
    ids, n_hits = np.unique(of_hit[of_hit != 0], return_counts=True)
    perigee = np.full((len(ids), 5), np.nan)
    pt = np.full(len(ids), np.nan)
    eta = np.full(len(ids), np.nan)
    if particles is not None and momenta:
        row = particles.rows(ids)
        known = np.flatnonzero(row >= 0)
        row = row[known]
        position = np.stack([particles.vx[row], particles.vy[row], particles.vz[row]], axis=1)
        momentum = np.stack([particles.px[row], particles.py[row], particles.pz[row]], axis=1)
        perigee[known] = true_perigee(position, momentum, particles.q[row], field_z)
        pt[known], eta[known] = particles.pt[row], particles.eta[row]
    enough = n_hits >= cuts.min_hits
    direction = np.stack([eta, perigee[:, 2]], axis=1)
    density = neighbours(direction, direction[enough], np.where(enough, 1, 0))
    with np.errstate(invalid="ignore"):
        central = True if cuts.max_eta is None else np.abs(eta) < cuts.max_eta
        above = pt >= cuts.min_pt if cuts.min_pt > 0 else np.ones(len(ids), dtype=bool)
    values = {
        "pt": pt,
        "eta": eta,
        "phi": perigee[:, 2],
        "d0": np.abs(perigee[:, 0]),
        "z0": perigee[:, 1],
        "density": density,
    }
    return EventTruth(of_hit, ids, n_hits, np.asarray(enough & central), above, perigee, values)


def track_values(
    tracks: FileTracks, truth: EventTruth, matching: Matching, hits: Hits, cuts: Cuts
) -> dict[str, Array]:
    """VARIABLES of tracks, from their own parameters; (n_tracks,) float64 each, NaN where unknown.

    A track without a fit has eta and phi of the summed positions of its hits, seen from the origin, and
    neither pT nor impact parameters. The local density around a track leaves its majority particle out.
    """
    d0, z0, phi, theta, qop = tracks.perigee.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pt = np.abs(np.sin(theta) / qop)
        eta = -np.log(np.tan(theta / 2))
        if tracks.hit_indices is not None and len(tracks):
            entry = tracks.track_of_entry
            x, y, z, r = (
                np.bincount(entry, weights=c[tracks.hit_indices], minlength=len(tracks))
                for c in (hits.x, hits.y, hits.z, hits.r)
            )
            eta = np.where(np.isfinite(eta), eta, np.arcsinh(z / r))
            phi = np.where(np.isfinite(phi), phi, np.arctan2(y, x))
    enough = truth.n_hits >= cuts.min_hits
    members = np.stack([truth.values["eta"], truth.values["phi"]], axis=1)
    direction = np.stack([eta, phi], axis=1)
    has = matching.track_particle >= 0
    own = np.zeros(len(tracks), dtype=np.int64)
    mine = matching.track_particle[has]
    away = direction[has] - members[mine]
    away[:, 1] = np.pi - np.mod(np.pi - away[:, 1], 2 * np.pi)
    with np.errstate(invalid="ignore"):
        own[has] = enough[mine] & (np.hypot(*away.T) <= DENSITY_RADIUS)
    density = neighbours(direction, members[enough], own)
    return {"pt": pt, "eta": eta, "phi": phi, "d0": np.abs(d0), "z0": z0, "density": density}


def neighbours(points: Array, members: Array, own: Array, radius: float = DENSITY_RADIUS) -> Array:
    """Number of members within a radius in eta-phi.

    Args:
        points: (n, 2) eta, phi.
        members: (m, 2) eta, phi of what is counted.
        own: (n,) how many members a point must not count because they are itself.
        radius: in eta-phi.

    Returns:
        (n,) float64; NaN where a point has no direction.
    """
    from scipy.spatial import cKDTree

    result = np.full(len(points), np.nan)
    good = np.flatnonzero(np.isfinite(points).all(axis=1))
    members = members[np.isfinite(members).all(axis=1)]
    if not len(good):
        return result
    if not len(members):
        result[good] = 0.0
        return result
    # Periodic in phi only.
    tree = cKDTree(_wrapped(members), boxsize=[0.0, 2 * np.pi])
    found = tree.query_ball_point(_wrapped(points[good]), radius, return_length=True)
    result[good] = found - own[good]
    return result


def _wrapped(points: Array) -> Array:
    phi = np.mod(points[:, 1], 2 * np.pi)
    # A tiny negative angle is rounded up to the full turn.
    phi[phi >= 2 * np.pi] = 0.0
    return np.stack([points[:, 0], phi], axis=1)


def match_collection(tracks: FileTracks, truth: EventTruth, place: str) -> Matching:
    """The majority particle of every track.

    From the hits where the file has them, else from the truth matching that the file carries (that of ACTS).

    Args:
        place: files and event, for messages.

    Raises:
        InputError: if the file's truth matching does not fit the event's truth.
    """
    if tracks.hit_indices is not None:
        return match_hit_lists(tracks.offsets, tracks.hit_indices, truth.particle_of_hit)
    summary = tracks.summary
    assert summary is not None
    barcodes = np.stack(barcode_parts(truth.particle_ids), axis=1).astype(np.int64)
    claimed = summary.majority.any(axis=1)
    # The rows of both as numbers of one list: an equal number is an equal barcode.
    _, code = np.unique(np.concatenate([barcodes, summary.majority]), axis=0, return_inverse=True)
    code = code.reshape(-1)
    mine, theirs = code[: len(barcodes)], code[len(barcodes) :]
    order = np.argsort(mine)
    if len(order):
        place_of = order[np.minimum(np.searchsorted(mine, theirs, sorter=order), len(order) - 1)]
        known = mine[place_of] == theirs
    else:
        place_of, known = np.zeros(len(theirs), np.int64), np.zeros(len(theirs), bool)
    if (claimed & ~known).any():
        k = int(np.argmax(claimed & ~known))
        raise InputError(
            f"{place}: track {k} is matched to particle {'|'.join(map(str, summary.majority[k].tolist()))}, "
            "which left no hit in the event"
        )
    particle = np.where(claimed, place_of, -1)
    n_matched = np.where(claimed, summary.n_majority, 0)
    n_of = np.append(truth.n_hits, 0)[particle]
    if (n_matched > n_of).any() or (n_matched > summary.n_hits).any():
        k = int(np.argmax((n_matched > n_of) | (n_matched > summary.n_hits)))
        raise InputError(
            f"{place}: track {k} has {n_matched[k]} hits of a particle that left {n_of[k]} in the event"
        )
    return Matching(
        track_labels=np.arange(len(tracks)),
        track_n_hits=tracks.n_hits,
        track_particle=particle,
        track_n_matched=n_matched,
        track_weight=n_matched.astype(np.float64),
        # How many of the others are noise is not in the file.
        track_n_noise=np.zeros(len(tracks), dtype=np.int64),
        particle_ids=truth.particle_ids,
        particle_n_hits=truth.n_hits,
        total_weight=float(truth.n_hits.sum()),
    )
