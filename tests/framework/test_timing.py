"""CPU time per event: taken by the event loop, written beside the tracks, read back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fake_sequence import GeneratedEvents, Halves

from mltrack_plugin.errors import ConfigurationError, EventError, InputError, OutputError
from mltrack_plugin.framework.event_loop import EventResult
from mltrack_plugin.framework.packing import pack, unpack
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.framework.timing import STEP_TIMES, StepTimes, TimingWriter, read_timing, timing_path


def run(path, n_events=4, **settings):
    writer = TimingWriter(path=str(path), **settings)
    return (
        Sequencer(on_error="skip")
        .add_reader(GeneratedEvents(n_events=n_events, broken=(2,)))
        .add_algorithm(Halves(output="early"))
        .add_algorithm(Halves())
        .add_writer(writer)
        .run()
    )


def test_every_algorithm_and_processed_event_has_a_time(tmp_path):
    path = tmp_path / "times.json"
    summary = run(path, job="halves", workers=1, threads=1)
    record = read_timing(path)
    # The broken event has none.
    assert record.event_number.tolist() == [100, 101, 103]
    assert record.n_hits.tolist() == [12, 12, 12]
    assert record.n_tracks.tolist() == [2, 2, 2]
    assert record.counted == ("Halves", "Halves #2")
    assert record.cpu_s == pytest.approx(record.steps["Halves"] + record.steps["Halves #2"])
    assert (record.job, record.workers, record.threads) == ("halves", 1, 1)
    assert set(record.machine) == {"processor", "cores", "system", "python"}
    # The same clock readings that the summary adds up.
    for name in record.counted:
        assert record.steps[name].sum() == pytest.approx(summary.step(name).cpu_s)


def test_times_survive_the_journal_and_the_way_between_processes():
    times = StepTimes(np.array(["a", "bb"]), np.array([0.1, 0.2]), np.array([True, False]))
    (event,) = unpack(pack([EventResult(0, 5, {STEP_TIMES: times})], {STEP_TIMES}))
    assert event.collections[STEP_TIMES].equals(times)


def test_without_a_writer_that_asks_no_times_are_kept(tmp_path):
    from fake_sequence import JsonLines

    path = tmp_path / "tracks.jsonl"
    Sequencer().add_reader(GeneratedEvents(n_events=2)).add_algorithm(Halves()).add_writer(
        JsonLines(path=str(path))
    ).run()
    assert STEP_TIMES not in path.read_text()


def test_the_file_is_beside_the_tracks(tmp_path):
    assert timing_path(tmp_path / "a.root") == tmp_path / "a.root.timing.json"
    assert timing_path("folder/tracks").as_posix() == "folder/tracks.timing.json"


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "times.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        run(path)
    assert path.read_text() == "mine"
    run(path, overwrite=True)
    assert len(read_timing(path)) == 3


def test_a_job_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(EventError, match="non-finite"):
        Sequencer().add_reader(GeneratedEvents(n_events=3, broken=(1,))).add_algorithm(Halves()).add_writer(
            TimingWriter(path=str(tmp_path / "times.json"))
        ).run()
    assert not (tmp_path / "times.json").exists()
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))


def test_times_that_nobody_takes_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="needs 'other_times'"):
        run(tmp_path / "times.json", times="other_times")


def test_steps_that_are_not_counted_stay_out_of_the_sum(tmp_path):
    path = tmp_path / "times.json"
    run(path)
    content = json.loads(path.read_text())
    content["counted_steps"] = ["Halves"]
    content["events"][0]["cpu_s"] = {"Halves": 0.5, "Halves #2": 9.0}
    content["events"][1]["cpu_s"] = {"Halves": 0.25}
    path.write_text(json.dumps(content))
    record = read_timing(path)
    assert record.cpu_s[:2].tolist() == [0.5, 0.25]
    assert np.isnan(record.steps["Halves #2"][1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "cannot be read"),
        ("[]", "no timing file"),
        ('{"format": "mltrack-tracks"}', "no timing file"),
        ('{"format": "mltrack-timing", "format_version": 99}', "version 99, known is 1"),
        ('{"format": "mltrack-timing", "format_version": 1}', "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "times.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_timing(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json"):
        read_timing(tmp_path / "absent.json")
