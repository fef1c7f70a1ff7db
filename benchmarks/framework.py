"""Reprints what the framework itself costs, as ratios measured in one run (goals and meaning: docs/performance.md).

    python benchmarks/framework.py [--config NAME] [--model NAME|FILE] [--repeat 3] [--json FILE]

Simulates events, then measures in fresh processes with one thread: the framework's share of a job's CPU time,
reading against plain uproot.iterate, peak memory at 100 and 1000 events, and the time to start. CPU times are
compared, not wall times, so a busy machine disturbs little. Takes two minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The steps of a job that are not the framework.
MODEL, CLUSTERING, SCORES, FIT = "encreg", "hdbscan", "ScoreCollector", "fit-kalman"
#: Packages that take long to import and have no business in ``mltrack --help``.
HEAVY = ("torch", "awkward", "uproot", "hdbscan", "sklearn", "scipy", "pyarrow", "vector", "matplotlib")
HEAVY += ("lightning", "acts", "onnx", "onnxruntime")
#: Events of the jobs; more than the second only to see that memory does not grow.
FEW, MANY, MORE = 100, 1000, 3000
#: Goals: shares and ratios; MB that more events may need (two chunks of the reader and one buffer of the
#: writer, all of fixed size, are filled); s.
GOALS = {"framework_share": 0.05, "reading_ratio": 1.20, "memory_growth_mb": 48.0, "help_s": 0.5}
Result = dict[str, Any]


def job(path: str, config: str, model: str | None) -> Result:
    """What ``mltrack run`` does, with the CPU time of its parts in ms per event."""
    from rich.console import Console

    from mltrack_plugin import Sequencer
    from mltrack_plugin.cli.job_display import progress
    from mltrack_plugin.evaluation.collect import ScoreCollector, truth_keys
    from mltrack_plugin.jobs.run import make_writers, open_input

    reader: Any
    reader, (_, _, settings) = open_input(path, job=config)
    first_event: list[float] = []
    events = reader.events
    reader.events = lambda start, stop: first_event.append(time.process_time()) or events(start, stop)
    with tempfile.TemporaryDirectory() as folder, progress(Console(file=sys.stderr)) as show:
        sequencer = Sequencer(progress=show).add_reader(reader)
        for algorithm in settings.algorithms(model=model, detector=reader.detector):
            sequencer.add_algorithm(algorithm)
        for writer in make_writers(settings, Path(folder) / "tracks.root", None, False):
            sequencer.add_writer(writer)
        sequencer.add_writer(ScoreCollector({**truth_keys(reader), "detector": reader.detector}))
        summary = sequencer.run()
    loop = 1e3 * (time.process_time() - first_event[0]) / summary.events
    steps = {step.name: 1e3 * step.cpu_s / summary.events for step in summary.steps}
    steps["between steps"] = loop - sum(steps.values())
    # Scoring is left out on both sides: events from a detector carry no truth.
    reconstruction = loop - steps[SCORES]
    framework = reconstruction - steps[MODEL] - steps[CLUSTERING]
    return {
        "events": summary.events,
        "hits_per_event": summary.hits / summary.events,
        "start_cpu_s": first_event[0],
        "steps_cpu_ms": steps,
        "framework_cpu_ms": framework,
        "framework_share": framework / reconstruction,
        "framework_share_without_fit": (framework - steps.get(FIT, 0.0)) / reconstruction,
        "fit_share": steps.get(FIT, 0.0) / reconstruction,
        "scores_share": steps[SCORES] / loop,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def reading(path: str, repeat: int) -> Result:
    """CPU time in ms per event of this package's reader and of plain uproot.iterate, taking turns.

    Both read the same branches of the same open file; opening, which costs the same for files of any
    length, is given apart.
    """
    import uproot

    from mltrack_plugin import open_events

    reader: Any = open_events(path)
    reader.initialize()
    branches: dict[str, list[str]] = {}
    for column in reader.column_info():
        branches.setdefault(column.table, []).append(column.name)
    n = reader.num_events()
    times: dict[str, list[float]] = {"open": [], "reader": [], "iterate": []}

    def clock(name: str) -> None:
        times[name].append(1e3 * (time.process_time() - began))

    for _ in range(4 * repeat):
        # Opened anew every time, because uproot keeps arrays in a cache of the file.
        reader.finalize()
        began = time.process_time()
        reader.initialize()
        clock("open")
        began = time.process_time()
        for _ in reader.events(0, n):
            pass
        clock("reader")
        with uproot.open(path) as file:
            trees = [(file[table], names) for table, names in branches.items()]
            began = time.process_time()
            for tree, names in trees:
                for _ in tree.iterate(names, step_size="16 MB"):
                    pass
            clock("iterate")
    # The first round is the one that imports.
    ratios = [a / b for a, b in zip(times["reader"][1:], times["iterate"][1:], strict=True)]
    return {
        "events": n,
        "open_cpu_ms": statistics.median(times["open"][1:]),
        "reader_cpu_ms": statistics.median(times["reader"][1:]) / n,
        "iterate_cpu_ms": statistics.median(times["iterate"][1:]) / n,
        "reading_ratio": statistics.median(ratios),
    }


def start(repeat: int) -> Result:
    """Wall time in s of ``mltrack --help`` and of Python alone, and the heavy packages that it imports."""
    program = [sys.executable, "-m", "mltrack_plugin", "--help"]
    commands = {"help_s": program, "python_s": [sys.executable, "-c", "pass"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(2 * repeat + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - began)
    code = "import sys; from mltrack_plugin.cli.main import main; main(['--help']); print(*sys.modules)"
    listing = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = sorted(set(listing.stdout.splitlines()[-1].split()) & set(HEAVY))
    return {**{name: statistics.median(values) for name, values in times.items()}, "heavy_imports": heavy}


MEASUREMENTS: dict[str, Callable[..., Result]] = {"job": job, "reading": reading, "start": start}


def measured(name: str, *arguments: Any) -> Result:
    """Result of a measurement made in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, __file__, "--measure", json.dumps([name, *arguments])]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(json.loads(child.stdout.splitlines()[-1]))


