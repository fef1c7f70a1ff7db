"""Reprints the table of scores in the README: shipped models on test events that nothing was tuned on.

    python benchmarks/scores.py [--events 500] [--seed 2026] [--output DIR]

The events are the first of split "test" with this seed; splits never share a source event. Takes a few minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

#: Model -> (data set, published FitAccuracy, perfect match, LHC-style, double majority) of EncReg, in percent.
PUBLISHED = {
    "encreg-redvid-10-50-linear": ("redvid-10-50-linear", 97, 94, 97, 98),
    "encreg-redvid-10-50-helical": ("redvid-10-50-helical", 92, 78, 94, 96),
    "encreg-trackml-10-50": ("trackml-10-50", 93, 78, 91, 97),
}
SCORES = (
    "trackml_score",
    "perfect_match_efficiency",
    "lhc_match_efficiency",
    "double_majority_efficiency",
)
MORE = ("efficiency", "fake_rate", "duplicate_rate")
TIMES = ("cpu_ms_model", "cpu_ms_clustering", "cpu_ms_total")


def mltrack(*arguments: str) -> None:
    """Run a command of this package."""
    subprocess.run([sys.executable, "-m", "mltrack_plugin", *arguments], check=True)


def measure(model: str, events: int, seed: int, folder: Path) -> dict[str, float]:
    """Simulate, reconstruct and score the test events of a model."""
    dataset = PUBLISHED[model][0]
    path, report = folder / f"{dataset}.root", folder / f"{model}.json"
    split = ("--split", "test", "--seed", str(seed), "--events", str(events))
    mltrack("simulate", dataset, *split, "--output", str(path), "--overwrite")
    mltrack("evaluate", "--input", str(path), "--config", model, "--json", str(report))
    return dict(json.loads(report.read_text(encoding="utf-8")))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--output", type=Path, help="keep events and reports in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = {model: measure(model, options.events, options.seed, folder) for model in PUBLISHED}
    print(
        f"\n{options.events} test events each, seed {options.seed}, {platform.processor() or platform.machine()}"
    )
    print("In percent, ours (published); CPU times in ms per event, one thread.\n")
    head = ("model", "TrackML score", "perfect", "LHC-style", "double majority")
    print("| " + " | ".join((*head, *MORE, *TIMES)) + " |")
    print("|---" * (len(head) + len(MORE) + len(TIMES)) + "|")
    for model, result in results.items():
        published = PUBLISHED[model][1:]
        scores = [f"{100 * result[s]:.1f} ({p})" for s, p in zip(SCORES, published, strict=True)]
        more = [f"{100 * result[name]:.1f}" for name in MORE]
        times = [f"{result[name]:.1f}" for name in TIMES]
        print("| " + " | ".join((f"`{model}`", *scores, *more, *times)) + " |")


if __name__ == "__main__":
    main()
