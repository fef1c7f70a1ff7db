"""``mltrack compare``: numbers, formats, the page, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from compared_events import fitted, make_event, true_labels, with_tracks, write, write_tracks, write_truth

from mltrack_plugin.cli.main import main
from mltrack_plugin.evaluation import ScoreAccumulator
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.acts_tracks_csv import ActsTracksCsvWriter
from mltrack_plugin.io.colliderml_tracks import ColliderMLTracksWriter
from mltrack_plugin.io.tracksummary import TrackSummaryWriter

N_EVENTS, N_PARTICLES = 6, 30
RATES = ("efficiency", "fake_rate", "duplicate_rate", "purity", "completeness")


def ours(store):
    """Particles 0 and 1 as one track, 2 split in two, 3 lost; two noise hits as a track."""
    labels = true_labels(store)
    noise = np.flatnonzero(labels < 0)
    second_half = np.flatnonzero(labels == 2)[6:]
    labels[labels == 1] = 0
    labels[labels == 3] = -1
    labels[second_half] = 100
    labels[noise[:2]] = 101
    return fitted(store, labels)


def theirs(store):
    """All particles but number 4, without the last hit of number 5."""
    labels = true_labels(store)
    labels[labels == 4] = -1
    labels[np.flatnonzero(labels == 5)[-1]] = -1
    return fitted(store, labels, seed=6, scale=2.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    stores = [make_event(10 + 3 * i, n=N_PARTICLES) for i in range(N_EVENTS)]
    mine = [with_tracks(store, ours(store)) for store in stores]
    other = [with_tracks(store, theirs(store)) for store in stores]
    return SimpleNamespace(
        folder=folder,
        stores=stores,
        mine=mine,
        other=other,
        truth=write_truth(folder / "events.root", stores),
        tracks=write_tracks(folder / "ours.root", mine),
        reference=write_tracks(folder / "ckf.root", other),
    )


@pytest.fixture
def run(request, capsys, monkeypatch, tmp_path):
    """``run(argument, ...)``: exit code, standard output, standard error, in an empty folder.

    Figures take seconds, so pages have none except in tests that ask for ``figures``.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    if "figures" not in request.fixturenames:
        monkeypatch.setattr(
            "mltrack_plugin.evaluation.comparison.plots.pictures", lambda *arguments: iter(())
        )

    def _run(*arguments):
        code = main(["compare", *map(str, arguments)])
        out = capsys.readouterr()
        return SimpleNamespace(code=code, out=out.out, err=out.err)

    return _run


@pytest.fixture
def figures():
    """Asks for a page with figures."""
    pytest.importorskip("matplotlib")


