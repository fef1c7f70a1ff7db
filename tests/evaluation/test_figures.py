"""Plots and the event display: they are drawn, complete or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from mltrack_plugin.detectors import load_detector
from mltrack_plugin.errors import ConfigurationError, MissingExtraError, OutputError
from mltrack_plugin.evaluation import ScoreAccumulator
from mltrack_plugin.evaluation.event_display import _wrong_hits, draw_event, layer_outlines, track_colours
from mltrack_plugin.evaluation.plots import FIGURES, plot_results
from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, Tracks, TruthLinks

pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


def event(n_tracks=6, n_hits=5):
    rng = np.random.default_rng(8)
    truth = np.repeat(np.arange(1, n_tracks + 1), n_hits)
    n = len(truth)
    hits = Hits(np.arange(n), *rng.normal(0, 300, (3, n)))
    proto = ProtoTracks.from_labels(np.where(rng.random(n) < 0.8, truth, -1), min_hits=2)
    k = len(proto)
    qop = rng.normal(size=k)
    tracks = Tracks(proto.offsets, proto.hit_indices, qop=qop, theta=rng.uniform(0.3, 2.8, k))
    zero = np.zeros(n_tracks)
    momenta = rng.normal(0, 2, (3, n_tracks))
    particles = Particles(np.arange(1, n_tracks + 1), zero, zero, zero, *momenta, zero + 1)
    return hits, TruthLinks(truth), tracks, particles


def test_all_plots_are_drawn_from_a_result(tmp_path):
    scores = ScoreAccumulator()
    scores.add(*event())
    files = plot_results(scores.result(), tmp_path / "new" / "plots", title="a data set")
    expected = {"scores.png"} | {f"{stem}_vs_{v}.png" for stem in FIGURES for v in ("pt", "eta")}
    assert {f.name for f in files} == expected
    assert {f.name for f in (tmp_path / "new" / "plots").iterdir()} == expected
    assert all(f.read_bytes().startswith(PNG) for f in files)


def test_plots_of_an_empty_result_say_so(tmp_path):
    files = plot_results(ScoreAccumulator().result(), tmp_path)
    assert [f.name for f in files] == ["scores.png"]


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_event_display_formats(tmp_path, suffix):
    hits, truth, tracks, _ = event()
    path = draw_event(hits, tracks, tmp_path / f"event{suffix}", truth=truth, title="event 5")
    assert path.stat().st_size > 5000
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("n", [0, 1, 20])
def test_event_display_without_tracks_or_hits(tmp_path, n):
    hits = Hits(np.arange(n), *np.ones((3, n)))
    none = ProtoTracks(np.zeros(1, dtype=int), np.zeros(0, dtype=int))
    assert draw_event(hits, none, tmp_path / "e.png").read_bytes().startswith(PNG)


def test_hits_on_a_wrong_track():
    # Track 0: three hits of particle 5, one of 6, one noise. Track 1: only noise. One hit free.
    labels = np.array([0, 0, 0, 0, 0, 1, 1, -1])
    truth = TruthLinks([5, 5, 5, 6, 0, 0, 0, 6])
    assert np.flatnonzero(_wrong_hits(labels, truth)).tolist() == [3, 4, 5, 6]
    assert not _wrong_hits(labels, None).any()


@pytest.fixture
def drawn(monkeypatch):
    """``drawn(...)``: the figure that `draw_event` saves."""
    figures = []
    monkeypatch.setattr(
        "mltrack_plugin.evaluation.event_display.save_figure", lambda f, path: figures.append(f)
    )

    def draw(*arguments, **settings):
        draw_event(*arguments, "event.png", **settings)
        return figures[-1]

    return draw


def points(figure, label):
    """Number of hits with this entry of the legend, in the first panel."""
    found = [c for c in figure.axes[0].collections if c.get_label() == label]
    return len(found[0].get_offsets()) if found else 0


def test_noise_is_a_lighter_grey_than_other_hits_on_no_track(drawn):
    hits, truth, tracks, _ = event()
    free = np.flatnonzero(tracks.labels(len(hits)) < 0)
    ids = truth.particle_id.copy()
    ids[free[:2]] = 0
    figure = drawn(hits, tracks, truth=TruthLinks(ids))
    assert (points(figure, "noise"), points(figure, "on no track")) == (2, len(free) - 2)
    grey = {
        c.get_label(): c.get_facecolor()[0, :3] for c in figure.axes[0].collections if len(c.get_facecolor())
    }
    assert (grey["noise"] > grey["on no track"]).all()
    assert all(np.ptp(grey[label]) == 0 for label in ("noise", "on no track"))
    assert points(drawn(hits, tracks), "on no track") == len(free)


def test_tracks_below_the_cut_on_pt_are_left_out_and_counted(drawn):
    hits, _, tracks, _ = event()
    cut = float(np.median(tracks.pt))
    kept = int((tracks.pt >= cut).sum())
    assert 0 < kept < len(tracks)
    figure = drawn(hits, tracks, min_pt=cut)
    assert len(figure.axes[0].collections[1].get_segments()) == kept
    assert f"{kept} tracks of pT >= {cut:g} GeV ({len(tracks) - kept} below)" in figure.get_suptitle()
    with pytest.raises(ConfigurationError, match="needs tracks with fitted parameters"):
        drawn(hits, ProtoTracks(tracks.offsets, tracks.hit_indices), min_pt=cut)


def test_lines_get_thinner_and_more_transparent_with_the_number_of_tracks(drawn):
    looks = []
    for n in (5, 100, 500):
        hits, _, tracks, _ = event(n_tracks=n)
        lines = next(c for c in drawn(hits, tracks).axes[0].collections if hasattr(c, "get_segments"))
        looks.append((lines.get_linewidth()[0], lines.get_alpha()))
    assert looks == sorted(looks, reverse=True)
    assert looks[-1][0] < 0.6


def test_layers_are_outlined_where_they_are():
    detector = load_detector("generic")
    barrels = [
        at for kind, at in zip(detector.layers.kind, detector.layers.at, strict=True) if kind == "barrel"
    ]
    circles = layer_outlines(detector, transverse=True)
    assert [float(np.hypot(*line.T).mean()) for line in circles] == pytest.approx(barrels)
    along = layer_outlines(detector, transverse=False)
    assert len(along) == len(detector.layers.at)
    assert max(line[:, 0].max() for line in along) == pytest.approx(detector.half_length, rel=0.02)
    assert max(line[:, 1].max() for line in along) == pytest.approx(detector.radius, rel=0.05)
    planes = layer_outlines(load_detector("toy-planes"), transverse=True)
    assert all(np.ptp(line[:, 0]) == 0 for line in planes)


def test_track_colours_are_distinct_and_none_is_grey():
    colours = track_colours(50)
    assert colours.shape == (50, 3)
    assert len(np.unique(colours.round(4), axis=0)) == 50
    assert (np.ptp(colours, axis=1) > 0.3).all()


def test_a_picture_that_cannot_be_written_is_an_output_error(tmp_path):
    hits, _, tracks, _ = event()
    with pytest.raises(OutputError, match="no picture format 'docx'"):
        draw_event(hits, tracks, tmp_path / "event.docx")
    with pytest.raises(OutputError, match=r"cannot write .*event\.png"):
        draw_event(hits, tracks, tmp_path / "missing" / "event.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make the folder"):
        plot_results(ScoreAccumulator().result(), tmp_path / "file")


def test_without_matplotlib_the_install_line_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    hits, _, tracks, _ = event()
    with pytest.raises(MissingExtraError, match=r"pip install 'matplotlib>=[\d.]+'$"):
        draw_event(hits, tracks, tmp_path / "event.png")
