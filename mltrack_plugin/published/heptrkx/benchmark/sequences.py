"""The recurrent networks of HEP.TrkX: hit predictors, the track builder beside the CKF, assignment to track slots.

Published are the numbers of parameters, "O(1 mm)" for the residuals and, as a figure, pulls that are "somewhat
non-Gaussian, but roughly reasonable"; of building tracks and of the assignment to slots only that it works at low
multiplicity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.evaluation.summary import ScoreAccumulator
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.published.heptrkx.benchmark.events import unseen_events
from mltrack_plugin.published.heptrkx.benchmark.rows import Part, Row
from mltrack_plugin.published.heptrkx.sequences.barrel import (
    HitSequences,
    barrel_layer,
    cylindrical,
    particle_sequences,
)
from mltrack_plugin.published.heptrkx.sequences.residuals import (
    FIRST_DIRECTED_LAYER,
    predict_residuals,
    spread,
)
from mltrack_plugin.published.heptrkx.sequences.slots import order_by_azimuth, true_slots
from mltrack_plugin.registry import find
from mltrack_plugin.simulation.event import SimulatedEvent

DATASET = "heptrkx-tracks"
#: Layers whose residuals are given together: first and last, and what they are.
LAYER_GROUPS = (
    (FIRST_DIRECTED_LAYER, 3, "pixels"),
    (4, 7, "short strips"),
    (8, 9, "long strips"),
)
#: Data sets of the comparison with the CKF: name, settings, hits that particles must have left, label. The CKF asks
#: for seven measurements; of barrel hits alone many particles of a collision leave fewer.
BUILDER_SAMPLES: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    (DATASET, {"tracks": (10, 50)}, 4, f"{DATASET}, 10-50 tracks"),
    (DATASET, {"tracks": (200, 200)}, 4, f"{DATASET}, 200 tracks"),
    ("heptrkx-qcd", {}, 7, "heptrkx-qcd, particles of 7 hits"),
)
#: Numbers of particles per event of the assignment to slots; the shipped network has eight slots.
FEW_TRACKS = ((1, 2), (3, 4), (5, 6), (7, 8))
METRICS = {
    "efficiency": "efficiency",
    "fake_rate": "fake rate",
    "duplicate_rate": "duplicate rate",
    "perfect_match_efficiency": "perfect match",
    "trackml_score": "TrackML score",
}


def parts(seed: int, events: int) -> list[Part]:
    """All figures of the recurrent networks.

    Args:
        seed: of the test events.
        events: test events for each figure.

    Returns:
        what measures them; raises ``MissingExtraError`` without pyacts, and for QCD events without pythia8mc.
    """
    return [
        Part("hit predictors", partial(predictor_rows, seed, events)),
        Part("track builder and CKF", partial(builder_rows, seed, events)),
        Part("track slots", partial(slot_rows, seed, events)),
    ]


def predictor_rows(seed: int, events: int) -> list[Row]:
    """Parameters, residuals per group of layers and pulls of both hit predictors."""
    sequences = single_tracks(seed, events)
    rows = []
    for name, parameters in (("lstm-hit-predictor", "4802"), ("gaussian-hit-predictor", "4901")):
        model = load_model(name)
        rows.append(Row(name, "parameters", parameters, float(model.card.parameters), 0.0, "-", seed))
        columns = predict_residuals(sequences, model.apply).columns()
        for first, last, what in LAYER_GROUPS:
            for column, label in (("rphi", "r dphi"), ("z", "dz")):
                found = spread(columns[column][:, first - 1 : last])
                text = f"residual {label} [mm], {what}"
                rows.append(Row(name, text, "O(1 mm)", found.rms, found.rms_error, DATASET, seed))
        for column, label in (("pull_phi", "phi"), ("pull_z", "z")):
            if column in columns:
                found = spread(columns[column][:, FIRST_DIRECTED_LAYER - 1 :])
                mean = Row(
                    name, f"pull of {label}, mean", "about 0", found.mean, found.mean_error, DATASET, seed
                )
                width = Row(
                    name, f"pull of {label}, width", "about 1", found.rms, found.rms_error, DATASET, seed
                )
                rows += [mean, width]
    return rows


def single_tracks(seed: int, events: int) -> HitSequences:
    """The barrel tracks of test events, one by one."""
    unseen = unseen_events(DATASET, {}, seed, events)
    return HitSequences.join([particle_sequences(event.hits, event.truth_links) for event in unseen])


def builder_rows(seed: int, events: int) -> list[Row]:
    """The track builder and the tuned CKF of ACTS on the same events."""
    rows = []
    for dataset, settings, min_hits, label in BUILDER_SAMPLES:
        chosen = unseen_events(dataset, settings, seed, events)
        for system, step, output in (
            ("rnn-track-builder", {"model": "gaussian-hit-predictor", "min_hits": min_hits}, "proto_tracks"),
            ("acts-ckf", {"settings": "tuned"}, "tracks"),
        ):
            algorithm = find("algorithm", system)(step)
            rows += _score_rows(system, score(algorithm, chosen, output, min_hits), label, seed)
    return rows


def slot_rows(seed: int, events: int) -> list[Row]:
    """Assignment to track slots versus multiplicity: right slots of hits, and the slots as tracks."""
    rows = []
    system = "gru-assignment"
    model = load_model(system)
    for tracks in FEW_TRACKS:
        chosen = unseen_events(DATASET, {"tracks": tracks}, seed, events)
        label = f"{DATASET}, {tracks[0]}-{tracks[1]} tracks"
        shares = np.array([slot_accuracy(model, event) for event in chosen])
        right, total = shares.sum(axis=0)
        # Hits of an event are right or wrong together: the error comes from the spread of the events.
        error = float(np.std(shares[:, 0] - right / total * shares[:, 1]) * np.sqrt(len(shares)) / total)
        rows.append(Row(system, "hits in the right slot", "-", float(right / total), error, label, seed))
        algorithm = find("algorithm", system)({"model": system})
        rows += _score_rows(system, score(algorithm, chosen, "proto_tracks"), label, seed)
    return rows


def slot_accuracy(model: Any, event: SimulatedEvent) -> tuple[int, int]:
    """Barrel hits in the right slot, and all barrel hits, of one event."""
    rows = np.flatnonzero(barrel_layer(event.hits) >= 0)
    order, ordered = order_by_azimuth(cylindrical(event.hits)[rows])
    probability = model.apply(ordered[None], np.ones((1, len(ordered)), dtype=np.bool_))[0]
    truth = true_slots(ordered, event.truth_links.particle_id[rows[order]], probability.shape[1] - 1)
    return int((probability.argmax(axis=1) == truth).sum()), len(truth)


def score(
    algorithm: Algorithm, events: Sequence[SimulatedEvent], output: str, min_hits: int = 4
) -> dict[str, Any]:
    """All metrics of the tracks that one algorithm makes of hits alone."""
    accumulator = ScoreAccumulator(min_hits=min_hits, detector="generic")
    algorithm.initialize()
    for index, event in enumerate(events):
        store = EventStore(index, "benchmark")
        store.add("hits", event.hits)
        algorithm.execute(store)
        accumulator.add(event.hits, event.truth_links, store.get(output, ProtoTracks), event.particles)
    algorithm.finalize()
    return accumulator.result()


def _score_rows(system: str, result: Mapping[str, Any], dataset: str, seed: int) -> list[Row]:
    rows = []
    for name, label in METRICS.items():
        if result[name] is not None:
            half = (result[f"{name}_high"] - result[f"{name}_low"]) / 2.0
            rows.append(Row(system, label, "-", float(result[name]), float(half), dataset, seed))
    return rows
