"""Comparison: everything that is said about two collections of tracks, added up over events."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.evaluation import definitions, efficiency
from mltrack_plugin.evaluation.comparison.checks import findings
from mltrack_plugin.evaluation.comparison.overlap import Overlap, common_tracks
from mltrack_plugin.evaluation.comparison.rates import RateTable
from mltrack_plugin.evaluation.comparison.residuals import Residuals, differences
from mltrack_plugin.evaluation.comparison.stream import ComparedEvent
from mltrack_plugin.evaluation.comparison.timing import check_times, times_of
from mltrack_plugin.evaluation.comparison.truth import (
    DEFAULT_CUTS,
    VARIABLES,
    Cuts,
    EventTruth,
    event_truth,
    match_collection,
    track_values,
)
from mltrack_plugin.evaluation.intervals import (
    BOOTSTRAP_RESAMPLES,
    BOOTSTRAP_SEED,
    ONE_SIGMA,
    clopper_pearson,
)
from mltrack_plugin.evaluation.matching import Matching
from mltrack_plugin.evaluation.scores import Fraction
from mltrack_plugin.evaluation.summary import ETA_EDGES, PT_EDGES, bin_index
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.file_tracks import FileTracks
from mltrack_plugin.framework.timing import TimingRecord
from mltrack_plugin.version import __version__

#: Rates that are drawn against VARIABLES, with this package's (strict) definitions.
METRICS = ("efficiency", "fake_rate", "duplicate_rate", "purity", "completeness")
#: Bin edges; mm, GeV, radian. Entries outside are counted, not drawn.
BIN_EDGES: dict[str, tuple[float, ...]] = {
    "pt": PT_EDGES,
    "eta": ETA_EDGES,
    "phi": tuple(np.linspace(-np.pi, np.pi, 17).tolist()),
    "d0": (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0),
    "z0": tuple(np.linspace(-200, 200, 17).tolist()),
    "density": (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0, 100.0),
}
#: Longer tracks are counted in the last bin.
MAX_HITS = 40
#: Tracks of each collection that are kept of the event to display.
DISPLAYED_TRACKS = 60


@dataclasses.dataclass(frozen=True, eq=False)
class Disagreement:
    """The event in which the collections differ most, for its picture."""

    number: int
    #: (n_hits, 3) float32, mm.
    positions: Array
    #: Per collection the number of tracks that the other lacks.
    counts: tuple[int, int]
    #: Per collection the hits of the first few of them, as rows of ``positions``.
    tracks: tuple[list[Array], list[Array]]


class _Side:
    """What is added up for one collection."""

    def __init__(self) -> None:
        self.tracks = self.fitted = self.hits = self.events_without_tracks = self.sharing = 0
        self.length: Array = np.zeros(MAX_HITS + 1, dtype=np.int64)
        self.residuals = Residuals()
        self.bins: dict[str, dict[str, Array]] = {
            variable: {metric: np.zeros((2, len(edges)), dtype=np.int64) for metric in METRICS}
            for variable, edges in BIN_EDGES.items()
        }

    def count(self, tracks: FileTracks) -> None:
        n = len(tracks)
        self.tracks += n
        self.fitted += int(tracks.fitted.sum())
        self.hits += int(tracks.n_hits.sum())
        self.events_without_tracks += n == 0
        self.length += np.bincount(np.minimum(tracks.n_hits, MAX_HITS), minlength=MAX_HITS + 1)
        if tracks.hit_indices is not None:
            _, row, uses = np.unique(tracks.hit_indices, return_inverse=True, return_counts=True)
            shared = uses[row.reshape(-1)] > 1
            self.sharing += len(np.unique(tracks.track_of_entry[shared]))


class Comparison:
    """Adds up the comparison of two collections; memory does not grow with the events but for a few numbers each.

    Args:
        labels: names of the two collections, different from each other.
        cuts: which particles count in efficiencies.
        field_z: solenoid field in T, for the true impact parameters of displaced particles; ``None`` = there is no
            truth to compare with.
        momenta: whether the true momenta are momenta (in REDVID they are not).
        times: per collection what the job recorded that made it, or ``None``.
    """

    def __init__(
        self,
        labels: tuple[str, str],
        cuts: Cuts = DEFAULT_CUTS,
        field_z: float | None = None,
        momenta: bool = True,
        times: tuple[TimingRecord | None, TimingRecord | None] = (None, None),
    ) -> None:
        self.labels, self.cuts, self.field_z, self._momenta = labels, cuts, field_z, momenta
        self._times = times
        self._sides = (_Side(), _Side())
        self._rates = RateTable()
        self._numbers: list[int] = []
        self._counts = dict.fromkeys(("hits", "noise_hits", "particles", "asked_particles"), 0)
        self._with_truth = False
        #: The event with the most tracks that only one collection has; ``None`` where no hits are known.
        self.disagreement: Disagreement | None = None

    @property
    def events(self) -> int:
        """Events added so far."""
        return len(self._numbers)

    def add(self, event: ComparedEvent) -> None:
        """Add one event.

        Raises:
            InputError: if a file's truth matching does not fit the truth.
            EventDataError: if the event's collections do not belong to each other.
        """
        self._numbers.append(event.number)
        rates: dict[tuple[str, ...], Fraction] = {}
        for side, tracks, record in zip(self._sides, event.tracks, self._times, strict=True):
            side.count(tracks)
            if record is not None:
                check_times(record, event.number, len(tracks))
        overlap = self._overlap(event, rates)
        if event.truth_links is not None:
            self._with_truth = True
            self._truth(event, rates)
            self._remember(event, overlap)
        self._rates.add(rates)

    def _overlap(self, event: ComparedEvent, rates: dict[tuple[str, ...], Fraction]) -> Overlap | None:
        a, b = event.tracks
        if a.hit_indices is None or b.hit_indices is None:
            return None
        overlap = common_tracks(a.offsets, a.hit_indices, b.offsets, b.hit_indices)
        rates["overlap", "0"] = Fraction(float(overlap.first.sum()), float(len(a)))
        rates["overlap", "1"] = Fraction(float(overlap.second.sum()), float(len(b)))
        rates["identical", "0"] = Fraction(float(overlap.identical.sum()), float(len(a)))
        return overlap

    def _truth(self, event: ComparedEvent, rates: dict[tuple[str, ...], Fraction]) -> None:
        assert event.hits is not None
        assert event.truth_links is not None
        if self.field_z is None:
            raise ConfigurationError("comparing with the truth needs the field: give field_z")
        truth = event_truth(
            event.hits, event.truth_links, event.particles, self.cuts, self.field_z, self._momenta
        )
        selected = truth.selected
        self._counts["hits"] += len(event.hits)
        self._counts["noise_hits"] += int((truth.particle_of_hit == 0).sum())
        self._counts["particles"] += len(truth.particle_ids)
        self._counts["asked_particles"] += int(selected.sum())
        particle_bins = {name: bin_index(truth.values[name], BIN_EDGES[name]) for name in VARIABLES}
        found = []
        for k, (side, tracks) in enumerate(zip(self._sides, event.tracks, strict=True)):
            matching = match_collection(tracks, truth, f"{self.labels[k]}, event {event.number}")
            own = track_values(tracks, truth, matching, event.hits, self.cuts)
            self._rate(side, k, matching, truth, particle_bins, own, rates)
            pt = own["pt"]
            for name, metrics in definitions.evaluate(
                matching,
                truth.reconstructable,
                truth.above_pt,
                self.cuts.min_hits,
                # A track without a momentum cannot be below the cut.
                ~(pt < self.cuts.min_pt),
            ).items():
                for metric, fraction in metrics.items():
                    rates["definition", name, metric, str(k)] = fraction
            matched = efficiency.is_matched(matching, self.cuts.min_hits)
            best = matched & ~efficiency.is_duplicate(matching, self.cuts.min_hits)
            mine = np.zeros(len(truth.particle_ids), dtype=bool)
            mine[matching.track_particle[matched]] = True
            found.append(mine & selected)
            use = np.flatnonzero(best & tracks.fitted)
            use = use[selected[matching.track_particle[use]]]
            side.residuals.add(tracks, use, matching.track_particle[use], truth)
        n = float(selected.sum())
        kinds = {"both": found[0] & found[1], "0": found[0] & ~found[1], "1": found[1] & ~found[0]}
        kinds["neither"] = selected & ~found[0] & ~found[1]
        for name, particles in kinds.items():
            rates["particles", name] = Fraction(float(particles.sum()), n)

    def _rate(
        self,
        side: _Side,
        k: int,
        matching: Matching,
        truth: EventTruth,
        particle_bins: dict[str, Array],
        own: dict[str, Array],
        rates: dict[tuple[str, ...], Fraction],
    ) -> None:
        none = {name: len(edges) - 1 for name, edges in BIN_EDGES.items()}
        bins = {
            "particle": particle_bins,
            # Index -1, a track of noise only, reads the entry appended for "outside".
            "match": {n: np.append(b, none[n])[matching.track_particle] for n, b in particle_bins.items()},
            "track": {name: bin_index(own[name], BIN_EDGES[name]) for name in VARIABLES},
        }
        for metric in METRICS:
            terms = efficiency.METRICS[metric](matching, self.cuts.min_hits)
            numerator, denominator = terms.numerator, terms.denominator
            if terms.of == "particle":
                numerator, denominator = numerator * truth.selected, truth.selected.astype(np.int64)
            rates["rate", metric, str(k)] = Fraction(float(numerator.sum()), float(denominator.sum()))
            for name, edges in BIN_EDGES.items():
                counts = side.bins[name][metric]
                for row, weights in zip(counts, (numerator, denominator), strict=True):
                    # Sums of integers in floating point, exact up to 2**53.
                    row += np.bincount(bins[terms.of][name], weights, len(edges)).astype(np.int64)

    def _remember(self, event: ComparedEvent, overlap: Overlap | None) -> None:
        if overlap is None or event.hits is None:
            return
        only = (np.flatnonzero(~overlap.first), np.flatnonzero(~overlap.second))
        counts = (len(only[0]), len(only[1]))
        if sum(counts) > (0 if self.disagreement is None else sum(self.disagreement.counts)):
            # Copies: a slice would keep all events alive that were read together with this one.
            first, second = (
                [tracks.hits_of(i).copy() for i in rows[:DISPLAYED_TRACKS].tolist()]
                for tracks, rows in zip(event.tracks, only, strict=True)
            )
            self.disagreement = Disagreement(event.number, event.hits.positions, counts, (first, second))

    def result(self) -> dict[str, Any]:
        """Everything as a JSON-ready dictionary (see docs/comparing.md); what is not known is ``None``."""
        rates = self._rates.result()
        result: dict[str, Any] = {
            "version": __version__,
            "labels": list(self.labels),
            "events": self.events,
            "with_truth": self._with_truth,
            "cuts": dataclasses.asdict(self.cuts),
            "field_z": self.field_z,
            "intervals": {
                "level": ONE_SIGMA,
                "totals": "the wider end of Clopper-Pearson and the bootstrap over events, each side",
                "bins": "Clopper-Pearson",
                "bootstrap": {"resamples": BOOTSTRAP_RESAMPLES, "seed": BOOTSTRAP_SEED},
            },
            **(self._counts if self._with_truth else dict.fromkeys(self._counts)),
        }
        result["collections"] = [self._collection(k, rates) for k in range(2)]
        result["difference"] = {
            metric: self._rates.difference(("rate", metric, "0"), ("rate", metric, "1"))
            for metric in METRICS
            if self._with_truth
        }
        fits = [side["residuals"] for side in result["collections"]]
        result["fit_difference"] = differences(*fits) if self._with_truth else None
        result["warnings"] = [
            finding._asdict()
            for label, fit in zip(self.labels, fits, strict=True)
            if fit is not None
            for finding in findings(label, fit)
        ]
        result["overlap"] = {
            name: rates.get(key)
            for name, key in {
                "of_first": ("overlap", "0"),
                "of_second": ("overlap", "1"),
                "identical": ("identical", "0"),
            }.items()
        }
        result["particles_found"] = {
            name: rates.get(("particles", key))
            for name, key in {
                "by_both": "both",
                "only_by_first": "0",
                "only_by_second": "1",
                "by_neither": "neither",
            }.items()
        }
        result["display_event"] = None if self.disagreement is None else self.disagreement.number
        return result

    def _collection(self, k: int, rates: dict[tuple[str, ...], Any]) -> dict[str, Any]:
        side = self._sides[k]
        result: dict[str, Any] = {
            "label": self.labels[k],
            "tracks": side.tracks,
            "tracks_with_fit": side.fitted,
            "hits_on_tracks": side.hits,
            "tracks_that_share_hits": side.sharing,
            "events_without_tracks": side.events_without_tracks,
            "hits_per_track": side.length.tolist(),
            "time": times_of(self._times[k], self._numbers),
        }
        if not self._with_truth:
            return result | dict.fromkeys(("rates", "definitions", "binned", "residuals"))
        result["rates"] = {metric: rates["rate", metric, str(k)] for metric in METRICS}
        result["definitions"] = {
            name: {metric: rates["definition", name, metric, str(k)] for metric in definitions.METRIC_NAMES}
            for name in definitions.DEFINITIONS
        }
        result["binned"] = {name: _binned(name, side.bins[name]) for name in VARIABLES}
        result["residuals"] = side.residuals.result()
        return result


def _binned(variable: str, bins: dict[str, Array]) -> dict[str, Any]:
    result: dict[str, Any] = {"edges": list(BIN_EDGES[variable])}
    for metric, counts in bins.items():
        passed, total = counts[:, :-1]
        low, high = clopper_pearson(passed, total)
        pairs = zip(passed.tolist(), total.tolist(), strict=True)
        result[metric] = {
            "value": [k / n if n else None for k, n in pairs],
            "low": [None if np.isnan(x) else float(x) for x in low],
            "high": [None if np.isnan(x) else float(x) for x in high],
            "numerator": passed.tolist(),
            "denominator": total.tolist(),
            "outside": int(counts[1, -1]),
        }
    return result
