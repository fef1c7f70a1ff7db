"""ScoreAccumulator: all metrics, added up over events."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mltrack_plugin.detectors import has_momenta
from mltrack_plugin.errors import ConfigurationError, EventDataError
from mltrack_plugin.evaluation.efficiency import METRICS
from mltrack_plugin.evaluation.intervals import (
    BOOTSTRAP_RESAMPLES,
    BOOTSTRAP_SEED,
    ONE_SIGMA,
    bootstrap_fractions,
    clopper_pearson,
)
from mltrack_plugin.evaluation.matching import Array, Matching, match_tracks
from mltrack_plugin.evaluation.scores import DEFAULT_MIN_HITS, fit_accuracy, trackml_score
from mltrack_plugin.evaluation.trackml_weights import trackml_weights

if TYPE_CHECKING:
    from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, TruthLinks

#: GeV; entries outside are left out of the bins and counted.
PT_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 100.0)
ETA_EDGES = tuple(np.linspace(-4, 4, 17).tolist())

#: Weighted scores, with uncertainties from the bootstrap over events.
SCORES = ("trackml_score", "fit_accuracy")

#: Events whose entries are binned together; one by one takes twice as long.
_BINNED_EVENTS = 64

WeightSource = Literal["input", "trackml", "unit"]


def hit_weights(
    hits: Hits, truth_links: TruthLinks, particles: Particles | None, detector: str | None = None
) -> tuple[Array | None, WeightSource]:
    """Weights for the TrackML score of one event, and where they come from.

    - ``"input"``: the weights that the input carries;
    - ``"trackml"``: else, where charged particles with momenta are known, the recipe of the challenge;
    - ``"unit"``: else, and in a detector without momenta, weight 1 per hit, which is ``None`` here.
    """
    if truth_links.weight is not None:
        return truth_links.weight, "input"
    if has_momenta(detector) and particles is not None and bool((particles.q != 0).any()):
        weights = trackml_weights(
            truth_links.particle_id, hits.z, particles.particle_id, particles.vz, particles.pt
        )
        return weights, "trackml"
    return None, "unit"


class ScoreAccumulator:
    """Adds up all scores and efficiencies over events; picklable and mergeable.

    The definitions are the docstrings of `scores` and `efficiency`. Uncertainties are central 68.27%
    intervals: Clopper-Pearson for everything that counts, percentile bootstrap over events for the weighted
    scores. The result does not depend on the order of the events.

    Args:
        min_hits: fewest hits that a particle must have left to count, and that a track must have to be matched.
        pt_edges: bin edges in GeV, rising.
        eta_edges: bin edges, rising.
        detector: name of the detector, if it is known; one without momenta has weight 1 per hit and nothing to bin
            in pT.
    """

    def __init__(
        self,
        min_hits: int = DEFAULT_MIN_HITS,
        pt_edges: tuple[float, ...] = PT_EDGES,
        eta_edges: tuple[float, ...] = ETA_EDGES,
        detector: str | None = None,
    ) -> None:
        if min_hits < 1:
            raise ConfigurationError(f"min_hits must be at least 1, got {min_hits}")
        self.min_hits = int(min_hits)
        self.edges = {"pt": tuple(map(float, pt_edges)), "eta": tuple(map(float, eta_edges))}
        for name, edges in self.edges.items():
            if len(edges) < 2 or any(not b > a for a, b in itertools.pairwise(edges)):
                raise ConfigurationError(f"{name} bin edges must rise, got {edges}")
        self.detector = detector
        self._momenta = has_momenta(detector)
        self.weight_sources: set[str] = set()
        #: Rows of one event: numerators and denominators of SCORES.
        self._scores: list[tuple[float, ...]] = []
        self._counts = dict.fromkeys(
            ("hits", "noise_hits", "tracks", "particles", "reconstructable_particles"), 0
        )
        #: Events whose entries are not binned yet: matching, and what _kinematics says of it.
        self._unbinned: list[tuple[Matching, dict[str, dict[str, Array]]]] = []
        self._totals = {name: np.zeros(2, dtype=np.int64) for name in METRICS}
        #: Numerators and denominators per bin; the last column counts entries outside the edges.
        self._bins = {
            variable: {name: np.zeros((2, len(edges)), dtype=np.int64) for name in METRICS}
            for variable, edges in self.edges.items()
        }

    def add(
        self, hits: Hits, truth_links: TruthLinks, tracks: ProtoTracks, particles: Particles | None = None
    ) -> Matching:
        """Add one event.

        Args:
            hits: (n,) hits.
            truth_links: (n,) links, row by row beside ``hits``.
            tracks: track candidates, or fitted tracks, which also enter with their own pT and eta.
            particles: true particles; without them nothing is binned in true pT and eta.

        Returns:
            The matching of the event.

        Raises:
            EventDataError: if the collections do not belong to the same hits.
        """
        truth_links.check_against(hits)
        if len(tracks.hit_indices) and int(tracks.hit_indices.max()) >= len(hits):
            raise EventDataError(
                f"a track holds hit {int(tracks.hit_indices.max())}, but the event has {len(hits)} hits: "
                "the tracks belong to another event"
            )
        weights, source = hit_weights(hits, truth_links, particles, self.detector)
        matching = match_tracks(tracks.labels(len(hits)), truth_links.particle_id, weights)
        self.weight_sources.add(source)
        self._counts["hits"] += len(hits)
        self._counts["noise_hits"] += int((truth_links.particle_id == 0).sum())
        self._counts["tracks"] += matching.n_tracks
        self._counts["particles"] += matching.n_particles
        self._counts["reconstructable_particles"] += int((matching.particle_n_hits >= self.min_hits).sum())
        fractions = (trackml_score(matching), fit_accuracy(matching, self.min_hits))
        self._scores.append(tuple(f.numerator for f in fractions) + tuple(f.denominator for f in fractions))

        values = _kinematics(matching, hits, tracks, particles)
        if not self._momenta:
            for of in values.values():
                of["pt"] = np.full(len(of["pt"]), np.nan)
        self._unbinned.append((matching, values))
        if len(self._unbinned) >= _BINNED_EVENTS:
            self._bin()
        return matching

    def _bin(self) -> None:
        """Count the entries of the events that are kept for it."""
        if not self._unbinned:
            return
        matching = Matching.join([matching for matching, _ in self._unbinned])
        events = [values for _, values in self._unbinned]
        self._unbinned.clear()
        bins = {
            (of, variable): bin_index(np.concatenate([values[of][variable] for values in events]), edges)
            for of in events[0]
            for variable, edges in self.edges.items()
        }
        for name, metric in METRICS.items():
            terms = metric(matching, self.min_hits)
            self._totals[name] += (int(terms.numerator.sum()), int(terms.denominator.sum()))
            for variable, edges in self.edges.items():
                index, counts = bins[terms.of, variable], self._bins[variable][name]
                # Sums of integers in floating point, exact up to 2**53.
                for row, weights in zip(counts, (terms.numerator, terms.denominator), strict=True):
                    row += np.bincount(index, weights, len(edges)).astype(np.int64)

    def merge(self, other: ScoreAccumulator) -> ScoreAccumulator:
        """Add the events of another accumulator to this one and return this one.

        Raises:
            ConfigurationError: if they were made with different settings.
        """
        if (self.min_hits, self.edges, self.detector) != (other.min_hits, other.edges, other.detector):
            raise ConfigurationError("score accumulators with different settings cannot be merged")
        self._bin()
        other._bin()
        self.weight_sources |= other.weight_sources
        self._scores += other._scores
        for key, value in other._counts.items():
            self._counts[key] += value
        for name in METRICS:
            self._totals[name] += other._totals[name]
            for variable in self.edges:
                self._bins[variable][name] += other._bins[variable][name]
        return self

    def result(self) -> dict[str, Any]:
        """Everything as a JSON-ready dictionary; a metric without entries is ``None``.

        Keys: ``events``; the counts ``hits``, ``noise_hits``, ``tracks``, ``particles``,
        ``reconstructable_particles``; ``min_hits``; ``detector``; ``hit_weights``: their sources;
        each metric ``m`` with ``m_low`` and ``m_high``; ``fractions``: metric -> numerator and denominator;
        ``intervals``: how the uncertainties were made; ``binned``: variable -> ``edges``, ``unit`` and
        metric -> lists ``value``, ``low``, ``high``, ``numerator``, ``denominator``, and the sum ``outside``
        of the denominators outside the edges.
        """
        self._bin()
        result: dict[str, Any] = {"events": len(self._scores), **self._counts, "min_hits": self.min_hits}
        result["detector"] = self.detector
        result["hit_weights"] = sorted(self.weight_sources)
        fractions: dict[str, list[float]] = {}
        k = len(SCORES)
        table = np.array(self._scores, dtype=np.float64).reshape(-1, 2 * k)
        low, high = bootstrap_fractions(table[:, :k], table[:, k:])
        for i, name in enumerate(SCORES):
            # fsum is exact, so the order of the events does not matter.
            top, bottom = math.fsum(table[:, i]), math.fsum(table[:, k + i])
            fractions[name] = [top, bottom]
            result[name] = top / bottom if bottom else None
            result[f"{name}_low"], result[f"{name}_high"] = _json(low[i]), _json(high[i])
        for name, (passed, total) in self._totals.items():
            fractions[name] = [int(passed), int(total)]
            ends = clopper_pearson([passed], [total])
            result[name] = int(passed) / int(total) if total else None
            result[f"{name}_low"], result[f"{name}_high"] = (_json(end[0]) for end in ends)
        result["fractions"] = fractions
        result["intervals"] = {
            "level": ONE_SIGMA,
            "counts": "Clopper-Pearson",
            "scores": f"bootstrap over events, {BOOTSTRAP_RESAMPLES} resamples, seed {BOOTSTRAP_SEED}",
        }
        result["binned"] = {variable: self._binned(variable) for variable in self.edges}
        return result

    def _binned(self, variable: str) -> dict[str, Any]:
        result: dict[str, Any] = {
            "edges": list(self.edges[variable]),
            "unit": "GeV" if variable == "pt" else "",
        }
        for name, counts in self._bins[variable].items():
            passed, total = counts[:, :-1]
            low, high = clopper_pearson(passed, total)
            value = [int(k) / int(n) if n else None for k, n in zip(passed, total, strict=True)]
            result[name] = {
                "value": value,
                "low": [_json(x) for x in low],
                "high": [_json(x) for x in high],
                "numerator": passed.tolist(),
                "denominator": total.tolist(),
                "outside": int(counts[1, -1]),
            }
        return result


def _kinematics(
    matching: Matching, hits: Hits, tracks: ProtoTracks, particles: Particles | None
) -> dict[str, dict[str, Array]]:
    """pT and eta of the entries of each kind of `Terms`; NaN where unknown.

    A track without a fit has no pT; its eta is that of the direction from the origin to its hits' summed
    r and z.
    """
    true = {name: np.full(matching.n_particles + 1, np.nan) for name in ("pt", "eta")}
    if particles is not None:
        row = particles.rows(matching.particle_ids)
        known = np.flatnonzero(row >= 0)
        true["pt"][known] = particles.pt[row[known]]
        true["eta"][known] = particles.eta[row[known]]
    entry = tracks.track_of_entry()
    r_sum = np.bincount(entry, weights=hits.r[tracks.hit_indices], minlength=len(tracks))
    z_sum = np.bincount(entry, weights=hits.z[tracks.hit_indices], minlength=len(tracks))
    with np.errstate(divide="ignore", invalid="ignore"):
        own = {"pt": np.full(len(tracks), np.nan), "eta": np.arcsinh(z_sum / r_sum)}
    for name in own:
        fitted = getattr(tracks, name, None)
        if fitted is not None:
            own[name] = np.where(np.isfinite(fitted), fitted, own[name])
    return {
        "particle": {name: values[:-1] for name, values in true.items()},
        # Index -1, a track of noise only, reads the NaN at the end.
        "match": {name: values[matching.track_particle] for name, values in true.items()},
        "track": own,
    }


def bin_index(values: Array, edges: tuple[float, ...]) -> Array:
    """(n,) int64: bin [edge, next edge) of each value, the last bin closed; n_bins for outside and NaN."""
    n = len(edges) - 1
    index = np.searchsorted(np.asarray(edges), values, side="right") - 1
    index[values == edges[-1]] = n - 1
    # NaN sorts behind the last edge, so it is outside already.
    index[index < 0] = n
    return np.asarray(np.minimum(index, n))


def _json(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
