"""The graph networks of HEP.TrkX: segment classifier, hit classifier, and the tracks made of their results.

Published are accuracy, purity and efficiency on test events (Farrell et al., arXiv:1810.06111). Those of the segment
classifier hold for events with more than 50 and fewer than 500 hits and fewer than 1000 segments, those of the hit
classifier for tracks that cross all ten barrel layers (the notebooks of the project); the same selections are made
here, and rows for all events stand beside them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.evaluation.summary import ScoreAccumulator
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.published.heptrkx.benchmark.events import QCD, qcd_events, unseen_events
from mltrack_plugin.published.heptrkx.benchmark.rows import Part, Row
from mltrack_plugin.published.heptrkx.graphs.metrics import PUBLISHED, QUANTITIES, Counts, bootstrap, count
from mltrack_plugin.published.heptrkx.graphs.picture import draw_evolution
from mltrack_plugin.published.heptrkx.graphs.samples import (
    GraphSample,
    hit_samples,
    in_published_selection,
    segment_sample,
    segments_of_particles,
)
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent

if TYPE_CHECKING:
    from mltrack_plugin.archives.track_model import TrackModel

DATASET = QCD
PARAMETERS = {"gnn-segments": "6881", "gnn-hits": "26502"}
#: Jobs whose tracks are scored.
JOBS = ("gnn-segments", "gnn-hits")
METRICS = {
    "efficiency": "efficiency",
    "fake_rate": "fake rate",
    "duplicate_rate": "duplicate rate",
    "perfect_match_efficiency": "perfect match",
    "double_majority_efficiency": "double majority",
    "trackml_score": "TrackML score",
}
#: Graphs that the network sees at once.
_BATCH = 32
#: Tracks of the picture, as in the original.
_PICTURE_TRACKS = 10


def parts(seed: int, events: int) -> list[Part]:
    """All figures of the graph networks.

    Args:
        seed: of the test events.
        events: test events; for the published selection three times as many.

    Returns:
        what measures them; raises ``MissingExtraError`` without pyacts or pythia8mc.
    """

    def test() -> list[SimulatedEvent]:
        return unseen_events(DATASET, {}, seed, events)

    return [
        Part("segment classifier", lambda: selection_rows(qcd_events(seed, events), seed)),
        Part("segment classifier, all events", lambda: segment_rows(test(), seed)),
        Part("hit classifier", lambda: hit_rows(test(), seed)),
        Part("tracks of both", lambda: track_rows(test(), seed)),
    ]


def selection_rows(events: Sequence[SimulatedEvent], seed: int) -> list[Row]:
    """Parameters of the segment classifier, then accuracy, purity and efficiency in the published selection."""
    model, system = load_model("gnn-segments"), "gnn-segments"
    samples = [sample for event in events if in_published_selection(sample := segment_sample(event))]
    label = f"{DATASET}, {len(samples)} of {len(events)} events as selected there"
    counts = classify(model, samples)
    return [_parameters(system, model, seed), *_quantity_rows(system, counts, PUBLISHED[system], label, seed)]


def segment_rows(events: Sequence[SimulatedEvent], seed: int) -> list[Row]:
    """Accuracy, purity and efficiency of the segment classifier in all events, and what the graphs hold."""
    counts = classify(load_model("gnn-segments"), [segment_sample(event) for event in events])
    rows = _quantity_rows("gnn-segments", counts, None, f"{DATASET}, all {len(events)} events", seed)
    true = np.array([segments_of_particles(event) for event in events])
    found = counts.true
    share = float(found.sum() / max(1, true.sum()))
    # Segments of an event are lost together: the error comes from the spread of the events.
    error = float(np.std(found - share * true) * np.sqrt(len(true)) / max(1, true.sum()))
    text = "segments of particles that the graph holds"
    return [*rows, Row("build-graph", text, "-", share, error, f"{DATASET}, all {len(events)} events", seed)]


def hit_rows(events: Sequence[SimulatedEvent], seed: int) -> list[Row]:
    """Parameters, then accuracy, purity and efficiency over the hits around all tracks that cross the barrel."""
    model, system = load_model("gnn-hits"), "gnn-hits"
    per_event = [hit_samples(event) for event in events]
    # Tracks of one event share hits: an event counts as one graph.
    joined = [GraphSample.joined(samples) for samples in per_event if samples]
    tracks = sum(map(len, per_event))
    label = f"{DATASET}, {tracks} tracks of {len(joined)} events"
    one_graph = [dataclasses.replace(sample, graph=np.zeros_like(sample.graph)) for sample in joined]
    counts = classify(model, one_graph)
    return [_parameters(system, model, seed), *_quantity_rows(system, counts, PUBLISHED[system], label, seed)]


def track_rows(events: Sequence[SimulatedEvent], seed: int) -> list[Row]:
    """The tracks of the shipped jobs, scored as those of all other track finders."""
    rows = []
    for name in JOBS:
        job = load_job(name)
        found = job.algorithms(device="cpu", detector="generic")
        last = next(i for i, step in enumerate(job.sequence) if step.name == "build-tracks")
        result = score_tracks(found[:last], events)
        for metric, text in METRICS.items():
            half = (result[f"{metric}_high"] - result[f"{metric}_low"]) / 2.0
            label = f"{DATASET}, all {len(events)} events"
            rows.append(Row(f"{name} (tracks)", text, "-", float(result[metric]), float(half), label, seed))
    return rows


def score_tracks(algorithms: Iterable[Algorithm], events: Iterable[SimulatedEvent]) -> dict[str, float]:
    """All metrics of the track candidates that a sequence of algorithms makes of hits alone."""
    steps = list(algorithms)
    accumulator = ScoreAccumulator(detector="generic")
    for step in steps:
        step.initialize()
    for index, event in enumerate(events):
        store = EventStore(index, "benchmark")
        store.add("hits", event.hits)
        for step in steps:
            step.execute(store)
        tracks = store.get("proto_tracks", ProtoTracks)
        accumulator.add(event.hits, event.truth_links, tracks, event.particles)
    for step in steps:
        step.finalize()
    return accumulator.result()


def classify(model: TrackModel, samples: Sequence[GraphSample]) -> Counts:
    """Counts of each graph at the threshold that was tuned on validation events."""
    threshold = tuned_threshold(model)
    empty = np.zeros(0, dtype=np.int64)
    parts = [Counts(empty, empty, empty, empty)]
    for start in range(0, len(samples), _BATCH):
        chunk = samples[start : start + _BATCH]
        joined = GraphSample.joined(chunk)
        score = model.apply(joined.nodes, joined.edges)
        graph = np.repeat(np.arange(len(chunk)), [len(sample.target) for sample in chunk])
        score = score[-1] if score.ndim == 2 else score
        parts.append(count(score, joined.target, graph, len(chunk), threshold))
    return Counts(
        *(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True))
    )


def tuned_threshold(model: TrackModel) -> float:
    """The threshold in the model's card, chosen on validation events by the training."""
    value = model.card.metrics.get("val_threshold", 0.5)
    return float(value) if isinstance(value, int | float) else 0.5


