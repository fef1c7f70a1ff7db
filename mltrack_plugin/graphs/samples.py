"""Graphs with their truth, as the two classifiers are trained and measured on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mltrack_plugin.event_data import Hits
from mltrack_plugin.graphs.construct import connect, true_segments, wrapped
from mltrack_plugin.graphs.layers import BARREL_LAYERS, BARREL_PAIRS, hit_layers
from mltrack_plugin.simulation.event import SimulatedEvent

Array = npt.NDArray[Any]

#: Hits per layer around a seed, and layers that a seed's hits lie on.
HITS_PER_LAYER, SEED_LAYERS = 5, 3
_N_LAYERS = len(BARREL_LAYERS)


@dataclasses.dataclass(frozen=True)
class GraphSample:
    """One graph, or several joined ones, with the truth.

    Attributes:
        nodes: (n, F) float32 inputs of the network.
        edges: (2, m) int64 rows of ``nodes``.
        target: (m,) or (n,) bool, of the edges or the nodes, whichever is classified.
        graph: the same shape, int64: which of the joined graphs an element belongs to.
    """

    nodes: Array
    edges: Array
    target: Array
    graph: Array

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
        )


def node_features(hits: Hits) -> Array:
    """(n, 3) float32: r, phi, z in mm, radian, mm."""
    return np.stack([hits.r, hits.phi, hits.z], axis=1)


def segment_sample(event: SimulatedEvent) -> GraphSample:
    """The barrel hits of an event with all segments in the published windows; classified are segments."""
    layer = hit_layers(event.hits)
    barrel = np.flatnonzero(layer >= 0)
    nodes = node_features(event.hits)[barrel]
    edges = connect(layer[barrel], *nodes.T, BARREL_PAIRS)
    target = true_segments(edges, event.truth_links.particle_id[barrel])
    return GraphSample(nodes, edges, target, np.zeros(len(target), dtype=np.int64))


def in_published_selection(sample: GraphSample) -> bool:
    """More than 50 and fewer than 500 hits, and fewer than 1000 segments: the events of the published figures.

    Source: the project's notebook, which keeps 45% of its events so ("to make things feasible for development").
    """
    return 50 < len(sample.nodes) < 500 and sample.edges.shape[1] < 1000


def seed_edges() -> Array:
    """(2, 225) int64: all segments between the hits of neighbouring layers, ``HITS_PER_LAYER`` on each."""
    k = HITS_PER_LAYER
    inner, outer = np.meshgrid(np.arange(k), np.arange(k), indexing="ij")
    pair = np.stack([inner.ravel(), outer.ravel() + k])
    return np.concatenate([pair + k * layer for layer in range(_N_LAYERS - 1)], axis=1)


def hit_samples(event: SimulatedEvent) -> list[GraphSample]:
    """Graphs around the tracks that cross all ten barrel layers; classified are hits.

    As published: on every layer the five hits nearest in eta and phi to the track's hit, all pairs of them on
    neighbouring layers connected; the track's hits on the three inner layers are marked as the seed; azimuths are
    counted from the track's innermost hit. Events with no more than five hits on a layer give none.

    Args:
        event: with at most one hit per particle and layer.
    """
    hits, layer = event.hits, hit_layers(event.hits)
    rows = [np.flatnonzero(layer == i) for i in range(_N_LAYERS)]
    particle = event.truth_links.particle_id
    tracks = np.zeros(0, dtype=np.uint64)
    if min(map(len, rows)) > HITS_PER_LAYER:
        ids, counts = np.unique(particle[(layer >= 0) & (particle != 0)], return_counts=True)
        tracks = ids[counts == _N_LAYERS]
    phi, eta = hits.phi.astype(np.float64), np.arcsinh(hits.z / hits.r).astype(np.float64)
    chosen, reference = [], np.zeros(len(tracks))
    for number, on_layer in enumerate(rows):
        order = np.argsort(particle[on_layer], kind="stable")
        own = (
            on_layer[order[np.searchsorted(particle[on_layer], tracks, sorter=order)]]
            if len(tracks)
            else rows[0][:0]
        )
        distance = np.hypot(eta[own][:, None] - eta[on_layer], wrapped(phi[own][:, None] - phi[on_layer]))
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :HITS_PER_LAYER]
        chosen.append(on_layer[nearest])
        if number == 0:
            reference = phi[own]
    picked = np.concatenate(chosen, axis=1)
    target = particle[picked] == tracks[:, None]
    seed = target & (np.arange(picked.shape[1]) < SEED_LAYERS * HITS_PER_LAYER)
    nodes = np.stack(
        [hits.r[picked], wrapped(phi[picked] - reference[:, None]), hits.z[picked], seed], axis=-1
    ).astype(np.float32)
    edges, graph = seed_edges(), np.zeros(picked.shape[1], dtype=np.int64)
    return [GraphSample(own, edges, true, graph) for own, true in zip(nodes, target, strict=True)]
