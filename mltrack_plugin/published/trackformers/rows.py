"""The rows of the three tables: a published figure, ours of the same design, and that of this package's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mltrack_plugin.published.trackformers.designs import OWN
from mltrack_plugin.published.trackformers.measure import Figure, Measurement
from mltrack_plugin.published.trackformers.published import DESIGNS, EFFICIENCIES, FIT_ACCURACY, TIMES

#: Metrics of Table 2 and what they are called there.
MATCHES = {
    "perfect_match_efficiency": "perfect match",
    "lhc_match_efficiency": "LHC-style",
    "double_majority_efficiency": "double maj.",
}

#: (data set, design) -> what was measured, or why it could not be.
Measurements = Mapping[tuple[str, str], Measurement | str]


class Row(NamedTuple):
    """One figure."""

    #: Number of the table in the paper.
    table: int
    dataset: str
    design: str
    #: What is measured.
    quantity: str
    #: "%" or "ms".
    unit: str
    #: As published; None where the authors gave no number.
    published: float | None
    #: Measured here with one standard deviation; None where the design has no weights, or failed.
    here: float | None
    uncertainty: float | None
    #: "reached" or "short" of the published figure (rounded as it is); "missing" (no shipped weights); "failed"; for
    #: times and for figures that were not published "".
    status: str
    #: Job that was run; "" if none.
    job: str
    #: The same quantity of this package's own design.
    own: float | None
    own_uncertainty: float | None
    own_job: str


def table_rows(measured: Measurements, datasets: Sequence[str], designs: Sequence[str]) -> list[Row]:
    """All rows of the chosen data sets and designs; what is neither published nor shipped has none.

    Args:
        measured: what was measured; the own design under the name ``OWN``.
        datasets: in the order of the rows.
        designs: published designs.
    """
    chosen = [(dataset, design) for dataset in datasets for design in DESIGNS if design in designs]
    rows = []
    for key in chosen:
        if key in FIT_ACCURACY or key in measured:
            published = FIT_ACCURACY.get(key)
            rows.append(_row(1, key, "TrackML score", "trackml_score", published, measured))
    for key in chosen:
        for number, (metric, text) in enumerate(MATCHES.items()):
            if key in EFFICIENCIES:
                rows.append(_row(2, key, text, metric, EFFICIENCIES[key][number], measured))
    for key in chosen:
        if key in TIMES:
            cpu, gpu = TIMES[key]
            rows.append(_row(3, key, "CPU side", "rest_ms", cpu, measured))
            rows.append(_row(3, key, "GPU side", "network_ms", gpu, measured))
    return rows


def _row(
    table: int,
    key: tuple[str, str],
    text: str,
    quantity: str,
    published: float | None,
    measured: Measurements,
) -> Row:
    dataset, design = key
    here, own = measured.get(key), measured.get((dataset, OWN))
    figure, own_figure = _figure(here, quantity), _figure(own, quantity)
    return Row(
        table=table,
        dataset=dataset,
        design=design,
        quantity=text,
        unit="ms" if table == 3 else "%",
        published=published,
        here=None if figure is None else figure.value,
        uncertainty=None if figure is None else figure.uncertainty,
        status=_status(here, figure, None if table == 3 else published),
        job=here.job if isinstance(here, Measurement) else "",
        own=None if own_figure is None else own_figure.value,
        own_uncertainty=None if own_figure is None else own_figure.uncertainty,
        own_job=own.job if isinstance(own, Measurement) else "",
    )


def _figure(found: Measurement | str | None, quantity: str) -> Figure | None:
    """A score in percent, or a time in milliseconds."""
    if not isinstance(found, Measurement):
        return None
    if quantity in ("rest_ms", "network_ms"):
        time: Figure = getattr(found, quantity)
        return time
    score = found.scores[quantity]
    return Figure(100.0 * score.value, 100.0 * score.uncertainty)


def _status(found: Measurement | str | None, figure: Figure | None, published: float | None) -> str:
    if isinstance(found, str):
        return "failed"
    if figure is None:
        return "missing"
    if published is None:
        return ""
    # Published figures are rounded to one percent, and so is ours before it is compared.
    return "reached" if round(figure.value) >= published else "short"
