"""Graphs of hits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, Collection, column
from mltrack_plugin.event_data.selection import check_rows

if TYPE_CHECKING:
    import awkward as ak


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HitGraph(Collection):
    """Hits of one event and the segments that may join them.

    Nodes are the hits that take part; a segment leads from a hit on an inner layer to one on an outer layer.
    Canonical order: nodes by their rows of Hits, edges by inner and then by outer node.

    Raises:
        EventDataError: on wrong shapes or types, edges that leave the graph, or scores outside [0, 1].
    """

    row_names: ClassVar[tuple[str, str]] = ("node", "nodes")

    #: (n,) int64, ascending rows of Hits.
    rows: Array
    #: (n,) int32, number of each hit's layer; rises along every edge.
    layer: Array
    #: (2, m) int64, nodes (rows of this collection): inner, outer.
    edges: Array
    #: (m,) float32 in [0, 1]: probability that both hits come from one particle.
    edge_score: Array | None = None

    def __post_init__(self) -> None:
        self._set("rows", column("rows", self.rows, np.int64, (None,)))
        check_rows(self.rows)
        n = len(self.rows)
        self._columns(n, layer=np.int32)
        self._set("edges", column("edges", self.edges, np.int64, (2, None)))
        inner, outer = self.edges
        if len(inner) and not (self.edges.min() >= 0 and self.edges.max() < n):
            raise EventDataError(
                f"edges join nodes {self.edges.min()} to {self.edges.max()}, the graph has {n} nodes"
            )
        if (self.layer[inner] >= self.layer[outer]).any():
            raise EventDataError("an edge does not lead to a layer of higher number")
        step = np.diff(inner) * n + np.diff(outer)
        if (step <= 0).any():
            raise EventDataError("edges must be distinct and sorted by inner, then by outer node")
        self._columns(len(inner), edge_score=np.float32)
        if self.edge_score is not None and not ((self.edge_score >= 0) & (self.edge_score <= 1)).all():
            raise EventDataError(
                "edge scores must lie between 0 and 1; the hits may be outside the model's range"
            )

    def __len__(self) -> int:
        """Number of nodes."""
        return len(self.rows)

    @property
    def n_edges(self) -> int:
        return int(self.edges.shape[1])

    def with_scores(self, edge_score: Array) -> Self:
        """The same graph with a score for every edge, (m,)."""
        return dataclasses.replace(self, edge_score=edge_score)

    def to_awkward(self) -> ak.Array:
        """One record per node: its ``row`` of Hits, its ``layer``, and the edges that leave it as a list of ``outer``
        nodes, with their ``edge_score`` if there is one."""
        import awkward as ak

        counts = np.bincount(self.edges[0], minlength=len(self))
        lists: dict[str, Any] = {"outer": ak.unflatten(self.edges[1], counts)}
        if self.edge_score is not None:
            lists["edge_score"] = ak.unflatten(self.edge_score, counts)
        return ak.zip({"row": self.rows, "layer": self.layer, **lists}, depth_limit=1)

    @classmethod
    def from_awkward(cls, array: ak.Array) -> Self:
        """The inverse of :meth:`to_awkward`."""
        import awkward as ak

        counts = ak.to_numpy(ak.num(array["outer"]))
        inner = np.repeat(np.arange(len(array)), counts)
        outer = ak.to_numpy(ak.flatten(array["outer"])).astype(np.int64)
        score = ak.to_numpy(ak.flatten(array["edge_score"])) if "edge_score" in array.fields else None
        return cls(ak.to_numpy(array["row"]), ak.to_numpy(array["layer"]), np.stack([inner, outer]), score)
