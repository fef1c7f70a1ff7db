"""Reprints the calibration in docs/performance.md: memberships and qualities as probabilities, width of pulls.

    python benchmarks/calibration.py [--config JOB] [--seed 2027] [--split test] [--picture FILE] [--json FILE]

A membership should be the probability that the hit is of its track's majority particle, a quality that the track is
matched (more than half of its hits from one particle). Pulls are those of matched tracks of pure hits, six or more,
from particles with pT > 0.5 GeV made within 10 mm of the beam axis. Needs the extra [acts], --picture [plot].
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.evaluation.calibration import expected_calibration_error, reliability
from mltrack_plugin.evaluation.efficiency import is_matched
from mltrack_plugin.evaluation.matching import match_hit_lists
from mltrack_plugin.event_data import Tracks
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.helix.helix import wrap_angle
from mltrack_plugin.helix.perigee import true_perigee
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent

Array = np.ndarray[Any, Any]

FIELD_Z = 2.0
#: Name -> data set, settings, number of events.
SAMPLES: dict[str, tuple[str, dict[str, Any], int]] = {
    "gun, 50 pions": ("acts-gun", {"tracks": (50, 50), "vertices": (5, 5), "noise": 0.15}, 40),
    "gun, 500 pions": ("acts-gun", {"tracks": (500, 500), "vertices": (20, 20), "noise": 0.15}, 8),
    "gun, 2000 pions": ("acts-gun", {"tracks": (2000, 2000), "vertices": (100, 100), "noise": 0.15}, 2),
    "trackml-10-50": ("trackml-10-50", {}, 100),
    "trackml-200-500": ("trackml-200-500", {}, 12),
    "ttbar, pile-up 50": ("acts-ttbar", {"pileup": 50, "noise": 0.15}, 1),
}


def tracks_of(event: SimulatedEvent, steps: list[Any]) -> Tracks:
    """What the job finds."""
    store = EventStore()
    store.add("hits", event.hits)
    for step in steps:
        step.execute(store)
    return store.get("tracks", Tracks)


def outcomes(event: SimulatedEvent, tracks: Tracks) -> tuple[Array, Array, Array]:
    """(n_entries,) hit is of the majority particle, (n_tracks,) track is matched, (m, 5) pulls."""
    truth, particles = event.truth_links.particle_id, event.particles
    found = match_hit_lists(tracks.offsets, tracks.hit_indices, truth)
    majority = found.particle_ids[np.maximum(found.track_particle, 0)]
    right = truth[tracks.hit_indices] == np.repeat(majority, np.diff(tracks.offsets))
    right &= np.repeat(found.track_particle >= 0, np.diff(tracks.offsets))
    order = np.argsort(particles.particle_id)
    row = order[np.searchsorted(particles.particle_id[order], majority).clip(max=len(order) - 1)]
    vertex = np.stack([particles.vx, particles.vy, particles.vz], axis=1)[row]
    momentum = np.stack([particles.px, particles.py, particles.pz], axis=1)[row]
    expected = true_perigee(vertex, momentum, particles.q[row], FIELD_Z)
    difference = np.stack([getattr(tracks, name) for name in PERIGEE_PARAMETERS], axis=1) - expected
    difference[:, 2] = wrap_angle(difference[:, 2])
    pulls = difference / np.sqrt(np.einsum("tii->ti", tracks.covariance))
    good = (found.purity == 1) & (found.track_n_hits >= 6) & (np.hypot(*momentum[:, :2].T) > 0.5)
    good &= (np.hypot(*vertex[:, :2].T) < 10) & np.isfinite(pulls).all(axis=1)
    return right, is_matched(found), pulls[good]


def measure(config: str, split: str, seed: int) -> dict[str, dict[str, Any]]:
    """All figures, by sample."""
    steps = list(load_job(config).algorithms(detector="generic"))
    for step in steps:
        step.initialize()
    result = {}
    for name, (dataset, settings, n) in SAMPLES.items():
        source = make_dataset(dataset, settings)
        parts: list[list[Array]] = [[] for _ in range(5)]
        for index in range(n):
            event = source.event(index, seed=seed, split=split)
            tracks = tracks_of(event, steps)
            for part, values in zip(
                parts, (tracks.membership, tracks.quality, *outcomes(event, tracks)), strict=True
            ):
                part.append(np.asarray(values))
        membership, quality, right, matched, pulls = (np.concatenate(part) for part in parts)
        low, high = np.quantile(pulls, [0.15865, 0.84135], axis=0)
        result[name] = {
            "events": n,
            "ece_membership": expected_calibration_error(membership, right),
            "ece_quality": expected_calibration_error(quality, matched),
            "pull_width_68": dict(zip(PERIGEE_PARAMETERS, ((high - low) / 2).tolist(), strict=True)),
            "pull_mean": dict(zip(PERIGEE_PARAMETERS, np.median(pulls, axis=0).tolist(), strict=True)),
            "tracks": len(quality),
            "reliability": {
                key: {field: getattr(curve, field).tolist() for field in ("count", "predicted", "observed")}
                for key, curve in (
                    ("membership", reliability(membership, right, 10)),
                    ("quality", reliability(quality, matched, 10)),
                )
            },
        }
    return result


def draw(result: dict[str, dict[str, Any]], path: Path) -> None:
    """Reliability of all samples: observed against predicted, with binomial errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("membership", "quality"), strict=True):
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        for name, sample in result.items():
            curve = {field: np.array(values) for field, values in sample["reliability"][key].items()}
            some = curve["count"] >= 10
            p, n = curve["observed"][some], curve["count"][some]
            error = np.sqrt(np.maximum(p * (1 - p), 1 / n) / n)
            axes.errorbar(curve["predicted"][some], p, error, marker="o", markersize=3, label=name)
        axes.set(xlabel=key, ylabel="observed", xlim=(0, 1.02), ylim=(0, 1.05))
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="encemb-generic", help="job configuration, name or file")
    parser.add_argument("--seed", type=int, default=2027)
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the reliability, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures, too")
    options = parser.parse_args()
    result = measure(options.config, options.split, options.seed)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        draw(result, options.picture)
    print(f"\n{options.config}, split {options.split}, seed {options.seed}\n")
    print(
        "| events | tracks | ECE of memberships | ECE of qualities | width of pulls d0, z0, phi, theta, q/p |"
    )
    print("|---|---|---|---|---|")
    for name, sample in result.items():
        widths = ", ".join(f"{width:.2f}" for width in sample["pull_width_68"].values())
        print(
            f"| {name} | {sample['tracks']} | {sample['ece_membership']:.4f} | {sample['ece_quality']:.4f} | {widths} |"
        )


if __name__ == "__main__":
    main()
