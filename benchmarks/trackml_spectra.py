"""Spectra of simulated TrackML-like particles beside a real TrackML event (tables of docs/datasets.md).

    python benchmarks/trackml_spectra.py TRACKML_DIRECTORY [--sources N] [--bank-dir DIR]

The directory needs one event's hits and particles (truth is not needed), plain or gzipped. Selection of both:
charged, pT > 150 MeV, |eta| < 4, at least one hit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.csv

from mltrack_plugin.simulation.datasets import make_dataset

QUANTILES = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)


def real_particles(directory: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of the selected particles of the first event, and the volume of each of its hits."""
    (particles_file, *_) = sorted(directory.glob("event*-particles.csv*"))
    (hits_file, *_) = sorted(directory.glob("event*-hits.csv*"))
    table = pyarrow.csv.read_csv(particles_file)
    columns = {name: table[name].to_numpy() for name in table.schema.names}
    pt = np.hypot(columns["px"], columns["py"])
    keep = (columns["nhits"] > 0) & (pt > 0.15) & (np.abs(columns["pz"]) < np.sinh(4.0) * pt)
    volume = pyarrow.csv.read_csv(hits_file)["volume_id"].to_numpy()
    return spectra(*(columns[n][keep] for n in ("vx", "vy", "vz", "px", "py", "pz", "nhits"))), volume


def spectra(vx, vy, vz, px, py, pz, n_hits) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    """What is compared, per particle."""
    pt = np.hypot(px, py)
    return {
        "pT, GeV": pt,
        "abs(eta)": np.abs(np.arcsinh(pz / pt)),
        "hits": n_hits.astype(float),
        "vertex r, mm": np.hypot(vx, vy),
        "vertex abs(z), mm": np.abs(vz),
    }


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--sources", type=int, default=4)
    parser.add_argument("--bank-dir", type=Path)
    options = parser.parse_args()

    settings = {"sources": options.sources, "bank_dir": options.bank_dir}
    bank = make_dataset("trackml-10-50", settings).bank(1, "test")
    simulated = spectra(*bank.vertex.T, *bank.momentum.T, bank.n_hits)
    real, real_volume = real_particles(options.directory)

    print("| quantity | events | mean |" + "".join(f" {q:.0%} |" for q in QUANTILES))
    print("|---|---|---|" + "---|" * len(QUANTILES))
    for name in real:
        for events, values in (("real", real[name]), ("simulated", simulated[name])):
            numbers = [values.mean(), *np.quantile(values, QUANTILES)]
            print(f"| {name} | {events} | " + " | ".join(f"{v:.3g}" for v in numbers) + " |")

    shares = {
        "vertex r > 1 mm": lambda s, v: (s["vertex r, mm"] > 1).mean(),
        "vertex r > 30 mm": lambda s, v: (s["vertex r, mm"] > 30).mean(),
        "vertex r > 300 mm": lambda s, v: (s["vertex r, mm"] > 300).mean(),
        "fewer than 4 hits": lambda s, v: (s["hits"] < 4).mean(),
        "hits in pixel volumes 7, 8, 9": lambda s, v: np.isin(v, (7, 8, 9)).mean(),
        "hits in short-strip volumes 12, 13, 14": lambda s, v: np.isin(v, (12, 13, 14)).mean(),
        "hits in long-strip volumes 16, 17, 18": lambda s, v: np.isin(v, (16, 17, 18)).mean(),
    }
    volume = bank.geometry_id >> np.uint64(56)
    print("\n| share | real | simulated |\n|---|---|---|")
    for name, share in shares.items():
        print(f"| {name} | {share(real, real_volume):.3f} | {share(simulated, volume):.3f} |")
    per_event = np.diff(bank.source_offsets).mean()
    print(f"| particles per event | {len(real['hits'])} | {per_event:.0f} |")


if __name__ == "__main__":
    main()