def draw_edge_evolution(path: Path | str, seed: int) -> Path:
    """Picture of the weights that the shipped segment classifier gives in each iteration, for a few tracks.

    Args:
        path: picture to write.
        seed: of the test events; the first one with enough tracks is taken.
    """
    model = load_model("gnn-segments")
    dataset = make_dataset(DATASET, {"pileup": 0, "block": 20, "min_pt_hat": 20.0})
    for event in dataset.events(20, seed, "test"):
        sample = segment_sample(event)
        if len(event.particles) >= _PICTURE_TRACKS and sample.edges.shape[1]:
            break
    weights = model.apply(sample.nodes, sample.edges)
    title = (
        f"{len(event.particles)} particles, {sample.edges.shape[1]} segments: blue of a particle, red wrong"
    )
    return draw_evolution(sample.nodes, sample.edges, weights, sample.target, path, title)


def _parameters(system: str, model: TrackModel, seed: int) -> Row:
    return Row(system, "parameters", PARAMETERS[system], float(model.card.parameters), 0.0, "-", seed)


def _quantity_rows(
    system: str, counts: Counts, published: Sequence[float] | None, dataset: str, seed: int
) -> list[Row]:
    texts = ["-"] * len(QUANTITIES) if published is None else [f"{value:.4f}" for value in published]
    errors = bootstrap(counts, seed)
    values = counts.sum().quantities()
    return [
        Row(system, name, text, float(value), float(error), dataset, seed)
        for name, text, value, error in zip(QUANTITIES, texts, values, errors, strict=True)
    ]
