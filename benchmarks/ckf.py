"""Reprints the comparison with the CKF of ACTS in docs/performance.md: efficiency, fakes, duplicates, CPU time.

    python benchmarks/ckf.py [--config NAME|FILE ...] [--quick] [--json FILE] [--markdown FILE] [--keep DIR]

Needs the extra [acts]. Simulates events of 10 to 10 000 particles (gun: pions, pT 0.5-10 GeV, |eta| < 3) and
ttbar events with pile-up 50 and 200, all with 15% noise hits, in the GenericDetector of ACTS; finds their tracks with
the tuned CKF and with our job configurations, all from the same files with one thread; and compares them
with `mltrack compare`. Where a job refuses the events the table says why. Takes four
minutes of CPU time, with --quick 40 s.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mltrack_plugin.evaluation.intervals import bootstrap_fractions

#: Noise hits over hits of particles.
NOISE = 0.15
#: Particles that are asked for: GeV, pseudorapidity.
MIN_PT, MAX_ETA = 0.5, 3.0
#: Columns with rates in percent: title, then where the rate is in a collection of the comparison.
RATES = {
    "efficiency": ("rates", "efficiency"),
    "fakes, strict": ("definitions", "strict", "fake_rate"),
    "fakes, ACTS": ("definitions", "acts", "fake_rate"),
    "duplicates": ("rates", "duplicate_rate"),
}
#: Jobs that are measured unless others are named.
CONFIGS = ("encemb-generic", "follow-generic")


@dataclasses.dataclass(frozen=True)
class Sample:
    """Events of one size."""

    name: str
    dataset: str
    options: tuple[str, ...]
    events: int
    quick_events: int


def gun(particles: int, vertices: int, events: int, quick_events: int = 0) -> Sample:
    """Events of the particle gun with fixed numbers of particles and vertices."""
    options = ("--tracks", f"{particles}-{particles}", "--vertices", f"{vertices}-{vertices}")
    return Sample(f"{particles} particles", "acts-gun", options, events, quick_events)


def ttbar(pileup: int, events: int, quick_events: int = 0) -> Sample:
    """Top-quark pairs with pile-up."""
    return Sample(f"ttbar, pile-up {pileup}", "acts-ttbar", ("--pileup", str(pileup)), events, quick_events)


#: As many events as fit the running time: 4000 particles or more in every full sample.
SAMPLES = (
    gun(10, 1, 400, 50),
    gun(50, 5, 200, 10),
    gun(200, 10, 60, 4),
    gun(500, 20, 30),
    gun(2000, 100, 10),
    gun(10000, 200, 4),
    ttbar(50, 10, 1),
    ttbar(200, 5),
)


class Refused(Exception):
    """A command ended with an error; its message is the reason."""


def mltrack(*arguments: str, limit_s: float | None = None) -> str:
    """Run a command of this package with one thread and return what it prints.

    Raises:
        Refused: with the error message, if the command fails or takes longer than ``limit_s``.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mltrack_plugin", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"not finished after {limit_s:.0f} s") from None
    if done.returncode:
        raise Refused(done.stderr.rpartition("mltrack: error: ")[2].strip())
    return done.stdout


