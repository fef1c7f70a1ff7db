"""Collections tell columns, units and ranges; tracks of many events become one array or one frame."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from mltrack_plugin.errors import EventDataError, MissingExtraError
from mltrack_plugin.event_data import (
    EventTracks,
    Hits,
    HitSelection,
    Particles,
    ProtoTracks,
    Tracks,
    TruthLinks,
)

TRACKS = Tracks([0, 2, 5], [0, 1, 2, 3, 4], d0=[0.5, np.nan], theta=[1.0, np.nan], qop=[0.5, np.nan])


def test_hits_tell_units_and_ranges():
    hits = Hits([1, 2, 3], [-1.0, 0.0, 2.5], [0.0] * 3, [9.0] * 3, layer_id=[2, 4, 2])
    lines = repr(hits).splitlines()
    assert lines[0] == "Hits: 3 hits"
    cells = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert cells["x"] == ["float32", "mm", "-1", "to", "2.5"]
    assert cells["z"] == ["float32", "mm", "9"]
    assert cells["layer_id"] == ["int32", "2", "to", "4"]
    assert "<td>mm</td><td>-1 to 2.5</td>" in hits._repr_html_()


def test_tracks_tell_momenta_and_what_has_no_parameters():
    lines = repr(TRACKS).splitlines()
    assert lines[0] == "Tracks: 2 tracks, 5 hits on them (2 to 3 each), 1 of them with parameters"
    assert lines[1].split() == ["pt", "float64", "GeV", "1.68294,", "1", "NaN"]
    assert "offsets" not in repr(TRACKS)
    assert "all NaN" in repr(TRACKS)


def test_truth_particles_and_selections():
    assert repr(TruthLinks([0, 5, 5])).startswith("TruthLinks: 3 hits of 1 particle, 1 of them noise")
    assert "GeV" in repr(Particles([1], *[[1.0]] * 7))
    assert "4 hits kept" in repr(HitSelection.all_of(4))


def test_nothing_at_all():
    for empty in (Hits([], [], [], []), Tracks([0], []), ProtoTracks([0], []), EventTracks(lambda: iter([]))):
        assert "0 " in repr(empty)
        assert "<div>" in empty._repr_html_()
    assert len(EventTracks(lambda: iter([])).to_awkward().tracks.pt) == 0


def test_tracks_of_several_events_become_one_array():
    none, quality = Tracks([0], []), TRACKS.with_columns(quality=np.float32([0.25, 0.75]))
    events = EventTracks(lambda: iter([(3, TRACKS), (7, none), (9, quality)]))
    array = events.to_awkward()
    assert array.event_number.to_list() == [3, 7, 9]
    assert array.tracks.hit_indices.to_list() == [[[0, 1], [2, 3, 4]], [], [[0, 1], [2, 3, 4]]]
    assert np.isnan(array.tracks.quality[0]).to_list() == [True, True]
    assert array.tracks.quality[2].to_list() == [0.25, 0.75]
    assert array.tracks.pt[0][0] == TRACKS.pt[0]
    assert array.tracks.ndf.to_list() == [[0, 0], [], [0, 0]]
    assert events[9] is quality
    assert len(events) == 3


def test_candidates_of_several_events():
    array = EventTracks(lambda: iter([(1, ProtoTracks([0, 2], [4, 6]))])).to_awkward()
    assert array.tracks.hit_indices.to_list() == [[[4, 6]]]
    assert array.tracks.fields == ["hit_indices"]


def test_an_event_number_that_occurs_twice():
    events = EventTracks(lambda: iter([(3, TRACKS), (3, TRACKS)]), "here")
    with pytest.raises(EventDataError, match="here: 2 events have the number 3"):
        events[3]


def test_data_frames():
    pytest.importorskip("pandas")
    frame = TRACKS.with_columns(covariance=np.arange(50.0).reshape(2, 5, 5)).to_pandas()
    assert frame.n_hits.tolist() == [2, 3]
    assert frame.hit_indices[1].tolist() == [2, 3, 4]
    assert frame.cov_d0_qop.tolist() == [4.0, 29.0]
    assert frame.explode("hit_indices").hit_indices.tolist() == [0, 1, 2, 3, 4]
    assert Hits([1], [1.0], [2.0], [3.0]).to_pandas().z.tolist() == [3.0]
    assert len(EventTracks(lambda: iter([])).to_pandas()) == 0


def test_without_pandas_the_install_line_is_given(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "pandas":
            raise ImportError("No module named 'pandas'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        TRACKS.to_pandas()


def test_the_lower_triangle_of_a_covariance_is_that_of_the_upper():
    given = np.arange(50.0).reshape(2, 5, 5)
    covariance = TRACKS.with_columns(covariance=given).covariance
    assert np.array_equal(np.triu(covariance[1]), np.triu(given[1]))
    assert np.array_equal(covariance, covariance.transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("layer_id", [2**31], "column 'layer_id' holds 2147483648, which int32 cannot hold"),
        ("x", ["a"], "column 'x' must hold numbers, got <U1"),
        ("x", [1e300], "non-finite x"),
    ],
)
def test_values_that_a_column_cannot_hold(column, value, message):
    columns = {"hit_id": [1], "x": [1.0], "y": [1.0], "z": [1.0], column: value}
    with pytest.raises(EventDataError, match=message):
        Hits(**columns)
