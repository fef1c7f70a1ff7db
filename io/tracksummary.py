"""The ``tracksummary`` tree of the ACTS ``RootTrackSummaryWriter``, which ACTS's plotting scripts read.

Differences that uproot imposes: jagged branches are C arrays with the counter ``n_tracks`` instead of
``std::vector`` (the same to uproot, awkward and the Python scripts of ACTS), and the six branches of type
``vector<vector>`` (chi2, volume and layer of measurements and outliers) are missing. ACTS itself writes
``*_material_fwd``, ``nUpdatesGx2f`` and the jet branches only for other fitters than those of this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mltrack_plugin.errors import OutputError
from mltrack_plugin.event_data import Particles, Tracks, TruthLinks
from mltrack_plugin.event_data.barcodes import BARCODE_BITS, barcode_parts
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_output import Column
from mltrack_plugin.io.root_writer import Chunk, RootWriter, RootWriterConfig, joined
from mltrack_plugin.io.track_truth import TrackTruth, track_truth

TREE = "tracksummary"
#: ACTS names of the bound track parameters at the perigee; this package fits no time.
PARAMETERS = ("eLOC0", "eLOC1", "ePHI", "eTHETA", "eQOP", "eT")
_TRUTH = ("time", "vx", "vy", "vz", "px", "py", "pz", "theta", "phi", "eta", "p", "pT", "d0", "z0", "prodR")
_PARTICLE = ("vx", "vy", "vz", "px", "py", "pz", "q")
#: What ACTS writes for the charge of a track without a true particle.
_NO_CHARGE = np.iinfo(np.int32).max


def _branches(write_covariance: bool) -> dict[str, Column]:
    """Branches in the order of the ACTS writer."""
    types = {
        **dict.fromkeys(("track_nr", "nStates", "nMeasurements", "nOutliers", "nHoles", "nSharedHits"), "u4"),
        "chi2Sum": "f4",
        "NDF": "u4",
        "nMajorityHits": "u4",
        **{f"majorityParticleId_{part}": "u4" for part, _ in BARCODE_BITS},
        "trackClassification": "i4",
        "t_charge": "i4",
        **{f"t_{name}": "f4" for name in _TRUTH},
        "hasFittedParams": "?",
        **{f"{p}_fit": "f4" for p in PARAMETERS},
        **{f"{kind}_{p}_fit": "f4" for kind in ("err", "res", "pull") for p in PARAMETERS},
    }
    if write_covariance:
        types |= {f"cov_{a}_{b}": "f4" for a in PARAMETERS for b in PARAMETERS}
    return {"event_nr": Column("u4"), **{name: Column(dtype, "n_tracks") for name, dtype in types.items()}}


class _Event(NamedTuple):
    event_number: int
    tracks: Tracks
    truth: TrackTruth
    #: (n_tracks, 7) float64: columns _PARTICLE of the majority particle; NaN where there is none.
    particle: Array


class TrackSummaryWriter(RootWriter):
    """Writes ``tracksummary``: truth, residuals and pulls where the event store has truth."""

    format_name: ClassVar[str] = "acts-tracksummary"
    content_name = "acts-tracksummary"

    class Config(RootWriterConfig):
        """Settings."""

        write_covariance: bool = True
        """Write the 36 branches ``cov_*`` (``writeCovMat`` of ACTS)."""
        tracks: str = "tracks"
        """Event store key of the tracks (input)."""
        truth_links: str = "truth_links"
        """Event store key of the truth links (input)."""
        particles: str = "particles"
        """Event store key of the particles (input)."""

    def __init__(self, config: RootWriterConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._tracks = self.read_handle(Tracks, self.config.tracks)
        self._truth_links = self.read_handle(TruthLinks, self.config.truth_links, optional=True)
        self._particles = self.read_handle(Particles, self.config.particles, optional=True)

    def _collect(self, event_store: EventStore) -> tuple[_Event, int]:
        if event_store.event_number >= 1 << 32:
            raise OutputError(
                f"event number {event_store.event_number} does not fit into the 32 bits that tracksummary "
                "has for it"
            )
        tracks = self._tracks(event_store)
        truth = track_truth(tracks, self._truth_links.get(event_store))
        particles = self._particles.get(event_store)
        columns = np.full((len(tracks), len(_PARTICLE)), np.nan)
        if particles is not None:
            rows = particles.rows(truth.particle_id)
            found = rows >= 0
            columns[found] = np.stack([getattr(particles, n)[rows[found]] for n in _PARTICLE], axis=1)
        return _Event(event_store.event_number, tracks, truth, columns), 500 * len(tracks)

    def _schema(self, events: Sequence[_Event]) -> dict[str, dict[str, Column]]:
        return {TREE: _branches(self.config.write_covariance)}

    def _chunk(self, events: Sequence[_Event]) -> dict[str, Chunk]:
        tracks = [e.tracks for e in events]
        counts = np.array([len(t) for t in tracks])
        n_hits = joined([t.n_hits for t in tracks], np.uint32)
        none = np.zeros(len(n_hits), np.uint32)
        particle_id = joined([e.truth.particle_id for e in events], np.uint64)
        fit = np.full((len(n_hits), 6), np.nan)
        for i, name in enumerate(PERIGEE_PARAMETERS):
            fit[:, i] = joined([getattr(t, name) for t in tracks], np.float64)
        covariance = np.full((len(n_hits), 6, 6), np.nan)
        covariance[:, :5, :5] = np.concatenate(
            [np.full((len(t), 5, 5), np.nan) if t.covariance is None else t.covariance for t in tracks]
        )
        truth, true_parameters = _truth(np.concatenate([e.particle for e in events]))
        values: dict[str, Array] = {
            "event_nr": np.array([e.event_number for e in events], dtype=np.uint32),
            "track_nr": joined([np.arange(n) for n in counts], np.uint32),
            **dict.fromkeys(("nStates", "nMeasurements"), n_hits),
            **dict.fromkeys(("nOutliers", "nHoles", "nSharedHits"), none),
            "chi2Sum": joined([t.chi2 for t in tracks], np.float32),
            "NDF": np.maximum(joined([t.ndf for t in tracks], np.int64), 0),
            "nMajorityHits": joined([e.truth.n_majority for e in events], np.int64),
            "trackClassification": joined([e.truth.classification for e in events], np.int32),
            "hasFittedParams": np.isfinite(fit[:, 4]),
            **truth,
        }
        for (part, _), numbers in zip(BARCODE_BITS, barcode_parts(particle_id), strict=True):
            values[f"majorityParticleId_{part}"] = numbers
        values |= _fit_branches(fit, covariance, true_parameters)
        if self.config.write_covariance:
            for i, a in enumerate(PARAMETERS):
                values |= {f"cov_{a}_{b}": covariance[:, i, j] for j, b in enumerate(PARAMETERS)}
        return {TREE: Chunk(values, {"n_tracks": counts})}


def _truth(particle: Array) -> tuple[dict[str, Array], Array]:
    """The ``t_*`` branches, and the (n, 6) true parameters at the perigee.

    As in ACTS, d0 and z0 are those of the straight line along the momentum at the production vertex. The
    charge over momentum of a neutral particle is 1/p, the convention of ACTS.
    """
    vx, vy, vz, px, py, pz, q = particle.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pt = np.hypot(px, py)
        p = np.hypot(pt, pz)
        phi, theta = np.arctan2(py, px), np.arctan2(pt, pz)
        d0 = vy * np.cos(phi) - vx * np.sin(phi)
        z0 = vz - (vx * np.cos(phi) + vy * np.sin(phi)) * pz / pt
        qop = np.where(q == 0, 1.0, q) / p
        eta = np.arcsinh(pz / pt)
    unknown = np.full(len(p), np.nan)
    columns = (unknown, vx, vy, vz, px, py, pz, theta, phi, eta, p, pt, d0, z0, np.hypot(vx, vy))
    charge = np.where(np.isfinite(q), np.nan_to_num(q), _NO_CHARGE).astype(np.int32)
    branches = {f"t_{name}": column for name, column in zip(_TRUTH, columns, strict=True)}
    return {"t_charge": charge, **branches}, np.stack([d0, z0, phi, theta, qop, unknown], axis=1)


def _fit_branches(fit: Array, covariance: Array, true: Array) -> dict[str, Array]:
    """Parameters, errors, residuals (fit minus truth) and pulls (residual over error)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        residual = fit - true
        residual[:, 2] = np.pi - np.mod(np.pi - residual[:, 2], 2 * np.pi)
        pull = residual / error
    kinds = {"": fit, "err_": error, "res_": residual, "pull_": pull}
    return {f"{k}{name}_fit": table[:, i] for k, table in kinds.items() for i, name in enumerate(PARAMETERS)}