def medians(results: list[Result]) -> Result:
    """Median of every number over equal measurements."""
    first = results[0]
    return {
        key: medians([result[key] for result in results])
        if isinstance(value, dict)
        else statistics.median(result[key] for result in results)
        for key, value in first.items()
    }


def simulate(dataset: str, events: int, file_format: str, path: Path) -> str:
    """Write events with this package's simulation."""
    options = ("--events", str(events), "--seed", "1", "--split", "validation", "--format", file_format)
    command = [sys.executable, "-m", "mltrack_plugin", "simulate", dataset, *options, "--output", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return str(path)


def measure(configs: list[str], model: str | None, repeat: int, folder: Path) -> Result:
    """All figures."""
    from mltrack_plugin.jobs.config import load_job

    result: Result = {"goals": GOALS, "start": measured("start", repeat), "reading": {}, "jobs": {}}
    for config in configs:
        dataset = load_job(config).datasets[0]
        counts = (FEW, MANY, MORE) if config == configs[0] else (FEW,)
        files = {n: simulate(dataset, n, "root", folder / f"{dataset}-{n}.root") for n in counts}
        if config == configs[0]:
            ntuple = simulate(dataset, MORE, "rntuple", folder / f"{dataset}-rntuple.root")
            for kind, path in {"TTree": files[MORE], "RNTuple": ntuple}.items():
                result["reading"][kind] = measured("reading", path, repeat)
        longest = min(max(counts), MANY)
        runs = [measured("job", files[longest], config, model) for _ in range(repeat)]
        memory = {str(n): measured("job", files[n], config, model)["peak_memory_mb"] for n in counts}
        result["jobs"][config] = medians(runs) | {"peak_memory_mb": memory}
        result["jobs"][config]["memory_growth_mb"] = max(memory.values()) - memory[str(FEW)]
    return result


def report(result: Result) -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, goal."""

    def goal(name: str, value: float, text: str) -> str:
        return f"{text}: {'met' if value < GOALS[name] else 'missed'}"

    rows = []
    begin = result["start"]
    rows.append(
        ("mltrack --help", f"{begin['help_s']:.2f} s", goal("help_s", begin["help_s"], "under 0.5 s"))
    )
    heavy = ", ".join(begin["heavy_imports"]) or "none"
    rows.append(("  heavy packages imported", heavy, f"none: {'met' if heavy == 'none' else 'missed'}"))
    for kind, read in result["reading"].items():
        ratio = read["reading_ratio"]
        rows.append(
            (f"reading / uproot.iterate, {kind}", f"{ratio:.2f}", goal("reading_ratio", ratio, "under 1.20"))
        )
        rows.append(("  opening", f"{read['open_cpu_ms']:.0f} ms per file", ""))
    for config, figures in result["jobs"].items():
        share = figures["framework_share"]
        rows.append((f"{config}, {figures['hits_per_event']:.0f} hits per event", "", ""))
        rows.append(("  framework", f"{share:.1%}", goal("framework_share", share, "under 5%")))
        if figures["fit_share"]:
            rows.append(("    of which track fit", f"{figures['fit_share']:.1%}", ""))
        for name, milliseconds in figures["steps_cpu_ms"].items():
            rows.append((f"    {name}", f"{milliseconds:.3f} ms", ""))
        rows.append(("  scoring, share of a job with truth", f"{figures['scores_share']:.1%}", ""))
        peaks = figures["peak_memory_mb"]
        if len(peaks) > 1:
            values = " ".join(f"{peak:.0f}" for peak in peaks.values())
            met = goal("memory_growth_mb", figures["memory_growth_mb"], "within 48 MB")
            rows.append((f"  peak memory, {', '.join(peaks)} events", f"{values} MB", met))
        rows.append(("  start of the job (imports, model)", f"{figures['start_cpu_s']:.1f} s CPU", ""))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", action="append", help="shipped job configuration (may be repeated)")
    parser.add_argument("--model", help="model instead of the one that the configurations name")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *arguments = json.loads(options.measure)
        print(json.dumps(MEASUREMENTS[name](*arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        configs = options.config or ["encreg-redvid-10-50-linear"]
        result = measure(configs, options.model, options.repeat, Path(folder))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    rows = report(result)
    width = max(len(row[0]) for row in rows)
    for what, value, wanted in rows:
        print(f"{what:{width}}  {value:>18}  {wanted}".rstrip())


if __name__ == "__main__":
    main()
