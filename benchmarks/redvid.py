"""Reprints what is reachable on REDVID's events and what each stage of the shipped jobs reaches.

    python benchmarks/redvid.py [--events 500] [--seed 2026] [--split test] [--limit-only]

The limit is an oracle: it knows the true parameters of all tracks and the layers that each crosses, and gives the hits
of each layer to its tracks by the largest likelihood, one hit per track. Uncertainties are statistical, one standard
deviation of the mean over events. Takes two minutes per data set.
"""

from __future__ import annotations

import argparse
import platform
import time
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from mltrack_plugin.evaluation.calibration import expected_calibration_error, reliability
from mltrack_plugin.evaluation.efficiency import METRICS
from mltrack_plugin.evaluation.matching import Matching, match_tracks
from mltrack_plugin.evaluation.scores import trackml_score
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.redvid import RedvidConfig, RedvidEvent, crossings, simulate_redvid

Array = np.ndarray[Any, Any]

#: Data set and the job for it.
ROWS = (
    ("redvid-10-50-linear", "encemb-redvid-10-50-linear"),
    ("redvid-10-50-helical", "encemb-redvid-helical"),
    ("redvid-50-100-helical", "encemb-redvid-helical"),
)
FIGURES = ("perfect_match_efficiency", "double_majority_efficiency", "fake_rate")
#: Collections of tracks that the jobs write, in order.
STAGES = {"clusters": "proto_tracks", "refined": "refined_tracks", "refitted": "tracks"}


def oracle(config: RedvidConfig, event: RedvidEvent) -> Array:
    """(n,) track of each hit by the largest likelihood, given the true parameters of all tracks."""
    track, layer, r, theta, z = crossings(config, event.parameters, event.theta_0)
    result = np.full(len(event.r), -1, dtype=np.int64)
    for number in np.unique(event.layer):
        rows, true = np.flatnonzero(event.layer == number), np.flatnonzero(layer == number)
        turn = event.theta[rows][:, None] - theta[true]
        chi2 = ((np.pi - (np.pi - turn) % (2 * np.pi)) / config.sigma_theta) ** 2
        chi2 += ((event.r[rows][:, None] - r[true]) / config.sigma_r) ** 2
        chi2 += ((event.z[rows][:, None] - z[true]) / config.sigma_z) ** 2
        chosen, of = linear_sum_assignment(chi2)
        result[rows[chosen]] = track[true[of]]
    return result


def line(name: str, matchings: list[Matching]) -> str:
    """Scores over all events, in percent."""
    scores = [trackml_score(m) for m in matchings]
    values = np.array([s.value for s in scores])
    cells = [f"{100 * values.mean():.2f} +- {100 * values.std() / len(values) ** 0.5:.2f}"]
    joined = Matching.join(matchings)
    cells += [f"{100 * METRICS[figure](joined, 4).fraction.value:.2f}" for figure in FIGURES]
    return f"| {name} | " + " | ".join(cells) + " |"


def true_members(tracks: ProtoTracks, matching: Matching, particle: Array) -> Array:
    """(n_assigned,) bool: the hit is of its track's majority particle."""
    own = np.zeros(len(tracks), dtype=np.uint64)
    found = matching.track_particle >= 0
    own[matching.track_labels[found]] = matching.particle_ids[matching.track_particle[found]]
    mine = particle[tracks.hit_indices]
    return (mine == own[tracks.track_of_entry()]) & (mine > 0)


def stages(dataset: str, job_name: str, options: argparse.Namespace) -> None:
    """Print scores, times and calibration of a job, stage by stage."""
    steps = load_job(job_name).algorithms(device="cpu", detector="redvid")
    for step in steps:
        step.initialize()
    source = make_dataset(dataset)
    matchings: dict[str, list[Matching]] = {stage: [] for stage in STAGES}
    shares: dict[str, list[Array]] = {stage: [] for stage in STAGES}
    truths: dict[str, list[Array]] = {stage: [] for stage in STAGES}
    spent = dict.fromkeys((step.outputs[0].key for step in steps), 0.0)
    n_hits = 0
    for index in range(options.events):
        event = source.event(index, seed=options.seed, split=options.split)
        store = EventStore()
        store.add("hits", event.hits)
        n_hits += len(event.hits)
        for step in steps:
            began = time.process_time()
            step.execute(store)
            spent[step.outputs[0].key] += time.process_time() - began
        particle = event.truth_links.particle_id
        for stage, key in STAGES.items():
            tracks = store.get(key, ProtoTracks)
            matching = match_tracks(tracks.labels(len(particle)), particle)
            matchings[stage].append(matching)
            shares[stage].append(np.asarray(tracks.membership))
            truths[stage].append(true_members(tracks, matching, particle))
    for stage in STAGES:
        share, true = np.concatenate(shares[stage]), np.concatenate(truths[stage])
        print(
            f"{line(stage, matchings[stage])} ECE of memberships {expected_calibration_error(share, true):.4f}"
        )
        table = reliability(share, true, 5)
        filled = table.count > 0
        print("  predicted", table.predicted[filled].round(3), "observed", table.observed[filled].round(3))
    per_hit = {key: f"{1e6 * value / n_hits:.1f}" for key, value in spent.items()}
    print(f"  CPU microseconds per hit ({n_hits / options.events:.0f} hits per event): {per_hit}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--dataset", choices=[name for name, _ in ROWS], help="only this one")
    parser.add_argument("--limit-only", action="store_true", help="no jobs")
    options = parser.parse_args()
    print(f"{options.events} events of split {options.split}, seed {options.seed}; {platform.machine()}")
    for name, job in ROWS:
        if options.dataset not in (None, name):
            continue
        print(f"\n{name}\n| | TrackML score | " + " | ".join(FIGURES) + " |")
        source = make_dataset(name)
        found = []
        for index in range(options.events):
            seed = source.entropy(index, options.seed, options.split)
            event = simulate_redvid(source.config, np.random.default_rng(np.random.SeedSequence(seed)))
            found.append(match_tracks(oracle(source.config, event), (event.track + 1).astype(np.uint64)))
        print(line("limit", found))
        if not options.limit_only:
            stages(name, job, options)


if __name__ == "__main__":
    main()
