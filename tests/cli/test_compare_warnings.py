"""``mltrack compare`` is loud about biases and pulls that are wrong, and its table fits the screen."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from compared_events import fitted, make_event, true_labels, with_tracks, write_tracks, write_truth

from mltrack_plugin.event_data import Tracks
from mltrack_plugin.version import __version__


def scaled(tracks: Tracks, factor: float = 1.0, errors: float = 1.0, d0: float = 0.0) -> Tracks:
    """The same tracks with another q/p, with larger errors, moved by ``d0`` mm."""
    return Tracks(
        tracks.offsets,
        tracks.hit_indices,
        d0=tracks.d0 + d0,
        z0=tracks.z0,
        phi=tracks.phi,
        theta=tracks.theta,
        qop=tracks.qop * factor,
        covariance=tracks.covariance * errors**2,
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Events, right tracks, and tracks with one thing wrong."""
    folder = tmp_path_factory.mktemp("warnings")
    stores = [make_event(i, n=200, noise=0) for i in range(4)]
    good = [fitted(s, true_labels(s), seed=5) for s in stores]
    again = [fitted(s, true_labels(s), seed=6) for s in stores]
    wrong = {
        "field": {"factor": 1.5},
        "strong": {"factor": 0.8},
        "errors": {"errors": 0.5},
        "beam": {"d0": 0.02},
        "charge": {"factor": -1.0},
    }
    made = {"good": good, "again": again} | {
        name: [scaled(t, **changes) for t in again] for name, changes in wrong.items()
    }
    paths = {
        name: write_tracks(
            folder / f"{name}.root", [with_tracks(s, t) for s, t in zip(stores, tracks, strict=True)]
        )
        for name, tracks in made.items()
    }
    return SimpleNamespace(truth=write_truth(folder / "events.root", stores), **paths)


def options(files, name):
    return ("--tracks", files.good, "--reference", getattr(files, name), "--truth", files.truth)


def test_a_third_of_the_momentum_missing_is_loud_and_has_its_number(files, compare, compare_json):
    done = compare(*options(files, "field"), "--label", "ours", "--label", "2 T", "--output", "page")
    assert done.code == 0, done.err
    loud = [line for line in done.out.split("\n") if line.startswith("WARNING")]
    assert "WARNING: 2 T: pT 33% low: is the field right? One of 0.667 times the true field does this" in loud
    assert all(line.startswith("WARNING: 2 T: ") for line in loud)
    result = json.loads(Path("page/comparison.json").read_text())
    found = {(w["label"], w["parameter"], w["quantity"]): w for w in result["warnings"]}
    bias = found["2 T", "relative_pt", "bias"]
    assert bias["value"] == pytest.approx(0.5, abs=0.01)
    assert bias["low"] < bias["value"] < bias["high"]
    assert bias["limit"] == pytest.approx(0.2 * 1.5 * 0.02, rel=0.1)
    # The errors of 2% do not cover 50%.
    assert found["2 T", "q_over_pt", "pull_width"]["value"] > 5
    assert {parameter for _, parameter, _ in found} == {"relative_pt", "q_over_pt"}
    text = Path("page/index.html").read_text()
    assert "pT 33% low: is the field right?" in text


def test_right_tracks_are_not_warned_about(files, compare, compare_json):
    assert compare_json(*options(files, "again"))["warnings"] == []
    assert "WARNING" not in compare(*options(files, "again")).out


@pytest.mark.parametrize(
    ("name", "expected", "words"),
    [
        ("strong", {("relative_pt", "bias")}, "pT 25% high: is the field right?"),
        ("errors", {(p, "pull_width") for p in ("d0", "z0", "phi", "theta", "q_over_pt")}, "times too small"),
        ("beam", {("d0", "bias"), ("d0", "pull_median")}, "is the beam line where the truth has it?"),
        ("charge", {("relative_pt", "bias")}, "the charge has the wrong sign"),
    ],
)
def test_each_fault_has_its_own_words(files, compare_json, name, expected, words):
    warnings = compare_json(*options(files, name))["warnings"]
    assert {w["label"] for w in warnings} == {name}
    found = {(w["parameter"], w["quantity"]) for w in warnings} - {("q_over_pt", "pull_width")}
    assert found == expected - {("q_over_pt", "pull_width")}
    assert any(words in w["text"] for w in warnings)


def test_differences_of_resolutions_biases_and_pulls_have_intervals(files, compare_json):
    result = compare_json(*options(files, "field"))
    assert result["version"] == __version__
    difference = result["fit_difference"]["residuals"]["relative_pt"]
    assert difference["bias"]["value"] == pytest.approx(-0.5, abs=0.01)
    # 2% against 1.5 x 2%; far from 0 the bins of the histogram are coarser than that.
    assert difference["width"]["value"] == pytest.approx(-0.01, abs=0.004)
    for entry in (*difference.values(), *result["fit_difference"]["pulls"]["d0"].values()):
        assert entry["low"] < entry["value"] < entry["high"]
    pulls = compare_json(*options(files, "errors"))["fit_difference"]["pulls"]
    assert all(pull["width"]["value"] == pytest.approx(-1, abs=0.15) for pull in pulls.values())
    same = compare_json(*options(files, "good"), "--label", "a", "--label", "b")["fit_difference"]
    assert all(q["value"] == 0 for kind in same.values() for p in kind.values() for q in p.values())
    assert compare_json(*options(files, "field")[:4])["fit_difference"] is None


@pytest.mark.parametrize("columns", ["80", "150"])
@pytest.mark.parametrize(
    "labels", [("a", "b"), ("our transformer of the second stage", "CKF before ambiguity")]
)
def test_the_table_fits_and_loses_nothing(compared, compare, compare_json, monkeypatch, columns, labels):
    arguments = (
        *("--tracks", compared.tracks, "--reference", compared.reference, "--truth", compared.truth),
        *("--label", labels[0], "--label", labels[1]),
    )
    result = compare_json(*arguments)
    monkeypatch.setenv("COLUMNS", columns)
    out = compare(*arguments).out
    lines = out.split("\n")
    first = next(i for i, line in enumerate(lines) if line.rstrip().endswith("difference"))
    table = lines[first : next(i for i, line in enumerate(lines) if line.startswith(("WARNING", "wrote")))]
    assert max(map(len, table)) <= int(columns)
    if columns == "80" and len(labels[0]) > 20:
        assert f"1: our transf... is {labels[0]}" in out
        assert labels[0] not in table[0]
    else:
        assert labels[0] in table[0]
    text = "\n".join(table)
    for side in result["collections"]:
        rate = side["rates"]["efficiency"]
        assert f"{rate['numerator']}/{rate['denominator']}" in text
        assert f"[{rate['low']:.4f}, {rate['high']:.4f}]" in text
        bias = side["residuals"]["residuals"]["relative_pt"]["bias"]
        assert f"{100 * bias:+.3g}" in text
