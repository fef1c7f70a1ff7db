"""Reprints the figures of docs/heptrkx.md: published beside those of the shipped models, on events simulated now.

    python benchmarks/heptrkx.py [--events 200] [--seed 2026] [--systems graphs|sequences|images] [--output DIR]

The options are those of `mltrack benchmark heptrkx`, which this runs; pictures and the table as JSON go to DIR. Needs
the extras [acts] and [plot]. All systems take a quarter of an hour of one core.
"""

from __future__ import annotations

import sys

from mltrack_plugin.cli.main import cli

if __name__ == "__main__":
    cli(["benchmark", "heptrkx", *sys.argv[1:]])
