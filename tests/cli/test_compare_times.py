"""``mltrack compare``: times that stand beside the tracks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compared_events import (
    pair,
)

from mltrack_plugin.event_data import Tracks


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
def copies(compared, tmp_path):
    """The two tracks compared in an empty folder."""
    paths = [tmp_path / name for name in ("ours.root", "ckf.root")]
    for path, source in zip(paths, (compared.tracks, compared.reference), strict=True):
        path.write_bytes(Path(source).read_bytes())
    return paths


def test_times_are_read_from_beside_the_tracks(compared, copies, compare, compare_json, figures):
    timing(copies[0], compared.mine)
    timing(copies[1], compared.other, scale=3.0)
    arguments = pair(compared, tracks=copies[0], reference=copies[1])
    time = compare_json(*arguments)["collections"][0]["time"]
    assert time["mean_ms"] == pytest.approx(10 * 91 / 6)
    assert time["low"] < time["mean_ms"] < time["high"]
    assert time["power_law"]["exponent"] == pytest.approx(2.0)
    assert time["power_law"]["time_at_1000"] == pytest.approx(10.0)
    done = compare(*arguments, "--output", "page")
    assert "ratio 0.333" in done.out
    assert "abacus" in done.out
    assert "CPU time per event" in Path("page/index.html").read_text()


def test_times_of_different_machines_are_marked(compared, copies, compare):
    timing(copies[0], compared.mine)
    timing(copies[1], compared.other, threads=8, machine={"processor": "slide rule"})
    done = compare(*pair(compared, tracks=copies[0], reference=copies[1]))
    assert "times were measured with different machine" in done.out
    assert "times were measured with different threads" in done.out


def test_times_of_other_tracks_or_damaged_ones_are_refused(compared, copies, compare):
    timing(copies[0], compared.other)
    done = compare(*pair(compared, tracks=copies[0], reference=copies[1]))
    assert done.code == 1
    assert "event 10 has 30 tracks, its time was taken with 29" in done.err
    Path(f"{copies[0]}.timing.json").write_text("{")
    assert "timing file cannot be read" in compare(*pair(compared, tracks=copies[0], reference=copies[1])).err


def test_without_times_the_report_says_so(compared, compare):
    done = compare(*pair(compared))
    assert done.out.count("has no record of the time per event") == 2
