"""``mltrack compare``: numbers, formats and the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compared_events import (
    N_EVENTS,
    N_PARTICLES,
    fitted,
    make_event,
    pair,
    sharing,
    true_labels,
    with_tracks,
    write,
    write_tracks,
    write_truth,
)

from mltrack_plugin.evaluation import ScoreAccumulator
from mltrack_plugin.event_data import ProtoTracks, Tracks
from mltrack_plugin.io.acts_tracks_csv import ActsTracksCsvWriter
from mltrack_plugin.io.colliderml_tracks import ColliderMLTracksWriter
from mltrack_plugin.io.tracksummary import TrackSummaryWriter
from mltrack_plugin.version import __version__

RATES = ("efficiency", "fake_rate", "duplicate_rate", "purity", "completeness")


def test_rates_are_those_of_evaluate_and_the_counts_are_exact(compared, compare_json):
    result = compare_json(*pair(compared))
    assert (result["events"], result["labels"]) == (N_EVENTS, ["ours", "ckf"])
    for side, stores in zip(result["collections"], (compared.mine, compared.other), strict=True):
        scores = ScoreAccumulator(detector="generic")
        for s in stores:
            scores.add(*(s.get(k, object) for k in ("hits", "truth_links", "tracks", "particles")))
        expected = scores.result()
        for name in RATES:
            assert side["rates"][name]["value"] == expected[name]
            assert [side["rates"][name][k] for k in ("numerator", "denominator")] == expected["fractions"][
                name
            ]
            for variable in ("pt", "eta"):
                assert side["binned"][variable][name] == expected["binned"][variable][name]
    mine, other = result["collections"]
    # Per event: 30 particles; ours has 27 true tracks, one of two particles, one piece, one of noise.
    assert mine["tracks"] == N_EVENTS * 30
    assert mine["rates"]["efficiency"]["numerator"] == N_EVENTS * 27
    assert other["rates"]["efficiency"]["numerator"] == N_EVENTS * 29
    found = {k: v["numerator"] for k, v in result["particles_found"].items()}
    # Particles 0 and 1 share a track of exactly one half each, which is no match; 3 is lost.
    assert found == {
        "by_both": N_EVENTS * 26,
        "only_by_first": N_EVENTS,
        "only_by_second": N_EVENTS * 3,
        "by_neither": 0,
    }
    assert result["overlap"]["of_first"]["numerator"] == N_EVENTS * 26
    assert result["overlap"]["of_second"]["denominator"] == N_EVENTS * 29
    assert result["overlap"]["identical"]["numerator"] == N_EVENTS * 24
    assert result["difference"]["efficiency"]["value"] == pytest.approx(-2 / 30)


def test_definitions_of_fakes_stand_side_by_side(compared, compare_json):
    fakes = {
        n: d["fake_rate"] for n, d in compare_json(*pair(compared))["collections"][0]["definitions"].items()
    }
    # Strict: the merged track and the one of noise. ACTS: a track of exactly one half is matched, one of noise no fake.
    assert (fakes["strict"]["numerator"], fakes["strict"]["denominator"]) == (2 * N_EVENTS, 30 * N_EVENTS)
    assert (fakes["acts"]["numerator"], fakes["acts"]["denominator"]) == (0, 30 * N_EVENTS)
    assert (fakes["heptv2"]["numerator"], fakes["heptv2"]["denominator"]) == (N_EVENTS, 29 * N_EVENTS)
    assert all(fraction["low"] <= fraction["value"] <= fraction["high"] for fraction in fakes.values())


def test_cuts_on_particles_change_what_is_asked_for(compared, compare_json):
    momenta = np.concatenate([s.get("particles", object).pt for s in compared.stores])
    eta = np.concatenate([s.get("particles", object).eta for s in compared.stores])
    asked = compare_json(*pair(compared), "--min-pt", 2, "--max-eta", 1.5)["asked_particles"]
    assert asked == int(((momenta >= 2) & (np.abs(eta) < 1.5)).sum())
    assert compare_json(*pair(compared), "--min-hits", 11)["asked_particles"] == 0


def test_resolutions_and_pulls_of_smeared_parameters(tmp_path, compare_json):
    stores = [make_event(i, n=400, noise=0, displaced=150.0) for i in range(4)]
    truth = write_truth(tmp_path / "truth.root", stores)
    paths = [
        write_tracks(tmp_path / name, [with_tracks(s, fitted(s, true_labels(s), 5, scale)) for s in stores])
        for name, scale in (("a.root", 1.0), ("b.root", 2.0))
    ]
    result = compare_json("--tracks", paths[0], "--reference", paths[1], "--truth", truth)
    for side, scale in zip(result["collections"], (1.0, 2.0), strict=True):
        found = side["residuals"]["residuals"]
        # Also of particles that were made 150 mm away from the beam line.
        for name, error in {"d0": 0.03, "z0": 0.06, "phi": 1e-3, "theta": 5e-4, "relative_pt": 0.02}.items():
            assert found[name]["width"] == pytest.approx(scale * error, rel=0.08), name
            assert found[name]["width_low"] < found[name]["width"] < found[name]["width_high"]
        assert found["d0"]["entries"] == 1600
        for pull in side["residuals"]["pulls"].values():
            assert pull["width"] == pytest.approx(scale, rel=0.08)
            assert abs(pull["bias"]) < 0.12 * scale


def test_a_collection_and_itself_do_not_differ(compared, compare_json):
    result = compare_json(*pair(compared, reference=compared.tracks), "--label", "a", "--label", "b")
    assert all(d["value"] == d["low"] == d["high"] == 0 for d in result["difference"].values())
    assert result["overlap"]["of_first"]["value"] == result["overlap"]["identical"]["value"] == 1
    assert result["display_event"] is None


def test_without_truth_only_the_overlap_is_known(compared, compare, compare_json):
    result = compare_json(*pair(compared, truth=False))
    assert result["with_truth"] is False
    assert result["overlap"]["of_first"]["numerator"] == N_EVENTS * 26
    assert result["difference"] == {}
    assert all(entry is None for entry in result["particles_found"].values())
    assert result["collections"][0]["rates"] is None
    done = compare(*pair(compared, truth=False), "--output", "page")
    assert done.code == 0, done.err
    assert "no truth was given" in done.out
    assert "Against the truth" not in done.out


@pytest.mark.parametrize(
    ("writer", "name", "exact_pulls"),
    [
        (ActsTracksCsvWriter, "csv", True),
        (ColliderMLTracksWriter, "tracks.parquet", False),
        (TrackSummaryWriter, "summary.root", True),
    ],
)
def test_the_reference_may_have_another_format(compared, compare_json, tmp_path, writer, name, exact_pulls):
    path = write(writer(path=str(tmp_path / name)), compared.other)
    expected, found = compare_json(*pair(compared)), compare_json(*pair(compared, reference=path))
    assert found["collections"][1]["rates"] == expected["collections"][1]["rates"]
    assert found["particles_found"] == expected["particles_found"]
    if writer is not TrackSummaryWriter:
        assert found["overlap"] == expected["overlap"]
    widths = [r["collections"][1]["residuals"]["residuals"]["z0"]["width"] for r in (found, expected)]
    assert widths[0] == pytest.approx(widths[1], rel=1e-3)
    pulls = [r["collections"][1]["residuals"]["pulls"]["q_over_pt"]["width"] for r in (found, expected)]
    assert (pulls[0] == pytest.approx(pulls[1], rel=1e-3)) if exact_pulls else pulls[0] is None


def test_a_tracksummary_has_no_hits_to_overlap(compared, compare, tmp_path):
    path = write(TrackSummaryWriter(path=str(tmp_path / "summary.root")), compared.other)
    done = compare(*pair(compared, reference=path), "--output", "page")
    assert done.code == 0, done.err
    assert "tracksummary does not say which hits are on a track" in done.out
    refused = compare(*pair(compared, truth=False, reference=path))
    assert refused.code == 1
    assert "it can be compared particle by particle: give --truth" in refused.err.replace("\n", " ")


def test_tracks_may_share_hits(compared, compare_json, tmp_path):
    path = sharing(tmp_path / "csv", compared.other)
    result = compare_json(*pair(compared, reference=path))
    before, after = compare_json(*pair(compared))["collections"][1], result["collections"][1]
    assert after["tracks_that_share_hits"] == 2 * N_EVENTS
    assert after["hits_on_tracks"] == before["hits_on_tracks"] + N_EVENTS
    # The second track has one hit more, of another particle; nothing else changes.
    assert after["rates"]["purity"]["numerator"] == before["rates"]["purity"]["numerator"]
    assert after["rates"]["purity"]["denominator"] == before["rates"]["purity"]["denominator"] + N_EVENTS
    assert after["rates"]["efficiency"] == before["rates"]["efficiency"]


def test_the_page_is_complete_in_itself_and_reproducible(compared, compare, figures):
    for name in ("one", "two"):
        done = compare(*pair(compared), "--label", "ours <1>", "--label", "CKF & co", "--output", name)
        assert done.code == 0, done.err
    content = Path("one/index.html").read_text()
    assert Path("two/index.html").read_text() == content
    assert Path("two/comparison.json").read_bytes() == Path("one/comparison.json").read_bytes()
    assert not re.search(r"src=\"(?!data:)", content)
    # Links stay on the page, and lead somewhere.
    links = set(re.findall(r"href=\"(.*?)\"", content))
    assert {"#rates", "#residuals", "#pulls", "#fakes", "#intervals"} <= links
    assert all(f'id="{link[1:]}"' in content for link in links)
    assert f"mltrack-plugin {__version__}" in content
    for setting in ("smallest number of hits</td><td>4<", "field of the true helices</td><td>2 T<"):
        assert setting in content
    assert "http" not in re.sub(r"base64,[^\"]*", "", content)
    assert "<script" not in content
    assert "ours &lt;1&gt;" in content
    titles = re.findall(r"<h3>(.*?)</h3>", content)
    for words in ("transverse momentum", "pseudorapidity", "azimuth", "impact parameter", "density"):
        assert any(words in title for title in titles), words
    for title in ("Residuals", "Pulls", "Hits per track", "Bias against pseudorapidity"):
        assert title in titles
    assert "Event 10: tracks that only one collection has" in titles
    assert json.loads(Path("one/comparison.json").read_text())["events"] == N_EVENTS
    assert "ours <1>" in done.out


def test_events_that_one_collection_lacks_are_counted(compared, compare, compare_json, tmp_path):
    part = write_tracks(tmp_path / "part.root", compared.other[1:4])
    result = compare_json(*pair(compared, reference=part))
    assert (result["events"], result["left_out"]) == (3, {"ours": 3, "part": 0})
    assert (
        "warning: 3 events of ours are not in the other file" in compare(*pair(compared, reference=part)).out
    )
    assert compare_json(*pair(compared, truth=False, reference=part))["events"] == 3


def test_events_and_skip(compared, compare_json):
    for truth in (True, False):
        result = compare_json(*pair(compared, truth=truth), "--skip", 2, "--events", 3)
        assert result["events"] == 3
        assert result["overlap"]["of_second"]["denominator"] == 3 * 29


def test_collections_without_tracks_or_fits_are_stated(compared, compare, tmp_path, figures):
    nothing = ProtoTracks.from_lists([])
    empty = write_tracks(
        tmp_path / "empty.root",
        [with_tracks(s, Tracks(nothing.offsets, nothing.hit_indices)) for s in compared.stores],
    )
    bare = write_tracks(
        tmp_path / "bare.root",
        [
            with_tracks(s, Tracks.from_candidates(ProtoTracks.from_labels(true_labels(s))))
            for s in compared.stores
        ],
    )
    done = compare(*pair(compared, reference=empty), "--output", "a")
    assert done.code == 0, done.err
    assert "warning: empty holds no tracks at all" in done.out
    result = json.loads(Path("a/comparison.json").read_text())
    side = result["collections"][1]
    assert side["rates"]["efficiency"]["value"] == 0
    assert side["rates"]["fake_rate"]["value"] is None
    assert side["events_without_tracks"] == N_EVENTS
    assert compare(*pair(compared, tracks=empty, reference=empty), "--label", "a", "--label", "b").code == 0
    done = compare(*pair(compared, reference=bare), "--output", "b")
    assert done.code == 0, done.err
    assert "bare has no fitted tracks" in done.out
    side = json.loads(Path("b/comparison.json").read_text())["collections"][1]
    assert side["rates"]["efficiency"]["value"] == 1
    d0 = side["residuals"]["residuals"]["d0"]
    assert (d0.pop("unit"), d0.pop("entries")) == ("mm", 0)
    assert not any(d0.values())
    # Without a fit, tracks still have a direction, and no pT.
    assert sum(side["binned"]["eta"]["fake_rate"]["denominator"]) == N_EVENTS * N_PARTICLES
    assert side["binned"]["pt"]["fake_rate"]["outside"] == N_EVENTS * N_PARTICLES


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from mltrack_plugin.cli.main import main; main(['compare', '--help']);"
        "heavy = {'numpy', 'awkward', 'uproot', 'torch', 'scipy', 'matplotlib', 'pyarrow'} & set(sys.modules);"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--reference" in done.stdout


def test_the_ckf_tracks_of_colliderml(compare, compare_json):
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MLTRACK_SAMPLE_DATA", default)) / "colliderml"
    tracks, hits = (
        folder / f"hard_scatter.ttbar.v1.reco.{n}.events0-4.parquet" for n in ("tracks", "tracker_hits")
    )
    if not tracks.exists():
        pytest.skip("no sample data (MLTRACK_SAMPLE_DATA)")
    # Simulated in 3 T, in a detector whose field nothing here states.
    cuts = ("--min-pt", 1, "--max-eta", 2.5, "--min-hits", 7, "--field", 3)
    both = ("--tracks", tracks, "--reference", tracks, "--label", "CKF", "--label", "again")
    result = compare_json(*both, "--truth", hits, *cuts)
    side = result["collections"][0]
    assert (result["events"], side["tracks"], side["tracks_with_fit"]) == (5, 163, 163)
    # Prompt particles of the hard scatter; the misses are secondaries far from the beam line.
    prompt = side["binned"]["d0"]["efficiency"]
    assert (prompt["numerator"][0], prompt["denominator"][0]) == (109, 116)
    assert side["rates"]["fake_rate"]["numerator"] == 0
    assert side["rates"]["purity"]["value"] > 0.98
    widths = {name: entry["width"] for name, entry in side["residuals"]["residuals"].items()}
    # Open Data Detector: tens of micrometres, and about 1% in pT.
    assert 0.01 < widths["d0"] < 0.06
    assert 0.01 < widths["z0"] < 0.10
    assert 0.003 < widths["relative_pt"] < 0.02
