"""Reprints the table of EncDec in docs/models.md: tracks from true and from own seeds, on unseen test events.

    python benchmarks/encdec.py [--events 500] [--seed 2026] [--data NAME ...] [--output DIR]

"true seeds" is the published protocol: a track starts from the first hits of each particle, which have no weight in the
score. "own seeds" is the shipped job as `mltrack evaluate` scores it: all hits count. The events are the first of split
"test" with this seed.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.algorithms.truth_seeds import TruthSeeds
from mltrack_plugin.evaluation.intervals import bootstrap_fractions
from mltrack_plugin.evaluation.matching import match_tracks
from mltrack_plugin.evaluation.scores import fit_accuracy, trackml_score
from mltrack_plugin.evaluation.summary import hit_weights
from mltrack_plugin.event_data import ProtoTracks, Tracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io import open_events
from mltrack_plugin.jobs.config import load_job

#: Data set and the published FitAccuracy of EncDec on it in percent.
ROWS = {
    "redvid-10-50-linear": 93,
    "redvid-10-50-helical": 85,
    "redvid-50-100-helical": 85,
    "trackml-10-50": 26,
}
#: Hits of the true seeds.
SEED_HITS = (1, 3)


def mltrack(*arguments: str) -> None:
    """Run a command of this package."""
    subprocess.run([sys.executable, "-m", "mltrack_plugin", *arguments], check=True)


def from_true_seeds(
    job: str, path: Path, seed_hits: int, model: str | None
) -> dict[str, tuple[float, float]]:
    """Value and uncertainty of the scores without the seeds' hits, by name."""
    reader = open_events(str(path))
    algorithms = [TruthSeeds(seed_hits=seed_hits), *load_job(job).algorithms(device="cpu", model=model)]
    for step in (reader, *algorithms):
        step.initialize()
    scores = []
    for event in reader.events(0, reader.num_events()):
        if event.error is not None:
            raise event.error
        store = EventStore(event.event_number, str(path))
        for key, value in event.collections.items():
            store.add(key, value)
        for algorithm in algorithms:
            algorithm.execute(store)
        hits, truth = event.collections["hits"], event.collections["truth_links"]
        weights, _ = hit_weights(hits, truth, event.collections["particles"], reader.detector)
        counted = np.ones(len(hits)) if weights is None else np.array(weights, dtype=np.float64)
        counted[store.get("seeds", ProtoTracks).hit_indices] = 0.0
        labels = store.get("candidate_tracks", Tracks).labels(len(hits))
        matching = match_tracks(labels, truth.particle_id, counted)
        scores.append((trackml_score(matching), fit_accuracy(matching)))
    for step in (*algorithms, reader):
        step.finalize()
    found = {}
    for i, name in enumerate(("trackml_score", "fit_accuracy")):
        numerator, denominator = np.array([score[i] for score in scores]).T
        low, high = bootstrap_fractions(numerator[:, None], denominator[:, None])
        found[name] = (float(numerator.sum() / denominator.sum()), float(high[0] - low[0]) / 2.0)
    return found


def measure(dataset: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Simulate (once) the test events of a data set; all scores on them."""
    job, path, report = f"encdec-{dataset}", folder / f"{dataset}.root", folder / f"encdec-{dataset}.json"
    if not path.exists():
        split = ("--split", "test", "--seed", str(options.seed), "--events", str(options.events))
        mltrack("simulate", dataset, *split, "--output", str(path))
    model = options.models and str(options.models / f"{job}.pt")
    use = ("--model", model) if model else ()
    mltrack("evaluate", "--input", str(path), "--config", job, *use, "--json", str(report))
    true = {k: from_true_seeds(job, path, k, model) for k in SEED_HITS}
    return {"own": json.loads(report.read_text(encoding="utf-8")), "true": true}


def row(dataset: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    own, true = result["own"], result["true"]
    cells = [dataset, f"{100 * true[1]['trackml_score'][0]:.1f} ({ROWS[dataset]})"]
    cells += [f"{100 * true[1]['trackml_score'][1]:.1f}", f"{100 * true[1]['fit_accuracy'][0]:.1f}"]
    cells += [f"{100 * true[3]['trackml_score'][0]:.1f}"]
    names = (
        "trackml_score",
        "perfect_match_efficiency",
        "lhc_match_efficiency",
        "double_majority_efficiency",
    )
    cells += [f"{100 * own[name]:.1f}" for name in names]
    cells.append(f"{own['cpu_ms_total']:.0f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--data", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument(
        "--models", type=Path, help="archives NAME.pt in this folder instead of the shipped ones"
    )
    parser.add_argument("--output", type=Path, help="keep events (used again) and reports in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = {dataset: measure(dataset, options, folder) for dataset in options.data}
        if options.output:
            (folder / "encdec.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    print(f"\n{options.events} test events each, seed {options.seed}, {platform.machine()}. In percent.\n")
    head = ("events", "one true seed hit (published)", "+-", "FitAccuracy", "three true seed hits")
    head += ("own seeds", "perfect match", "LHC-style", "double majority", "CPU ms")
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for dataset, result in results.items():
        print(row(dataset, result))


if __name__ == "__main__":
    main()
