"""Track candidates and fitted tracks: jagged lists of hit indices with canonical ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, Collection, column, data_frame
from mltrack_plugin.reprs import counted

if TYPE_CHECKING:
    import awkward as ak

#: Order of the perigee parameters and of the covariance's rows and columns.
PERIGEE_PARAMETERS = ("d0", "z0", "phi", "theta", "qop")
#: Rows and columns of the upper triangle of a covariance, row by row.
UPPER_TRIANGLE = np.triu_indices(5)
#: Names of its elements as columns: ``cov_d0_d0``, ``cov_d0_z0``, ...
COVARIANCE_COLUMNS = tuple(
    f"cov_{PERIGEE_PARAMETERS[i]}_{PERIGEE_PARAMETERS[j]}" for i, j in zip(*UPPER_TRIANGLE, strict=True)
)

#: Columns that fits and quality give to tracks: type, whether one per hit of the track, and further shape.
TRACK_COLUMNS: dict[str, tuple[npt.DTypeLike, bool, tuple[int, ...]]] = {
    **dict.fromkeys((*PERIGEE_PARAMETERS, "chi2"), (np.float64, False, ())),
    "ndf": (np.int32, False, ()),
    "quality": (np.float32, False, ()),
    "hit_chi2": (np.float32, True, ()),
    "membership": (np.float32, True, ()),
    "covariance": (np.float64, False, (5, 5)),
}

#: Columns with one entry per hit on a track.
PER_HIT = ("hit_indices", "membership", "hit_chi2")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ProtoTracks(Collection):
    """Track candidates: lists of hit indices (rows of Hits).

    Canonical order: hit indices ascend within a track; tracks are sorted by their smallest hit index.
    A track's id is its position. A hit belongs to at most one track.
    """

    row_names: ClassVar[tuple[str, str]] = ("track candidate", "track candidates")

    #: (n_tracks + 1,) int64; track i owns ``hit_indices[offsets[i]:offsets[i + 1]]``.
    offsets: Array
    #: (n_assigned,) int64, rows of Hits.
    hit_indices: Array
    #: (n_assigned,) float32 in [0, 1]: probability that the hit belongs to its track.
    membership: Array | None = None

    def __post_init__(self) -> None:
        _check_jagged(self)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def _headline(self) -> str:
        n = self.n_hits
        text = f"{super()._headline()}, {counted(len(self.hit_indices), 'hit')} on them"
        return f"{text} ({n.min()} to {n.max()} each)" if len(n) else text

    def _shown(self) -> dict[str, Array]:
        columns = self.arrays()
        del columns["offsets"]
        return {"n_hits": self.n_hits, **columns}

    @property
    def n_hits(self) -> Array:
        """(n_tracks,) int64."""
        return np.diff(self.offsets)

    def hits_of(self, track: int) -> Array:
        """Hit indices of one track."""
        return np.asarray(self.hit_indices[self.offsets[track] : self.offsets[track + 1]])

    def track_of_entry(self) -> Array:
        """(n_assigned,) int64: the track that each entry of ``hit_indices`` belongs to."""
        return np.repeat(np.arange(len(self)), self.n_hits)

    def labels(self, n_hits: int) -> Array:
        """(n_hits,) int64: track of each hit, -1 where none."""
        result = np.full(n_hits, -1, dtype=np.int64)
        result[self.hit_indices] = self.track_of_entry()
        return result

    def _jagged(self) -> dict[str, ak.Array]:
        """The columns with one entry per hit on a track, as one list per track."""
        import awkward as ak

        present = self.arrays()
        return {name: ak.unflatten(present[name], self.n_hits) for name in PER_HIT if name in present}

    @staticmethod
    def _flat(array: ak.Array) -> dict[str, Array]:
        """The inverse of :meth:`_jagged`, with the offsets."""
        import awkward as ak

        counts = ak.to_numpy(ak.num(array["hit_indices"]))
        flat = {name: ak.to_numpy(ak.flatten(array[name])) for name in PER_HIT if name in array.fields}
        flat["hit_indices"] = flat["hit_indices"].astype(np.int64)
        return {"offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), **flat}

    def to_awkward(self) -> ak.Array:
        """One record per track, with jagged ``hit_indices``."""
        import awkward as ak

        return ak.zip(self._jagged(), depth_limit=1)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with one row per track; ``hit_indices`` and the like hold one array each
        (``explode`` gives one row per hit).

        Raises:
            MissingExtraError: without pandas, with the install line.
        """
        return data_frame(self._table())

    def _table(self) -> dict[str, Any]:
        """One entry per track in every column."""
        present, cuts = self.arrays(), self.offsets[1:-1]
        table: dict[str, Any] = {"n_hits": self.n_hits}
        for name in (name for name in PER_HIT if name in present):
            table[name] = np.empty(len(self), dtype=object)
            if len(self):
                table[name][:] = np.split(present[name], cuts)
        return table

    @classmethod
    def from_awkward(cls, array: ak.Array) -> Self:
        """The inverse of :meth:`to_awkward`."""
        return cls(**cls._flat(array))

    @classmethod
    def from_labels(cls, labels: Array, membership: Array | None = None, min_hits: int = 1) -> Self:
        """Canonical tracks from one label per hit.

        Args:
            labels: (n_hits,) integers; negative = unassigned.
            membership: (n_hits,) probability of each hit's assignment.
            min_hits: groups with fewer hits are dropped.
        """
        labels = column("labels", labels, np.int64, (None,))
        assigned = np.flatnonzero(labels >= 0)
        # Stable, so that hit indices ascend within a group.
        by_label = assigned[np.argsort(labels[assigned], kind="stable")]
        sorted_labels = labels[by_label]
        first = np.ones(len(by_label), dtype=bool)
        np.not_equal(sorted_labels[1:], sorted_labels[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        counts = np.diff(starts, append=len(by_label))
        kept = np.flatnonzero(counts >= min_hits)
        order = kept[np.argsort(by_label[starts[kept]])]
        counts = counts[order]
        offsets = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(counts, out=offsets[1:])
        entries = np.arange(offsets[-1]) + np.repeat(starts[order] - offsets[:-1], counts)
        hit_indices = by_label[entries]
        if membership is not None:
            n_hits = len(hit_indices)
            membership = column("membership", np.asarray(membership)[hit_indices], np.float32, (n_hits,))
        if cls is not ProtoTracks:
            return cls(offsets, hit_indices, membership)
        # Canonical as they are: their check would take as long as their making.
        offsets.flags.writeable = hit_indices.flags.writeable = False
        columns: dict[str, Any] = {"offsets": offsets, "hit_indices": hit_indices, "membership": membership}
        return cls.trusted(columns)

    @classmethod
    def from_lists(cls, tracks: list[list[int]]) -> Self:
        """Canonical tracks from lists of hit indices (no hit in two tracks)."""
        lists = sorted((sorted(t) for t in tracks if len(t)), key=lambda t: t[0])
        flat = np.array([i for t in lists for i in t], dtype=np.int64)
        return cls(np.cumsum([0] + [len(t) for t in lists], dtype=np.int64), flat)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tracks(ProtoTracks):
    """Tracks with perigee parameters with respect to the origin; NaN where no fit was possible."""

    row_names: ClassVar[tuple[str, str]] = ("track", "tracks")

    #: (n_tracks,) float64, mm: transverse impact parameter, signed as in ACTS.
    d0: Array | None = None
    #: (n_tracks,) float64, mm.
    z0: Array | None = None
    #: (n_tracks,) float64, radian in (-pi, pi].
    phi: Array | None = None
    #: (n_tracks,) float64, radian in [0, pi].
    theta: Array | None = None
    #: (n_tracks,) float64, e/GeV: charge over momentum.
    qop: Array | None = None
    #: (n_tracks, 5, 5) float64, in the order of PERIGEE_PARAMETERS and their units.
    covariance: Array | None = None
    #: (n_tracks,) float64.
    chi2: Array | None = None
    #: (n_tracks,) int32: degrees of freedom.
    ndf: Array | None = None
    #: (n_tracks,) float32 in [0, 1]: confidence that the track is one particle's.
    quality: Array | None = None
    #: (n_assigned,) float32: each hit's share of chi2 (two degrees of freedom); NaN where not fitted.
    hit_chi2: Array | None = None

    def __post_init__(self) -> None:
        _check_jagged(self)
        n = len(self)
        for name in (*PERIGEE_PARAMETERS, "chi2"):
            if getattr(self, name) is None:
                self._set(name, np.full(n, np.nan))
        if self.ndf is None:
            self._set("ndf", np.zeros(n, dtype=np.int32))
        names = (name for name in TRACK_COLUMNS if name != "membership")
        self._check(name for name in names if getattr(self, name) is not None)

    def _check(self, names: Iterable[str]) -> None:
        """Validate the named columns, none of which is absent, against the hits."""
        n, n_entries = len(self), len(self.hit_indices)
        for name in names:
            dtype, per_entry, shape = TRACK_COLUMNS[name]
            length = n_entries if per_entry else n
            values = column(name, getattr(self, name), dtype, (length, *shape))
            self._set(name, _symmetric(values) if name == "covariance" else values)

    @classmethod
    def from_candidates(cls, candidates: ProtoTracks) -> Self:
        """Tracks with the hits and memberships of candidates, and no parameters yet (NaN).

        The hits of candidates are valid already, so they are not checked a second time.
        """
        n = len(candidates)
        unknown, no_fit = np.full(n, np.nan), np.zeros(n, dtype=np.int32)
        unknown.flags.writeable = no_fit.flags.writeable = False
        present = {**dict.fromkeys((*PERIGEE_PARAMETERS, "chi2"), unknown), "ndf": no_fit}
        hits = {name: getattr(candidates, name) for name in ("offsets", "hit_indices", "membership")}
        return cls.trusted(hits | present)

    def with_columns(self, **columns: Any) -> Self:
        """The same tracks with other parameters, memberships or qualities; only these are checked.

        Args:
            columns: any columns but ``offsets`` and ``hit_indices``, none of them ``None``.

        Raises:
            EventDataError: if a column has the wrong length or type.
        """
        result = self.trusted({**vars(self), **columns})
        result._check(columns)
        return result

    def select(self, keep: Array) -> Self:
        """The tracks for which the mask ``keep`` (n_tracks,) is true; the canonical order stays."""
        entries = keep[self.track_of_entry()]
        columns: dict[str, Array] = {}
        for name, values in self.arrays().items():
            if name in PER_HIT:
                columns[name] = values[entries]
            elif name != "offsets":
                columns[name] = values[keep]
        offsets = np.concatenate([[0], np.cumsum(self.n_hits[keep])]).astype(np.int64)
        return type(self)(offsets=offsets, **columns)

    @property
    def pt(self) -> Array:
        """(n_tracks,) float64, GeV: transverse momentum for unit charge."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.abs(np.sin(np.asarray(self.theta)) / np.asarray(self.qop)))

    @property
    def eta(self) -> Array:
        """(n_tracks,) float64: pseudorapidity."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(-np.log(np.tan(np.asarray(self.theta) / 2)))

    @property
    def fitted(self) -> Array:
        """(n_tracks,) bool: has parameters."""
        return np.asarray(np.isfinite(np.asarray(self.qop)))

    def _headline(self) -> str:
        fitted = int(np.count_nonzero(self.fitted))
        return f"{super()._headline()}, {fitted} of them with parameters"

    def _shown(self) -> dict[str, Array]:
        return {"pt": self.pt, "eta": self.eta, **super()._shown()}

    def _table(self) -> dict[str, Any]:
        table = {"pt": self.pt, "eta": self.eta}
        for name in (*PERIGEE_PARAMETERS, "chi2", "ndf", "quality"):
            if (values := getattr(self, name)) is not None:
                table[name] = values
        table |= super()._table()
        if self.covariance is not None:
            upper = self.covariance[:, *UPPER_TRIANGLE]
            table |= {name: upper[:, k] for k, name in enumerate(COVARIANCE_COLUMNS)}
        return table

    def to_awkward(self) -> ak.Array:
        """One record per track, jagged ``hit_indices``, and `vector` behaviours (tracks.pt, tracks.eta)."""
        import awkward as ak
        import vector

        vector.register_awkward()
        fields: dict[str, Array] = {"pt": self.pt}
        for name in (*PERIGEE_PARAMETERS, "chi2", "ndf", "quality"):
            if (values := getattr(self, name)) is not None:
                fields[name] = values
        records = ak.zip(fields, with_name="Momentum3D")
        for name, lists in self._jagged().items():
            records = ak.with_field(records, lists, name)
        if self.covariance is not None:
            records = ak.with_field(
                records, ak.from_regular(ak.from_numpy(self.covariance), None), "covariance"
            )
        return records

    @classmethod
    def from_awkward(cls, array: ak.Array) -> Self:
        """The inverse of :meth:`to_awkward`."""
        import awkward as ak

        have = set(array.fields)
        names = [n for n in (*PERIGEE_PARAMETERS, "chi2", "ndf", "quality") if n in have]
        columns = {name: ak.to_numpy(array[name]) for name in names}
        if "covariance" in have:
            columns["covariance"] = ak.to_numpy(array["covariance"]).reshape(len(array), 5, 5)
        return cls(**cls._flat(array), **columns)


def _symmetric(covariance: Array) -> Array:
    """The matrices with the lower triangle of the upper: fits leave them apart by rounding, files keep one."""
    mirrored = covariance.copy()
    rows, columns = UPPER_TRIANGLE
    mirrored[:, columns, rows] = covariance[:, rows, columns]
    mirrored.flags.writeable = False
    return mirrored


def _check_jagged(tracks: ProtoTracks) -> None:
    tracks._set("offsets", column("offsets", tracks.offsets, np.int64, (None,)))
    tracks._set("hit_indices", column("hit_indices", tracks.hit_indices, np.int64, (None,)))
    offsets, indices = tracks.offsets, tracks.hit_indices
    n = len(indices)
    if tracks.membership is not None:
        tracks._set("membership", column("membership", tracks.membership, np.float32, (n,)))
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != n or (offsets[1:] <= offsets[:-1]).any():
        raise EventDataError(f"offsets must rise from 0 to {n}, the number of hit indices; no track is empty")
    if not n:
        return
    if indices.min() < 0:
        raise EventDataError(f"hit indices must not be negative, smallest is {indices.min()}")
    # Sorting a few hundred indices is ten times faster than np.unique.
    ordered = np.sort(indices)
    if (ordered[1:] == ordered[:-1]).any():
        raise EventDataError("a hit index occurs in two tracks, or twice in one")
    rises = indices[1:] > indices[:-1]
    rises[offsets[1:-1] - 1] = True
    firsts = indices[offsets[:-1]]
    if not rises.all() or (firsts[1:] <= firsts[:-1]).any():
        raise EventDataError("tracks are not in canonical order; use ProtoTracks.from_labels or from_lists")
