"""Reprints the table of scores in the README: shipped models on test events that nothing was tuned on.

    python benchmarks/scores.py [--events 500] [--seed 2026] [--output DIR]

The events are the first of split "test" with this seed; splits never share a source event. Takes about
20 minutes, most of them for the dense networks on 200-500 particles.
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

#: Job, data set, and the published figures of EncReg on it in percent, by key of the report.
ROWS = (
    ("encreg-redvid-10-50-linear", "redvid-10-50-linear", (97, 94, 97, 98)),
    ("encreg-redvid-10-50-helical", "redvid-10-50-helical", (92, 78, 94, 96)),
    ("encreg-redvid-50-100-helical", "redvid-50-100-helical", (85, 60, 89, 92)),
    ("encemb-redvid-10-50-linear", "redvid-10-50-linear", (97, 94, 97, 98)),
    ("encemb-redvid-helical", "redvid-10-50-helical", (92, 78, 94, 96)),
    ("encemb-redvid-helical", "redvid-50-100-helical", (85, 60, 89, 92)),
    ("encreg-trackml-10-50", "trackml-10-50", (93, 78, 91, 97)),
    ("encreg-trackml-200-500", "trackml-200-500", (70, 40, 75, 82)),
    ("encreg-fa-trackml-200-500", "trackml-200-500", (67, 36, 72, 79)),
    ("encemb-generic", "trackml-10-50", (93, 78, 91, 97)),
    ("encemb-generic", "trackml-200-500", (70, 40, 75, 82)),
)
#: Figures with a published counterpart, in its order, and further ones.
COMPARED = {
    "trackml_score": "TrackML score",
    "perfect_match_efficiency": "perfect match",
    "lhc_match_efficiency": "LHC-style",
    "double_majority_efficiency": "double majority",
}
FURTHER = {"fit_accuracy": "FitAccuracy", "efficiency": "efficiency", "fake_rate": "fakes"}


def mltrack(*arguments: str) -> None:
    """Run a command of this package."""
    subprocess.run([sys.executable, "-m", "mltrack_plugin", *arguments], check=True)


def measure(job: str, dataset: str, events: int, seed: int, folder: Path) -> dict[str, Any]:
    """Simulate (once), reconstruct and score the test events of a data set."""
    path, report = folder / f"{dataset}.root", folder / f"{job}.{dataset}.json"
    if not path.exists():
        split = ("--split", "test", "--seed", str(seed), "--events", str(events))
        mltrack("simulate", dataset, *split, "--output", str(path))
    mltrack("evaluate", "--input", str(path), "--config", job, "--json", str(report))
    return dict(json.loads(report.read_text(encoding="utf-8")))


def row(job: str, dataset: str, published: tuple[int, ...], result: dict[str, Any]) -> str:
    """One line of the table."""
    pairs = zip(COMPARED, published, strict=True)
    cells = [f"`{job}`", dataset, *(f"{100 * result[name]:.1f} ({value})" for name, value in pairs)]
    cells += [f"{100 * result[name]:.1f}" for name in FURTHER]
    cells.append(f"{result['cpu_ms_model']:.0f} + {result['cpu_ms_clustering']:.0f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--output", type=Path, help="keep events (used again) and reports in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = [measure(job, dataset, options.events, options.seed, folder) for job, dataset, _ in ROWS]
    print(f"\n{options.events} test events each, seed {options.seed}, {platform.machine()}.")
    print("In percent, ours (published EncReg); CPU ms per event, network + clustering, one thread.\n")
    head = ("job", "events", *COMPARED.values(), *FURTHER.values(), "CPU ms")
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for line, result in zip(ROWS, results, strict=True):
        print(row(*line, result))


if __name__ == "__main__":
    main()