def measure(sample: Sample, n: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Simulate, find tracks twice and compare; the entry of the sample in the JSON output."""
    name = sample.name.replace(" ", "-").replace(",", "")
    events, ckf = (folder / f"{name}.{kind}.root" for kind in ("events", "ckf"))
    split = ("--split", "test", "--seed", str(options.seed), "--events", str(n))
    simulated = ("simulate", sample.dataset, *split, *sample.options, "--noise", str(NOISE))
    mltrack(*simulated, "--output", str(events), "--overwrite")
    mltrack("reference", "ckf", "--input", str(events), "--output", str(ckf), "--overwrite")
    result: dict[str, Any] = {"sample": sample.name, "dataset": sample.dataset, "events": n, "jobs": {}}
    for config in options.config:
        ours = folder / f"{name}.{Path(config).stem}.root"
        try:
            job = ("run", "--input", str(events), "--config", config, "--output", str(ours))
            mltrack(*job, "--timing", "--on-error", "skip", "--overwrite", limit_s=options.limit)
            found = compare(ours, ckf, events, options)
            side, result["ckf"] = found["collections"]
            result["jobs"][config] = {
                "found": side,
                "left_out": found["left_out"],
                "cpu_ratio": ratio(side, result["ckf"]),
            }
        except Refused as refusal:
            result["ckf"] = compare(ckf, ckf, events, options)["collections"][1]
            # The message names the file and counts the events; what matters is the reason.
            result["jobs"][config] = {"found": None, "refused": str(refusal).rpartition("The first, ")[2]}
    hits = [hits for hits, _ in result["ckf"]["time"]["points"]]
    result["hits_per_event"] = sum(hits) / len(hits)
    return result


def compare(tracks: Path, reference: Path, truth: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All numbers of `mltrack compare`."""
    files = ("--tracks", str(tracks), "--reference", str(reference), "--truth", str(truth))
    cuts = ("--min-pt", str(MIN_PT), "--max-eta", str(MAX_ETA), "--min-hits", str(options.min_hits))
    text = mltrack("compare", *files, "--label", "ours", "--label", "CKF", *cuts, "--json")
    return dict(json.loads(text))


def ratio(ours: dict[str, Any], ckf: dict[str, Any]) -> dict[str, float | None] | None:
    """CPU time of ours over that of the CKF, with the interval of a bootstrap over the events of both."""
    import numpy as np

    if ours["time"] is None:
        return None
    pair = [np.array([[ms] for _, ms in side["time"]["points"]]) for side in (ours, ckf)]
    low, high = (float(end[0]) for end in bootstrap_fractions(*pair))
    return {
        "value": float(pair[0].sum() / pair[1].sum()),
        "low": None if np.isnan(low) else low,
        "high": None if np.isnan(high) else high,
    }


def rows(result: dict[str, Any]) -> list[list[str]]:
    """Lines of the table: one for each job, then the CKF's."""
    lines = []
    for name, job in [*result["jobs"].items(), ("CKF, tuned", {"found": result["ckf"]})]:
        line = ["", "", name] if lines else [result["sample"], f"{result['hits_per_event']:.0f}", name]
        side = job["found"]
        if side is None:
            # The first sentence; the advice that follows is in the JSON.
            reason = job["refused"].partition(". ")[0]
            lines.append([*line, f"refused: {reason}", *[""] * (len(RATES) + 1)])
            continue
        for path in RATES.values():
            entry = side
            for key in path:
                entry = entry[key]
            line.append(interval(entry["value"], entry["low"], entry["high"], 100, 2))
        taken = side["time"]
        digits = 2 if taken["mean_ms"] < 10 else 1 if taken["mean_ms"] < 100 else 0
        line.append(interval(taken["mean_ms"], taken["low"], taken["high"], 1, digits))
        times = job.get("cpu_ratio")
        line.append(interval(times["value"], times["low"], times["high"], 1, 2) if times else "")
        lines.append(line)
    return lines


def interval(value: float | None, low: float | None, high: float | None, factor: float, digits: int) -> str:
    """``value +up -down``; the value alone where there is no interval."""
    if value is None:
        return "-"
    text = f"{factor * value:.{digits}f}"
    if low is None or high is None:
        return text
    up, down = factor * (high - value), factor * (value - low)
    return f"{text} +{up:.{digits}f} -{down:.{digits}f}"


def table(results: list[dict[str, Any]]) -> str:
    """The comparison as a Markdown table."""
    head = ["events", "hits", "finder", *(f"{title}, %" for title in RATES), "CPU ms/event", "time / CKF"]
    lines = [head, ["---"] * len(head), *(line for result in results for line in rows(result))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config", nargs="+", default=CONFIGS, metavar="JOB", help="job configurations, names or files"
    )
    parser.add_argument(
        "--min-hits", type=int, default=4, help="hits of particles asked for and tracks credited"
    )
    parser.add_argument("--limit", type=float, default=200.0, help="seconds that our job may take per sample")
    parser.add_argument("--seed", type=int, default=2027)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller events, one minute")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--markdown", type=Path, help="write the table to this file, too")
    parser.add_argument("--keep", type=Path, help="keep events and tracks in this folder")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for sample in SAMPLES:
            if n := sample.quick_events if options.quick else sample.events:
                began = time.monotonic()
                results.append(measure(sample, n, options, folder))
                print(f"{sample.name}: {n} events, {time.monotonic() - began:.0f} s", file=sys.stderr)
    settings = {
        "config": list(options.config),
        "seed": options.seed,
        "noise": NOISE,
        "min_pt": MIN_PT,
        "max_eta": MAX_ETA,
        "min_hits": options.min_hits,
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    print(f"\nThe same events, one thread each, {platform.machine()}; times relative to the tuned CKF;")
    print(f"particles of pT > {MIN_PT} GeV, |eta| < {MAX_ETA:g}, at least {options.min_hits} hits.\n")
    text = table(results)
    print(text)
    if options.markdown is not None:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json is not None:
        options.json.write_text(json.dumps({**settings, "samples": results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