@pytest.fixture
def results(run):
    """``results(argument, ...)``: the JSON."""

    def _results(*arguments):
        done = run(*arguments, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    return _results


def pair(files, truth=True, tracks=None, reference=None):
    options = ("--tracks", tracks or files.tracks, "--reference", reference or files.reference)
    return (*options, "--truth", files.truth) if truth else options


def test_rates_are_those_of_evaluate_and_the_counts_are_exact(files, results):
    result = results(*pair(files))
    assert (result["events"], result["labels"]) == (N_EVENTS, ["ours", "ckf"])
    for side, stores in zip(result["collections"], (files.mine, files.other), strict=True):
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


def test_definitions_of_fakes_stand_side_by_side(files, results):
    fakes = {n: d["fake_rate"] for n, d in results(*pair(files))["collections"][0]["definitions"].items()}
    # Strict: the merged track and the one of noise. ACTS: a track of exactly one half is matched, one of noise no fake.
    assert (fakes["strict"]["numerator"], fakes["strict"]["denominator"]) == (2 * N_EVENTS, 30 * N_EVENTS)
    assert (fakes["acts"]["numerator"], fakes["acts"]["denominator"]) == (0, 30 * N_EVENTS)
    assert (fakes["heptv2"]["numerator"], fakes["heptv2"]["denominator"]) == (N_EVENTS, 29 * N_EVENTS)
    assert all(fraction["low"] <= fraction["value"] <= fraction["high"] for fraction in fakes.values())


def test_cuts_on_particles_change_what_is_asked_for(files, results):
    momenta = np.concatenate([s.get("particles", object).pt for s in files.stores])
    eta = np.concatenate([s.get("particles", object).eta for s in files.stores])
    asked = results(*pair(files), "--min-pt", 2, "--max-eta", 1.5)["asked_particles"]
    assert asked == int(((momenta >= 2) & (np.abs(eta) < 1.5)).sum())
    assert results(*pair(files), "--min-hits", 11)["asked_particles"] == 0


def test_resolutions_and_pulls_of_smeared_parameters(tmp_path, results):
    stores = [make_event(i, n=400, noise=0, displaced=150.0) for i in range(4)]
    truth = write_truth(tmp_path / "truth.root", stores)
    paths = [
        write_tracks(tmp_path / name, [with_tracks(s, fitted(s, true_labels(s), 5, scale)) for s in stores])
        for name, scale in (("a.root", 1.0), ("b.root", 2.0))
    ]
    result = results("--tracks", paths[0], "--reference", paths[1], "--truth", truth)
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


def test_a_collection_and_itself_do_not_differ(files, results):
    result = results(*pair(files, reference=files.tracks), "--label", "a", "--label", "b")
    assert all(d["value"] == d["low"] == d["high"] == 0 for d in result["difference"].values())
    assert result["overlap"]["of_first"]["value"] == result["overlap"]["identical"]["value"] == 1
    assert result["display_event"] is None


def test_without_truth_only_the_overlap_is_known(files, run, results):
    result = results(*pair(files, truth=False))
    assert result["with_truth"] is False
    assert result["overlap"]["of_first"]["numerator"] == N_EVENTS * 26
    assert result["difference"] == {}
    assert all(entry is None for entry in result["particles_found"].values())
    assert result["collections"][0]["rates"] is None
    done = run(*pair(files, truth=False), "--output", "page")
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
def test_the_reference_may_have_another_format(files, results, tmp_path, writer, name, exact_pulls):
    path = write(writer(path=str(tmp_path / name)), files.other)
    expected, found = results(*pair(files)), results(*pair(files, reference=path))
    assert found["collections"][1]["rates"] == expected["collections"][1]["rates"]
    assert found["particles_found"] == expected["particles_found"]
    if writer is not TrackSummaryWriter:
        assert found["overlap"] == expected["overlap"]
    widths = [r["collections"][1]["residuals"]["residuals"]["z0"]["width"] for r in (found, expected)]
    assert widths[0] == pytest.approx(widths[1], rel=1e-3)
    pulls = [r["collections"][1]["residuals"]["pulls"]["q_over_pt"]["width"] for r in (found, expected)]
    assert (pulls[0] == pytest.approx(pulls[1], rel=1e-3)) if exact_pulls else pulls[0] is None


def test_a_tracksummary_has_no_hits_to_overlap(files, run, tmp_path):
    path = write(TrackSummaryWriter(path=str(tmp_path / "summary.root")), files.other)
    done = run(*pair(files, reference=path), "--output", "page")
    assert done.code == 0, done.err
    assert "tracksummary does not say which hits are on a track" in done.out
    refused = run(*pair(files, truth=False, reference=path))
    assert refused.code == 1
    assert "it can be compared particle by particle: give --truth" in refused.err.replace("\n", " ")


def test_a_tracksummary_of_other_events_is_refused(files, run, tmp_path):
    # The same event numbers, fewer particles: some that it names left no hit.
    truth = write_truth(
        tmp_path / "few.root", [make_event(s.event_number, n=20, seed=9) for s in files.stores]
    )
    path = write(TrackSummaryWriter(path=str(tmp_path / "summary.root")), files.other)
    done = run("--tracks", path, "--reference", path, "--label", "a", "--label", "b", "--truth", truth)
    assert done.code == 1
    assert "which left no hit in the event" in done.err


def sharing(folder: Path, stores) -> str:
    """ACTS CSV in which the first two tracks of each event hold a common hit."""
    path = Path(write(ActsTracksCsvWriter(path=str(folder)), stores))
    for file in path.glob("*-tracks.csv"):
        lines = file.read_text().split("\n")
        first = re.search(r"\[(\d+),", lines[1])[1]
        lines[2] = lines[2].replace("[", f"[{first},")
        file.write_text("\n".join(lines))
    return str(path)


def test_tracks_may_share_hits(files, results, tmp_path):
    path = sharing(tmp_path / "csv", files.other)
    result = results(*pair(files, reference=path))
    before, after = results(*pair(files))["collections"][1], result["collections"][1]
    assert after["tracks_that_share_hits"] == 2 * N_EVENTS
    assert after["hits_on_tracks"] == before["hits_on_tracks"] + N_EVENTS
    # The second track has one hit more, of another particle; nothing else changes.
    assert after["rates"]["purity"]["numerator"] == before["rates"]["purity"]["numerator"]
    assert after["rates"]["purity"]["denominator"] == before["rates"]["purity"]["denominator"] + N_EVENTS
    assert after["rates"]["efficiency"] == before["rates"]["efficiency"]


def test_a_hit_twice_on_one_track_is_refused(files, run, tmp_path):
    path = Path(write(ActsTracksCsvWriter(path=str(tmp_path / "csv")), files.other))
    file = sorted(path.glob("*-tracks.csv"))[1]
    file.write_text(re.sub(r"\[(\d+),", r"[\1,\1,", file.read_text(), count=1))
    done = run(*pair(files, reference=path))
    assert done.code == 1
    assert re.search(r"event 13: track 0 holds hit \d+ twice", done.err)


def test_the_page_is_complete_in_itself_and_reproducible(files, run, figures):
    for name in ("one", "two"):
        done = run(*pair(files), "--label", "ours <1>", "--label", "CKF & co", "--output", name)
        assert done.code == 0, done.err
    content = Path("one/index.html").read_text()
    assert Path("two/index.html").read_text() == content
    assert Path("two/comparison.json").read_bytes() == Path("one/comparison.json").read_bytes()
    assert not re.search(r"(src|href)=\"(?!data:)", content)
    assert "http" not in re.sub(r"base64,[^\"]*", "", content)
    assert "<script" not in content
    assert "ours &lt;1&gt;" in content
    titles = re.findall(r"<h3>(.*?)</h3>", content)
    for words in ("transverse momentum", "pseudorapidity", "azimuth", "impact parameter", "density"):
        assert any(words in title for title in titles), words
    for title in ("Residuals", "Pulls", "Hits per track"):
        assert title in titles
    assert "Event 10: tracks that only one collection has" in titles
    assert json.loads(Path("one/comparison.json").read_text())["events"] == N_EVENTS
    assert "ours <1>" in done.out


def test_the_output_is_not_replaced_unasked(files, run):
    assert run(*pair(files)).code == 0
    assert Path("comparison/index.html").exists()
    again = run(*pair(files))
    assert again.code == 1
    assert "--overwrite" in again.err
    assert run(*pair(files), "--overwrite").code == 0
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("")
    refused = run(*pair(files), "--output", "mine", "--overwrite")
    assert refused.code == 1
    assert "did not write" in refused.err
    assert Path("mine/thesis.tex").exists()


def timing(path, stores, scale=1.0, **changes):
    events = [
        {
            "event_number": s.event_number,
            "n_hits": 1000 * (i + 1),
            "n_tracks": len(s.get("tracks", Tracks)),
            "cpu_s": {"model": scale * 0.01 * (i + 1) ** 2, "reader": 5.0},
        }
        for i, s in enumerate(stores)
    ]
    content = {
        "format": "mltrack-timing",
        "format_version": 1,
        "job": "job",
        "machine": {"processor": "abacus"},
        "workers": 1,
        "threads": 1,
        "counted_steps": ["model"],
        "events": events,
    }
    Path(f"{path}.timing.json").write_text(json.dumps(content | changes))


@pytest.fixture
def copies(files, tmp_path):
    """The two tracks files in an empty folder."""
    paths = [tmp_path / name for name in ("ours.root", "ckf.root")]
    for path, source in zip(paths, (files.tracks, files.reference), strict=True):
        path.write_bytes(Path(source).read_bytes())
    return paths


def test_times_are_read_from_beside_the_tracks(files, copies, run, results, figures):
    timing(copies[0], files.mine)
    timing(copies[1], files.other, scale=3.0)
    arguments = pair(files, tracks=copies[0], reference=copies[1])
    time = results(*arguments)["collections"][0]["time"]
    assert time["mean_ms"] == pytest.approx(10 * 91 / 6)
    assert time["low"] < time["mean_ms"] < time["high"]
    assert time["power_law"]["exponent"] == pytest.approx(2.0)
    assert time["power_law"]["time_at_1000"] == pytest.approx(10.0)
    done = run(*arguments, "--output", "page")
    assert "ratio 0.333" in done.out
    assert "abacus" in done.out
    assert "CPU time per event" in Path("page/index.html").read_text()


def test_times_of_different_machines_are_marked(files, copies, run):
    timing(copies[0], files.mine)
    timing(copies[1], files.other, threads=8, machine={"processor": "slide rule"})
    done = run(*pair(files, tracks=copies[0], reference=copies[1]))
    assert "times were measured with different machine" in done.out
    assert "times were measured with different threads" in done.out


def test_times_of_other_tracks_or_damaged_ones_are_refused(files, copies, run):
    timing(copies[0], files.other)
    done = run(*pair(files, tracks=copies[0], reference=copies[1]))
    assert done.code == 1
    assert "event 10 has 30 tracks, its time was taken with 29" in done.err
    Path(f"{copies[0]}.timing.json").write_text("{")
    assert "timing file cannot be read" in run(*pair(files, tracks=copies[0], reference=copies[1])).err


def test_without_times_the_report_says_so(files, run):
    done = run(*pair(files))
    assert done.out.count("has no record of the time per event") == 2


def test_events_that_one_collection_lacks_are_counted(files, run, results, tmp_path):
    part = write_tracks(tmp_path / "part.root", files.other[1:4])
    result = results(*pair(files, reference=part))
    assert (result["events"], result["left_out"]) == (3, {"ours": 3, "part": 0})
    assert "warning: 3 events of ours are not in the other file" in run(*pair(files, reference=part)).out
    assert results(*pair(files, truth=False, reference=part))["events"] == 3


def test_events_and_skip(files, results):
    for truth in (True, False):
        result = results(*pair(files, truth=truth), "--skip", 2, "--events", 3)
        assert result["events"] == 3
        assert result["overlap"]["of_second"]["denominator"] == 3 * 29


def test_collections_without_tracks_or_fits_are_stated(files, run, tmp_path, figures):
    nothing = ProtoTracks.from_lists([])
    empty = write_tracks(
        tmp_path / "empty.root",
        [with_tracks(s, Tracks(nothing.offsets, nothing.hit_indices)) for s in files.stores],
    )
    bare = write_tracks(
        tmp_path / "bare.root",
        [
            with_tracks(s, Tracks.from_candidates(ProtoTracks.from_labels(true_labels(s))))
            for s in files.stores
        ],
    )
    done = run(*pair(files, reference=empty), "--output", "a")
    assert done.code == 0, done.err
    assert "warning: empty holds no tracks at all" in done.out
    result = json.loads(Path("a/comparison.json").read_text())
    side = result["collections"][1]
    assert side["rates"]["efficiency"]["value"] == 0
    assert side["rates"]["fake_rate"]["value"] is None
    assert side["events_without_tracks"] == N_EVENTS
    assert run(*pair(files, tracks=empty, reference=empty), "--label", "a", "--label", "b").code == 0
    done = run(*pair(files, reference=bare), "--output", "b")
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


def renumbered(stores, shift):
    result = []
    for s in stores:
        copy = EventStore(s.event_number + shift)
        for key in s:
            copy.add(key, s.get(key, object))
        result.append(copy)
    return result


def with_other_ids(stores):
    result = []
    for s in stores:
        copy = EventStore(s.event_number)
        hits = s.get("hits", Hits)
        copy.add("hits", Hits(hits.hit_id[::-1], hits.x, hits.y, hits.z))
        copy.add("tracks", s.get("tracks", Tracks))
        result.append(copy)
    return result


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: renumbered(s, 1), "they have no event number in common"),
        (lambda s: s[::-1], "in another order"),
        (
            lambda s: [with_tracks(e, theirs(e)) for e in (make_event(x.event_number, n=31) for x in s)],
            "hits",
        ),
        (with_other_ids, "other hit ids"),
    ],
    ids=["event numbers", "order", "hit counts", "hit ids"],
)
def test_tracks_of_other_events_are_refused(files, run, tmp_path, make, message, truth):
    path = write_tracks(tmp_path / "other.root", make(files.other))
    done = run(*pair(files, truth=truth, reference=path))
    assert done.code == 1
    assert message in done.err
    assert "other.root" in done.err
    assert "Traceback" not in done.err
    assert not Path("comparison").exists()
    assert not list(Path().glob(".comparison*"))


