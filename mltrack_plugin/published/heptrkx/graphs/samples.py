"""Graphs with their truth, as the two classifiers are trained and measured on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mltrack_plugin.event_data import Hits
from mltrack_plugin.published.heptrkx.graphs.construct import build_graph, true_segments
from mltrack_plugin.published.heptrkx.graphs.layers import hit_layers
from mltrack_plugin.published.heptrkx.graphs.seeded import (
    HITS_PER_LAYER,
    N_LAYERS,
    SEED_LAYERS,
    nearest_hits,
    seed_edges,
    seeded_nodes,
)
from mltrack_plugin.simulation.event import SimulatedEvent

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class GraphSample:
    """One graph, or several joined ones, with the truth.

    Attributes:
        nodes: (n, F) float32 inputs of the network.
        edges: (2, m) int64 rows of ``nodes``.
        target: (m,) or (n,) bool, of the edges or the nodes, whichever is classified.
        graph: the same shape, int64: which of the joined graphs an element belongs to.
        same_particle: (m,) bool: edges that join two hits of one particle, whether it is the one looked for or not.
    """

    nodes: Array
    edges: Array
    target: Array
    graph: Array
    same_particle: Array

    @classmethod
    def joined(cls, samples: Sequence[Self]) -> Self:
        """Several graphs as one, side by side."""
        nodes = np.concatenate([[0], np.cumsum([len(s.nodes) for s in samples])])
        graphs = np.concatenate([[0], np.cumsum([s.graph.max(initial=-1) + 1 for s in samples])])
        return cls(
            np.concatenate([s.nodes for s in samples]),
            np.concatenate([s.edges + first for s, first in zip(samples, nodes, strict=False)], axis=1),
            np.concatenate([s.target for s in samples]),
            np.concatenate([s.graph + first for s, first in zip(samples, graphs, strict=False)]),
            np.concatenate([s.same_particle for s in samples]),
        )


def node_features(hits: Hits) -> Array:
    """(n, 3) float32: r, phi, z in mm, radian, mm."""
    return np.stack([hits.r, hits.phi, hits.z], axis=1)


def segment_sample(event: SimulatedEvent, **settings: Any) -> GraphSample:
    """The graph of an event; classified are segments.

    Args:
        event: with truth.
        settings: of `build_graph`; by default the published windows.
    """
    graph = build_graph(event.hits, **settings)
    target = true_segments(graph.edges, event.truth_links.particle_id[graph.rows])
    nodes, edges = node_features(event.hits)[graph.rows], graph.edges.copy()
    return GraphSample(nodes, edges, target, np.zeros(len(target), dtype=np.int64), target)


def segments_of_particles(event: SimulatedEvent) -> int:
    """Number of pairs of hits of one particle on adjacent barrel layers, whether a graph holds them or not."""
    layer, particle = hit_layers(event.hits), event.truth_links.particle_id
    used = np.flatnonzero((layer >= 0) & (particle != 0))
    ids, counts = np.unique(
        np.stack([particle[used], layer[used].astype(np.uint64)]), axis=1, return_counts=True
    )
    # Columns are sorted by particle, then by layer: neighbours in the list may be neighbours in the detector.
    adjacent = (ids[0, 1:] == ids[0, :-1]) & (ids[1, 1:] == ids[1, :-1] + 1)
    return int((counts[1:] * counts[:-1])[adjacent].sum())


def in_published_selection(sample: GraphSample) -> bool:
    """More than 50 and fewer than 500 hits, and fewer than 1000 segments: the events of the published figures.

    Source: the project's notebook, which keeps 45% of its events so ("to make things feasible for development").
    """
    return 50 < len(sample.nodes) < 500 and sample.edges.shape[1] < 1000


def hit_samples(event: SimulatedEvent) -> list[GraphSample]:
    """Graphs around the tracks that cross all ten barrel layers; classified are hits.

    As published: on every layer the five hits nearest in eta and phi to the track's hit, all pairs of them on
    neighbouring layers connected; the track's hits on the three inner layers are marked as the seed; azimuths are
    counted from the track's innermost hit. Events with no more than five hits on a layer give none.

    Args:
        event: with at most one hit per particle and layer.
    """
    hits, layer = event.hits, hit_layers(event.hits)
    particle = event.truth_links.particle_id
    tracks = np.zeros(0, dtype=np.uint64)
    if np.bincount(layer[layer >= 0], minlength=N_LAYERS).min() > HITS_PER_LAYER:
        ids, counts = np.unique(particle[(layer >= 0) & (particle != 0)], return_counts=True)
        tracks = ids[counts == N_LAYERS]
    if not len(tracks):
        return []
    r, phi, z = node_features(hits).T.astype(np.float64)
    eta = np.arcsinh(z / r)
    # The track's hits from inside out: rows sorted by particle, then by layer.
    mine = np.flatnonzero(np.isin(particle, tracks) & (layer >= 0))
    own = mine[np.lexsort((layer[mine], particle[mine]))].reshape(-1, N_LAYERS)
    picked, _ = nearest_hits(layer, eta, phi, eta[own], phi[own])
    target = particle[picked] == tracks[:, None]
    seed = target & (np.arange(picked.shape[1]) < SEED_LAYERS * HITS_PER_LAYER)
    nodes = seeded_nodes(picked, seed, phi[own[:, 0]], r, phi, z)
    edges, graph = seed_edges(), np.zeros(picked.shape[1], dtype=np.int64)
    ids = particle[picked]
    same = (ids[:, edges[0]] == ids[:, edges[1]]) & (ids[:, edges[0]] != 0)
    return [
        GraphSample(inputs, edges, true, graph, joins)
        for inputs, true, joins in zip(nodes, target, same, strict=True)
    ]
