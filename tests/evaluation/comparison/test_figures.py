"""Figures of a comparison: every axis says what it shows, with its unit, and shows the difference."""

from __future__ import annotations

import numpy as np
import pytest
from compared_events import fitted, make_event, ours, true_labels

from mltrack_plugin.evaluation.comparison.accumulator import METRICS, Comparison
from mltrack_plugin.evaluation.comparison.fit_figures import against_figure, distribution_figure
from mltrack_plugin.evaluation.comparison.rate_figures import rate_caption, rate_figure
from mltrack_plugin.evaluation.comparison.stream import ComparedEvent
from mltrack_plugin.event_data import Hits, Particles, Tracks, TruthLinks
from mltrack_plugin.event_data.file_tracks import FileTracks

pytest.importorskip("matplotlib")


def as_read(tracks: Tracks) -> FileTracks:
    perigee = np.stack([tracks.d0, tracks.z0, tracks.phi, tracks.theta, tracks.qop], axis=1)
    return FileTracks(
        np.diff(tracks.offsets), perigee.astype(float), tracks.covariance, hit_indices=tracks.hit_indices
    )


@pytest.fixture(scope="module")
def result():
    """Of two collections of the same events: one with losses, one with twice the errors."""
    comparison = Comparison(("ours", "CKF"), field_z=2.0)
    for number in range(3):
        store = make_event(number, n=150)
        tracks = (ours(store), fitted(store, true_labels(store), seed=6, scale=2.0))
        comparison.add(
            ComparedEvent(
                number,
                tuple(as_read(t) for t in tracks),
                store.get("hits", Hits),
                store.get("truth_links", TruthLinks),
                store.get("particles", Particles),
            )
        )
    return comparison.result()


def shown(figure):
    return [axes for axes in figure.axes if axes.axison]


def test_rates_have_units_bin_widths_and_a_ratio(result):
    figure = rate_figure(result, "pt")
    assert len(figure.axes) == 2 * len(METRICS)
    upper, lower = figure.axes[: len(METRICS)], figure.axes[len(METRICS) :]
    assert [axes.get_ylabel() for axes in upper][:2] == ["efficiency", "fake rate (strict)"]
    assert lower[0].get_ylabel() == "ratio"
    assert all(axes.get_xlabel() == "$p_T$ [GeV]" for axes in lower)
    efficiency = upper[0]
    table = result["collections"][0]["binned"]["pt"]
    edges, counts = np.array(table["edges"]), np.array(table["efficiency"]["denominator"])
    # The horizontal bar of each bin reaches from one edge to the other.
    bars = efficiency.containers[0].lines[2][0].get_segments()
    filled = np.flatnonzero(counts)
    assert [bar[:, 0].tolist() for bar in bars] == [pytest.approx([edges[i], edges[i + 1]]) for i in filled]
    # 27 of 30 and all: an axis from 0 would not show the difference.
    low, high = efficiency.get_ylim()
    assert low > 0.5
    assert high < 1.2
    # The ratio is ours over the other.
    ratio = lower[0].containers[0].lines[0].get_ydata()
    values = [np.array(side["binned"]["pt"]["efficiency"]["value"], float) for side in result["collections"]]
    assert ratio == pytest.approx((values[0] / values[1])[filled])


@pytest.mark.parametrize("variable", ["pt", "eta", "phi", "d0", "z0", "density"])
def test_entries_outside_the_axis_are_stated(result, variable):
    caption = rate_caption(result, variable)
    for side in result["collections"]:
        table = side["binned"][variable]
        particles, tracks = table["efficiency"]["outside"], table["fake_rate"]["outside"]
        assert f"{side['label']} {particles} particles and {tracks} tracks" in caption
    assert ("begins at 0" in caption) == (variable in ("pt", "d0", "density"))


@pytest.mark.parametrize("kind", ["residuals", "pulls"])
def test_distributions_state_their_widths_and_what_is_beyond(result, kind):
    axes = shown(distribution_figure(result, kind))
    assert len(axes) == (6 if kind == "residuals" else 5)
    assert all(a.get_ylabel() == "fraction of tracks per bin" and len(a.get_yticks()) > 2 for a in axes)
    labels = [a.get_xlabel() for a in axes]
    if kind == "residuals":
        assert labels[0] == r"$\Delta d_0$ [$\mu$m]"
        assert labels[-1] == r"$\Delta (q/p_T)/(q/p_T)$ [%]"
    for side, text in zip(result["collections"], axes[0].texts, strict=True):
        width = side["residuals"][kind]["d0"]["width"] * (1e3 if kind == "residuals" else 1)
        assert text.get_text().startswith(f"width {width:.3g}, bias ")
        assert text.get_text().endswith("% right")


@pytest.mark.parametrize("quantity", ["width", "bias"])
def test_resolution_and_bias_against_eta(result, quantity):
    axes = shown(against_figure(result, "eta", quantity))
    assert all(a.get_xlabel() == r"$\eta$" for a in axes)
    assert "[mrad]" in axes[2].get_ylabel()
    entries = result["collections"][1]["residuals"]["against"]["eta"]["d0"]
    drawn = axes[0].containers[1].lines[0].get_ydata()
    assert drawn == pytest.approx([1e3 * e[quantity] for e in entries if e[quantity] is not None])
