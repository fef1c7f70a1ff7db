"""Trains shipped models anew, from nothing, and compares the weights with the shipped ones.

    python benchmarks/reproduce.py [NAME ...] --output DIR [--json]

For each model `mltrack train NAME --threads 1` in DIR/NAME; an interrupted training goes on, a finished one is not
repeated. A training that starts from the weights of another model starts from the shipped ones. The same processor and
release of torch give the same weights bit for bit; others give other roundings, which grow over thousands of steps,
and a model of the same quality. All models together take several hours of one core. Some configurations of HEP.TrkX
say in a comment that the shipped weights saw another schedule for a part of their training: those differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mltrack_plugin.archives.checkpoint import load_checkpoint
from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.archives.manifest import available_models
from mltrack_plugin.training.config import load_training_config

#: A shipped model is the last checkpoint of its training, or the best one by validation score.
CHECKPOINTS = ("last.ckpt", "best.ckpt")


def trained(name: str, folder: Path) -> None:
    """Train the model, or go on; nothing is done if its last checkpoint has all steps."""
    last = folder / "last.ckpt"
    resume = []
    if last.exists():
        if load_checkpoint(last)[1].metrics["steps"] >= load_training_config(name).steps:
            return
        resume = ["--resume"]
    command = ["train", name, "--threads", "1", "--device", "cpu", "--output", str(folder), *resume]
    # The standard output is for the table, or the JSON.
    subprocess.run([sys.executable, "-m", "mltrack_plugin", *command], check=True, stdout=sys.stderr)


def difference(theirs: dict[str, Tensor], mine: dict[str, Tensor]) -> float:
    """Largest difference between the weights of two networks; infinite if these differ in shape."""
    if {key: value.shape for key, value in theirs.items()} != {
        key: value.shape for key, value in mine.items()
    }:
        return float("inf")
    return max(
        0.0 if torch.equal(value, mine[key]) else float((value.double() - mine[key].double()).abs().max())
        for key, value in theirs.items()
    )


def compared(name: str, folder: Path) -> dict[str, Any]:
    """What the training gave beside what is shipped."""
    network, shipped = eager_network(name)
    weights = network.state_dict()
    candidates = []
    for file in CHECKPOINTS:
        network, card = load_checkpoint(folder / file)
        candidates.append((difference(weights, network.state_dict()), file, card))
    largest, file, card = min(candidates, key=lambda candidate: candidate[0])
    return {
        "model": name,
        "checkpoint": file,
        "steps": int(card.metrics["steps"]),
        "minutes": card.training_recipe["wall_time_s"] / 60,
        "machine": card.training_recipe["machine"],
        # Cards of older models do not name them.
        "shipped_minutes": shipped.training_recipe.get("wall_time_s", float("nan")) / 60,
        "shipped_machine": shipped.training_recipe.get("machine"),
        "largest_difference": largest,
    }


def main() -> None:
    """Train, compare and print a table; exit with 1 if a model differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="shipped models; default: all")
    parser.add_argument("--output", type=Path, required=True, help="trainings; kept, and gone on with")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    rows = []
    for name in options.names or available_models():
        trained(name, options.output / name)
        rows.append(compared(name, options.output / name))
        if options.json:
            continue
        if len(rows) == 1:
            print("| model | checkpoint | steps | minutes (shipped) | weights |\n|---|---|---|---|---|")
        row = rows[-1]
        same = row["largest_difference"]
        print(
            f"| `{name}` | {row['checkpoint']} | {row['steps']} | {row['minutes']:.0f} "
            f"({row['shipped_minutes']:.0f}) | {'the same bits' if same == 0 else f'up to {same:.2g} apart'} |",
            flush=True,
        )
    if options.json:
        print(json.dumps(rows, indent=1))
    sys.exit(any(row["largest_difference"] != 0 for row in rows))


if __name__ == "__main__":
    main()
