"""``mltrack compare``: what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from compared_events import (
    make_event,
    pair,
    theirs,
    with_tracks,
    write,
    write_tracks,
    write_truth,
)

from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.acts_tracks_csv import ActsTracksCsvWriter
from mltrack_plugin.io.tracksummary import TrackSummaryWriter


def test_a_tracksummary_of_other_events_is_refused(compared, compare, tmp_path):
    # The same event numbers, fewer particles: some that it names left no hit.
    truth = write_truth(
        tmp_path / "few.root", [make_event(s.event_number, n=20, seed=9) for s in compared.stores]
    )
    path = write(TrackSummaryWriter(path=str(tmp_path / "summary.root")), compared.other)
    done = compare("--tracks", path, "--reference", path, "--label", "a", "--label", "b", "--truth", truth)
    assert done.code == 1
    assert "which left no hit in the event" in done.err


def test_a_hit_twice_on_one_track_is_refused(compared, compare, tmp_path):
    path = Path(write(ActsTracksCsvWriter(path=str(tmp_path / "csv")), compared.other))
    file = sorted(path.glob("*-tracks.csv"))[1]
    file.write_text(re.sub(r"\[(\d+),", r"[\1,\1,", file.read_text(), count=1))
    done = compare(*pair(compared, reference=path))
    assert done.code == 1
    assert re.search(r"event 13: track 0 holds hit \d+ twice", done.err)


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
        copy.add("hits", Hits(hits.hit_id + 10**6, hits.x, hits.y, hits.z))
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
def test_tracks_of_other_events_are_refused(compared, compare, tmp_path, make, message, truth):
    path = write_tracks(tmp_path / "other.root", make(compared.other))
    done = compare(*pair(compared, truth=truth, reference=path))
    assert done.code == 1
    assert message in done.err
    assert "other.root" in done.err
    assert "Traceback" not in done.err
    assert not Path("comparison").exists()
    assert not list(Path().glob(".comparison*"))


def test_truth_of_other_events_is_refused(compared, compare, tmp_path):
    part = write_truth(tmp_path / "part.root", compared.stores[:4])
    done = compare("--tracks", compared.tracks, "--reference", compared.reference, "--truth", part)
    assert done.code == 1
    assert "2 events with tracks are not in the truth (22, 25)" in done.err
    far = write_truth(tmp_path / "far.root", renumbered(compared.stores, 500))
    done = compare("--tracks", compared.tracks, "--reference", compared.reference, "--truth", far)
    assert "they have no event number in common" in done.err


def test_truth_without_links_and_redvid_momenta_are_refused(compared, compare, tmp_path):
    bare = []
    for s in compared.stores:
        copy = EventStore(s.event_number)
        copy.add("hits", s.get("hits", Hits))
        bare.append(copy)
    path = write_truth(tmp_path / "bare.root", bare)
    done = compare("--tracks", compared.tracks, "--reference", compared.reference, "--truth", path)
    assert done.code == 1
    assert "carries no truth" in done.err
    redvid = write_truth(tmp_path / "redvid.root", compared.stores, detector="redvid")
    both = ("--tracks", compared.tracks, "--reference", compared.reference, "--truth", redvid)
    assert "need the momenta of the particles" in compare(*both, "--min-pt", 1).err
    done = compare(*both, "--json")
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
def test_wrong_options_are_refused(compared, compare, options, code, message):
    Path("text.root").write_text("not a ROOT file")
    done = compare(*pair(compared), *options)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


def test_cuts_need_the_truth(compared, compare):
    done = compare(*pair(compared, truth=False), "--min-pt", 1)
    assert done.code == 2
    assert "give --truth" in done.err


def test_the_output_is_not_replaced_unasked(compared, compare):
    assert compare(*pair(compared)).code == 0
    assert Path("comparison/index.html").exists()
    again = compare(*pair(compared))
    assert again.code == 1
    assert "--overwrite" in again.err
    assert compare(*pair(compared), "--overwrite").code == 0
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("")
    refused = compare(*pair(compared), "--output", "mine", "--overwrite")
    assert refused.code == 1
    assert "did not write" in refused.err
    assert Path("mine/thesis.tex").exists()
