"""A whole job in one call: the tracks of ``mltrack run``, in memory or in a file, with what was done and why."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest

import mltrack_plugin
from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import ConfigurationError, EventDataError, InputError, OutputError
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.jobs.run import run

SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "trackml-10-50.root"
N_EVENTS = 4


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Tracks that the command line writes, and its report."""
    folder = tmp_path_factory.mktemp("written")
    arguments = ["run", "--input", str(SAMPLE), "--events", str(N_EVENTS), "--json", str(folder / "run.json")]
    assert main([*arguments, "--output", str(folder / "tracks.root")]) == 0
    return folder / "tracks.root"


@pytest.fixture(scope="module")
def result():
    return run(SAMPLE, events=N_EVENTS)


def test_tracks_in_memory_are_those_of_the_command_line_bit_for_bit(written, result):
    file = mltrack_plugin.read_tracks(written)
    assert len(file) == len(result.tracks) == N_EVENTS
    assert file.event_numbers == result.tracks.event_numbers
    for (number, mine), (other, theirs) in zip(result.tracks, file, strict=True):
        assert number == other
        assert mine.equals(theirs)
    assert result.outputs == ()


def test_result_says_what_the_report_says(written, result):
    report = json.loads((written.parent / "run.json").read_text())
    assert result.scores == report["scores"]
    assert result.job.name == report["job"] == "encemb-generic"
    assert "generic" in result.job.reason
    assert result.job.config == load_job("encemb-generic")
    for key in ("events", "hits", "tracks"):
        assert getattr(result.summary, key) == report[key]
    assert result.times is None
    text = str(result)
    for part in ("encemb-generic", "TrackML score", "fit-kalman", f"{N_EVENTS} events", str(SAMPLE)):
        assert part in text
    assert "<table>" in result._repr_html_()


def test_tracks_that_were_written_are_read_from_the_output(result, tmp_path):
    output = tmp_path / "tracks.root"
    report = tmp_path / "report.json"
    again = run(SAMPLE, output, job="encemb-generic", events=N_EVENTS, timing=True, report=report)
    assert again.outputs == (str(output), f"{output}.timing.json")
    assert all(tracks.equals(result.tracks[number]) for number, tracks in again.tracks)
    assert again.job.reason == "as given"
    assert again.times["reconstruction"] > 0
    assert json.loads(report.read_text())["times"].keys() == again.times.keys()
    with pytest.raises(OutputError, match="exists already"):
        run(SAMPLE, output, job="encemb-generic", events=1)


def test_one_awkward_array_of_all_events(result):
    array = result.tracks.to_awkward()
    assert array.event_number.to_list() == result.tracks.event_numbers
    assert ak.num(array.tracks).to_list() == [len(tracks) for _, tracks in result.tracks]
    for event, (_, tracks) in zip(array, result.tracks, strict=True):
        assert np.array_equal(ak.to_numpy(event.tracks.pt), tracks.pt)
        assert ak.to_list(event.tracks.hit_indices) == [
            tracks.hits_of(i).tolist() for i in range(len(tracks))
        ]
        assert np.array_equal(ak.to_numpy(event.tracks.covariance), tracks.covariance)


def test_one_data_frame_of_all_events(result):
    pytest.importorskip("pandas")
    frame = result.tracks.to_pandas()
    assert len(frame) == result.summary.tracks
    number, tracks = list(result.tracks)[-1]
    part = frame[frame.event_number == number]
    assert part.track.tolist() == list(range(len(tracks)))
    assert np.array_equal(part.d0, tracks.d0)
    assert np.array_equal(part.cov_d0_z0, tracks.covariance[:, 0, 1])
    assert part.hit_indices.iloc[0].tolist() == tracks.hits_of(0).tolist()


def test_workers_skip_and_events(result):
    part = run(SAMPLE, job="encemb-generic", skip=1, events=2, workers=2)
    assert part.tracks.event_numbers == result.tracks.event_numbers[1:3]
    assert all(tracks.equals(result.tracks[number]) for number, tracks in part.tracks)


def test_an_event_that_is_not_there(result):
    with pytest.raises(EventDataError, match="no events have the number 99; there are numbers from 0 to 3"):
        result.tracks[99]


def test_without_truth_there_are_no_scores(tmp_path):
    job = load_job("follow-generic")
    job = job.model_copy(update={"reader": {"read_truth": False}})
    found = run(SAMPLE, job=job, events=1)
    assert found.scores is None
    assert "Scores" not in str(found)


def test_detector_is_a_setting_of_the_reader():
    with pytest.raises(ConfigurationError, match="redvid"):
        run(SAMPLE, job="follow-generic", detector="redvid", events=1)


def test_a_job_without_tracks_needs_an_output():
    with pytest.raises(ConfigurationError, match=r"'cnn-vertex' makes no tracks .*name an output"):
        run(SAMPLE, job="cnn-vertex", events=1)


def test_wrong_arguments(tmp_path):
    with pytest.raises(InputError, match=r"none\.root"):
        run(tmp_path / "none.root")
    with pytest.raises(ConfigurationError, match="Did you mean 'follow-generic'"):
        run(SAMPLE, job="folow-generic")
    with pytest.raises(ConfigurationError, match="name an output"):
        run(SAMPLE, job="follow-generic", timing=True)
    with pytest.raises(OutputError, match="it is the input"):
        run(SAMPLE, SAMPLE, job="follow-generic", overwrite=True)
    with pytest.raises(ConfigurationError, match="nothing to resume"):
        run(SAMPLE, job="follow-generic", resume=True)