def test_truth_of_other_events_is_refused(files, run, tmp_path):
    part = write_truth(tmp_path / "part.root", files.stores[:4])
    done = run("--tracks", files.tracks, "--reference", files.reference, "--truth", part)
    assert done.code == 1
    assert "2 events with tracks are not in the truth (22, 25)" in done.err
    far = write_truth(tmp_path / "far.root", renumbered(files.stores, 500))
    done = run("--tracks", files.tracks, "--reference", files.reference, "--truth", far)
    assert "they have no event number in common" in done.err


def test_truth_without_links_and_redvid_momenta_are_refused(files, run, tmp_path):
    bare = []
    for s in files.stores:
        copy = EventStore(s.event_number)
        copy.add("hits", s.get("hits", Hits))
        bare.append(copy)
    path = write_truth(tmp_path / "bare.root", bare)
    done = run("--tracks", files.tracks, "--reference", files.reference, "--truth", path)
    assert done.code == 1
    assert "carries no truth" in done.err
    redvid = write_truth(tmp_path / "redvid.root", files.stores, detector="redvid")
    both = ("--tracks", files.tracks, "--reference", files.reference, "--truth", redvid)
    assert "need the momenta of the particles" in run(*both, "--min-pt", 1).err
    done = run(*both, "--json")
    assert json.loads(done.out)["collections"][0]["residuals"]["residuals"]["d0"]["entries"] == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--label", "a", "--label", "b", "--label", "c"), 2, "two collections to name"),
        (("--label", "a", "--label", "a"), 2, "both collections are called 'a'"),
        (("--min-pt", -1), 2, "min-pt"),
        (("--max-eta", 0), 2, "max-eta"),
        (("--skip", 99), 2, "cannot skip 99 events"),
        (("--reference", "nothing.root"), 1, "nothing.root"),
        (("--reference", "text.root"), 1, "text.root"),
        (("--truth", "text.root"), 1, "text.root"),
        (("--output", "text.root"), 1, "exists already"),
        (("--output", "no/such/folder"), 1, "does not exist"),
    ],
)
def test_wrong_options_are_refused(files, run, options, code, message):
    Path("text.root").write_text("not a ROOT file")
    done = run(*pair(files), *options)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


def test_cuts_need_the_truth(files, run):
    done = run(*pair(files, truth=False), "--min-pt", 1)
    assert done.code == 2
    assert "give --truth" in done.err


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from mltrack_plugin.cli.main import main; main(['compare', '--help']);"
        "heavy = {'numpy', 'awkward', 'uproot', 'torch', 'scipy', 'matplotlib', 'pyarrow'} & set(sys.modules);"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--reference" in done.stdout


def test_the_ckf_tracks_of_colliderml(run, results):
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MLTRACK_SAMPLE_DATA", default)) / "colliderml"
    tracks, hits = (
        folder / f"hard_scatter.ttbar.v1.reco.{n}.events0-4.parquet" for n in ("tracks", "tracker_hits")
    )
    if not tracks.exists():
        pytest.skip("no sample data (MLTRACK_SAMPLE_DATA)")
    cuts = ("--min-pt", 1, "--max-eta", 2.5, "--min-hits", 7)
    both = ("--tracks", tracks, "--reference", tracks, "--label", "CKF", "--label", "again")
    result = results(*both, "--truth", hits, *cuts)
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
