"""A published figure beside ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the benchmark's table."""

    #: Network or algorithm.
    system: str
    #: What is measured, with its unit.
    quantity: str
    #: As published; "-" where the authors gave no number.
    published: str
    #: Measured here.
    ours: float
    #: One standard deviation; 0 for exact numbers.
    uncertainty: float
    #: Data set of the simulation and what differs from its defaults.
    dataset: str
    #: Of the test events.
    seed: int


class Part(NamedTuple):
    """Lines of the table that are measured together."""

    #: What is measured, for the progress.
    label: str
    #: Measures them.
    rows: Callable[[], list[Row]]
