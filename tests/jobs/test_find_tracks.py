"""Tracks of the hits of one event: every kind of input gives those of the job; what is wrong with it is named."""

from __future__ import annotations

from collections import UserDict
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

from mltrack_plugin import find_tracks, load_detector, open_events
from mltrack_plugin.errors import ConfigurationError, EventDataError, ModelError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.jobs import find_tracks as module
from mltrack_plugin.jobs.chains import ChainRunner
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.jobs.run import run

SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "trackml-10-50.root"
JOB = "encemb-generic"


@pytest.fixture(scope="module")
def events():
    return [event.hits for event in open_events(str(SAMPLE), read_truth=False)][:3]


@pytest.fixture(scope="module")
def expected():
    return [tracks for _, tracks in run(SAMPLE, job=JOB, events=3).tracks]


class Frame:
    """A table that is no mapping, like a data frame."""

    def __init__(self, columns):
        self.content = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self.content[name]


def structured(hits):
    columns = hits.arrays()
    table = np.empty(len(hits), dtype=[(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    return table


def positions(hits):
    return {name: getattr(hits, name).astype(np.float64) for name in "xyz"}


KINDS = {
    "Hits": lambda hits: hits,
    "arrays": lambda hits: hits.arrays(),
    "mapping": lambda hits: UserDict(hits.arrays()),
    "lists": lambda hits: {name: values.tolist() for name, values in hits.arrays().items()},
    "awkward records": lambda hits: hits.to_awkward(),
    "structured array": structured,
    "data frame": lambda hits: Frame(hits.arrays()),
    "positions": positions,
    "awkward positions": lambda hits: ak.zip(positions(hits)),
    "with truth": lambda hits: {**hits.arrays(), "particle_id": np.ones(len(hits), int)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_gives_the_tracks_of_the_job(kind, events, expected):
    for hits, tracks in zip(events, expected, strict=True):
        assert find_tracks(KINDS[kind](hits), job=JOB).equals(tracks)


def test_pandas(events, expected):
    pytest.importorskip("pandas")
    assert find_tracks(events[0].to_pandas(), job=JOB).equals(expected[0])


@pytest.mark.parametrize(
    "options",
    [{}, {"detector": "generic"}, {"detector": "trackml", "job": JOB}, {"model": "encemb-generic"}],
    ids=str,
)
def test_what_is_not_said_is_found_out(options, events, expected):
    assert find_tracks(positions(events[1]), **options).equals(expected[1])


def test_a_job_is_got_ready_once(events, monkeypatch):
    made = []
    initialize = ChainRunner.initialize

    def counting(self):
        made.append(self)
        initialize(self)

    monkeypatch.setattr(ChainRunner, "initialize", counting)
    monkeypatch.setattr(module, "_kept", {})
    for job in ("follow-generic", load_job("follow-generic"), "follow-generic"):
        for hits in events:
            find_tracks(hits, job=job)
    assert len(made) == 1
    detector = load_detector("generic")
    find_tracks(events[0], job="follow-generic", detector=detector)
    assert len(made) == 1
    find_tracks(events[0], job="follow-generic", detector=detector.model_copy(update={"thickness": 0.05}))
    find_tracks(events[0], job="follow-generic", device="cpu")
    assert len(made) == 3


def test_only_some_jobs_are_kept(events, monkeypatch):
    monkeypatch.setattr(module, "_kept", {})
    monkeypatch.setattr(module, "_KEPT", 2)
    first = load_job("follow-generic")
    for name in ("a", "b", "c"):
        find_tracks(events[0], job=first.model_copy(update={"name": name}))
    assert len(module._kept) == 2


def test_a_job_file_and_one_of_another_detector(events, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "sequence: [{algorithm: preprocess-hits}, {algorithm: follow-seeds}, "
        "{algorithm: build-tracks, proto_tracks: followed_tracks}]\n"
    )
    tracks = find_tracks(events[0], job=path, detector="generic")
    assert len(tracks) > 5
    assert not tracks.fitted.any()


def test_no_hits():
    empty = {"x": [], "y": [], "z": []}
    assert len(find_tracks(empty, job=JOB)) == 0
    assert len(find_tracks(empty, detector="generic")) == 0
    with pytest.raises(ConfigurationError, match="has no hits that would tell it"):
        find_tracks(empty)


# ---- bad input ------------------------------------------------------------------------------

ONE = {"x": [1.0], "y": [2.0], "z": [3.0]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": [1.0], "y": [1.0]}, r"need the column 'z' \(mm\); given are x, y"),
        ({"x": [1.0], "y": [1.0], "tz": [1.0]}, "Is it 'tz'"),
        ({}, "given are none"),
        ({**ONE, "z": [1.0, 2.0]}, r"differ in length \(x: 1, y: 1, z: 2\)"),
        ({**ONE, "hit_id": [1, 2]}, "differ in length"),
        ({**ONE, "z": [np.nan]}, "1 of 1 hits have a non-finite z"),
        ({**ONE, "z": [1e300]}, "non-finite z"),
        ({**ONE, "z": ["a"]}, "column 'z' must hold numbers, got <U1"),
        ({**ONE, "z": [None]}, "column 'z' must hold numbers, got object"),
        ({**ONE, "z": [1j]}, "column 'z' must hold numbers, got complex"),
        ({**ONE, "z": [[1.0]]}, r"column 'z' must have one value per hit, its shape is \(1, 1\)"),
        ({**ONE, "z": 1.0}, "column 'z' must have one value per hit"),
        ({**ONE, "layer": [1]}, "no column 'layer'. Did you mean 'layer_id'"),
        ({**ONE, "layer_id": [1.5]}, "column 'layer_id' must hold integers, got float64"),
        ({**ONE, "layer_id": [2**40]}, "column 'layer_id' holds 1099511627776, which int32 cannot hold"),
        ({**ONE, "hit_id": [-1]}, "must not be negative"),
        ({**ONE, "event_id": [1]}, "give one event at a time .*groupby"),
        (np.zeros((4, 3)), r"ndarray of shape \(4, 3\): give columns by name"),
        (7, "cannot be made of a int"),
        (ak.Array([1.0, 2.0]), "has the fields x, y, z"),
        (ak.Array([[ONE | {"x": 1.0, "y": 1.0, "z": 1.0}]]), r"\[find_tracks\(event\) for event in array\]"),
    ],
)
def test_what_is_wrong_with_the_hits_is_named(data, message):
    with pytest.raises(EventDataError, match=message):
        find_tracks(data, job=JOB)


def test_hits_of_nowhere(events):
    centimetres = {name: values / 10 for name, values in positions(events[0]).items()}
    with pytest.raises(ConfigurationError, match="if their unit were cm"):
        find_tracks(centimetres)
    with pytest.raises(
        ConfigurationError, match=r"lie on the layers of the detector 'generic', 99% must.* in mm"
    ):
        find_tracks(centimetres, detector="generic", job=JOB)


def test_unknown_names(events):
    with pytest.raises(ConfigurationError, match="Did you mean 'encemb-generic'"):
        find_tracks(events[0], job="encemb-genric")
    with pytest.raises(ConfigurationError, match="no detector 'genric'"):
        find_tracks(events[0], detector="genric")
    with pytest.raises(ModelError, match="no-such"):
        find_tracks(events[0], job=JOB, model="no-such")


def test_repeated_hit_ids_are_refused(events):
    with pytest.raises(EventDataError, match="hit ids are repeated"):
        find_tracks({**positions(events[0]), "hit_id": np.zeros(len(events[0]), int)}, job=JOB)


def test_hits_stay_as_they_are(events):
    before = {name: values.copy() for name, values in events[0].arrays().items()}
    find_tracks(events[0], job=JOB)
    assert events[0].equals(Hits(**before))
