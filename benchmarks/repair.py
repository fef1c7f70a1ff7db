"""Reprints what repair-tracks makes of groups: scores before and after, CPU time per hit.

    python benchmarks/repair.py [--events 30] [--config NAME] [--full-event] [--bank-dir DIR] [--json FILE]

Groups are (a) true ones that were damaged: 10% of the hits lost, 5% given to another track, 5% of the tracks split, 3%
merged with a neighbour, a third of the noise hits put somewhere; (b) those that the clustering of a shipped job makes.
Events are of split "validation", on which the settings were chosen, unless --split says otherwise. CPU time is measured
after the kernels were compiled. --full-event adds one event with pile-up 200, about 100 000 hits.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.algorithms.repair_tracks import RepairTracks
from mltrack_plugin.evaluation.efficiency import METRICS
from mltrack_plugin.evaluation.matching import Matching, match_hit_lists
from mltrack_plugin.evaluation.scores import trackml_score
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent

Array = np.ndarray[Any, Any]

FIGURES = (
    "perfect_match_efficiency",
    "double_majority_efficiency",
    "lhc_match_efficiency",
    "efficiency",
    "fake_rate",
    "duplicate_rate",
)
#: Data set, its settings, and its share of the events: denser ones are fewer.
GUN = {"noise": 0.15, "pt": (0.5, 10.0), "max_eta": 3.0}
SAMPLES: dict[str, tuple[str, dict[str, Any], float]] = {
    "trackml-10-50": ("trackml-10-50", {}, 1.0),
    "trackml-200-500": ("trackml-200-500", {}, 0.2),
    **{
        f"gun, {n} pions, 15% noise": ("acts-gun", {**GUN, "tracks": (n, n), "vertices": (v, v)}, 10 / n)
        for n, v in ((50, 5), (200, 10), (500, 20))
    },
}


def damaged(event: SimulatedEvent, rng: np.random.Generator) -> ProtoTracks:
    """True groups with what clusterings get wrong."""
    hits, particle = event.hits, event.truth_links.particle_id
    labels = np.unique(particle, return_inverse=True)[1].reshape(-1).astype(np.int64)
    labels[particle == 0] = -1
    tracks = np.unique(labels[labels >= 0])
    eta = np.arcsinh(hits.z / np.maximum(hits.r, 1e-3))
    centre = np.array([[hits.phi[labels == t].mean(), eta[labels == t].mean()] for t in tracks])
    result, new = labels.copy(), int(labels.max()) + 1
    for k, track in enumerate(tracks):
        rows = np.flatnonzero(labels == track)
        if len(rows) > 3 and rng.random() < 0.05:
            rows = rows[np.argsort(hits.r[rows] ** 2 + hits.z[rows] ** 2)]
            result[rows[rng.integers(2, len(rows) - 1) :]] = new
            new += 1
        if len(tracks) > 1 and rng.random() < 0.03:
            distance = ((centre - centre[k]) ** 2).sum(axis=1)
            distance[k] = np.inf
            result[labels == tracks[np.argmin(distance)]] = result[rows[0]]
    position = hits.positions
    for row in np.flatnonzero(rng.random(len(labels)) < 0.05):
        distance = ((position - position[row]) ** 2).sum(axis=1)
        distance[labels == labels[row]] = np.inf
        result[row] = result[np.argmin(distance)]
    result[rng.random(len(labels)) < 0.10] = -1
    noise = np.flatnonzero(particle == 0)
    noise = noise[rng.random(len(noise)) < 1 / 3]
    result[noise] = rng.choice(result[result >= 0], len(noise))
    return ProtoTracks.from_labels(result)


def clustered(event: SimulatedEvent, steps: list[Any]) -> ProtoTracks:
    """The groups that the first steps of a job make."""
    store = EventStore()
    store.add("hits", event.hits)
    for step in steps:
        step.execute(store)
    return store.get("proto_tracks", ProtoTracks)


def figures(events: list[SimulatedEvent], groups: list[ProtoTracks]) -> dict[str, float]:
    """Scores over all events."""
    matchings = [
        match_hit_lists(g.offsets, g.hit_indices, e.truth_links.particle_id, e.truth_links.weight)
        for e, g in zip(events, groups, strict=True)
    ]
    score = [trackml_score(m) for m in matchings]
    joined = Matching.join(matchings)
    result = {"trackml_score": sum(s.numerator for s in score) / sum(s.denominator for s in score)}
    for name in FIGURES:
        result[name] = METRICS[name](joined, 4).fraction.value
    long = joined.particle_n_hits >= 9
    result["efficiency, 9 hits"] = float(METRICS["efficiency"](joined, 4).numerator[long].mean())
    return result


def repaired(
    repair: RepairTracks, events: list[SimulatedEvent], groups: list[ProtoTracks]
) -> tuple[list[ProtoTracks], float]:
    """Groups after the repair, and CPU time in microseconds per hit."""
    results = []
    spent = 0.0
    for event, group in zip(events, groups, strict=True):
        store = EventStore()
        store.add("hits", event.hits)
        store.add("proto_tracks", group)
        began = time.process_time()
        repair.execute(store)
        spent += time.process_time() - began
        results.append(store.get("repaired_tracks", ProtoTracks))
    return results, 1e6 * spent / max(sum(len(event.hits) for event in events), 1)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    job = load_job(options.config)
    repair = RepairTracks(detector=job.detector, thickness=0.04)
    began = time.process_time()
    repair.initialize()
    result: dict[str, Any] = {"compile_or_load_cpu_s": time.process_time() - began, "samples": {}}
    steps = []
    for step in job.algorithms(detector="trackml"):
        steps.append(step)
        if "proto_tracks" in [handle.key for handle in step.outputs]:
            break
    for step in steps:
        step.initialize()
    samples = dict(SAMPLES)
    if options.full_event:
        samples["ttbar, pile-up 200"] = ("acts-ttbar", {}, 0.0)
    for name, (dataset, settings, share) in samples.items():
        if dataset.startswith("trackml") and options.bank_dir:
            settings = {**settings, "bank_dir": options.bank_dir}
        source = make_dataset(dataset, settings)
        count = max(1, round(share * options.events))
        events = [source.event(i, seed=options.seed, split=options.split) for i in range(count)]
        rng = np.random.default_rng(options.seed)
        kinds = {"damaged": [damaged(event, rng) for event in events]}
        if name == "trackml-10-50":
            kinds[job.name] = [clustered(event, steps) for event in events]
        for kind, groups in kinds.items():
            after, cost = repaired(repair, events, groups)
            result["samples"][f"{name}: {kind}"] = {
                "events": count,
                "hits_per_event": sum(len(event.hits) for event in events) / count,
                "before": figures(events, groups),
                "after": figures(events, after),
                "cpu_us_per_hit": cost,
            }
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--events", type=int, default=30, help="of the smallest sample; denser ones get fewer"
    )
    parser.add_argument(
        "--config", default="encreg-trackml-10-50", help="job whose clustering is repaired, too"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", default="validation", choices=("train", "validation", "test"))
    parser.add_argument("--bank-dir", help="folder with particle banks")
    parser.add_argument("--full-event", action="store_true", help="also an event with pile-up 200")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"kernels compiled or loaded in {result['compile_or_load_cpu_s']:.1f} s CPU")
    for name, sample in result["samples"].items():
        print(
            f"\n{name}: {sample['events']} events of {sample['hits_per_event']:.0f} hits, "
            f"{sample['cpu_us_per_hit']:.2f} microseconds per hit"
        )
        for figure, before in sample["before"].items():
            print(f"  {figure:28} {before:8.4f} -> {sample['after'][figure]:.4f}")


if __name__ == "__main__":
    main()
