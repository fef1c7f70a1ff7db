"""A job that stops at any moment can be resumed and gives the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fake_sequence import GeneratedEvents, Halves, JsonLines

from mltrack_plugin.errors import ConfigurationError, EventError, InputError, OutputError
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.event_loop import EventResult
from mltrack_plugin.framework.journal import Journal, input_identity
from mltrack_plugin.framework.packing import Packed, check_packable, pack, unpack
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.framework.summary import SkippedEvent, Summary


def run(path: Path, stop_after: int | None = None, reader=None, algorithm=None, **options) -> Summary:
    """A job in chunks of three events; can be interrupted after some of its twenty events."""

    def interrupt(done: int, total: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    writer = JsonLines(path=str(path), with_hits=True)
    return (
        Sequencer(chunk_size=3, progress=interrupt, **options)
        .add_reader(GeneratedEvents(**{"n_events": 20, **(reader or {})}))
        .add_algorithm(Halves(**(algorithm or {})))
        .add_writer(writer)
        .run()
    )


@pytest.fixture
def interrupted(tmp_path):
    """Output path of a job that was interrupted after 11 events: 9 are in the journal."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=11)
    return tmp_path / "out"


def journal_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.journal")


@pytest.mark.parametrize("stop_after", [1, 3, 11, 20])
def test_resumed_job_gives_the_bytes_of_an_uninterrupted_one(tmp_path, stop_after):
    run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=stop_after)
    assert not (tmp_path / "out").exists()
    summary = run(tmp_path / "out", resume=True)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (summary.events, summary.hits) == (20, 240)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]


def test_only_the_missing_events_are_computed(interrupted):
    summary = run(interrupted, resume=True)
    assert summary.resumed == 9
    assert summary.step("Halves").calls == 11


def test_several_interruptions(interrupted):
    with pytest.raises(KeyboardInterrupt):
        run(interrupted, stop_after=16, resume=True)
    summary = run(interrupted, resume=True)
    assert summary.resumed == 15


def test_gaps_are_filled(tmp_path, interrupted):
    sorted(journal_of(interrupted).glob("chunk-*"))[1].unlink()
    assert run(interrupted, resume=True).resumed == 6
    run(tmp_path / "whole")
    assert interrupted.read_bytes() == (tmp_path / "whole").read_bytes()


def test_other_range_of_events_uses_what_fits(interrupted):
    assert run(interrupted, resume=True, skip=3, events=5).resumed == 3


def test_skipped_events_are_remembered(tmp_path):
    broken = {"reader": {"broken": (1,)}, "algorithm": {"fail_at": (104,), "filter_at": (105,)}}
    run(tmp_path / "whole", on_error="skip", **broken)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=11, on_error="skip", **broken)
    summary = run(tmp_path / "out", resume=True, on_error="skip", **broken)
    assert [s.event_number for s in summary.skipped] == [101, 104]
    assert summary.filtered == 1
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


def test_resuming_under_a_stricter_policy_fails_where_an_event_was_skipped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=11, on_error="skip", algorithm={"fail_at": (104,)})
    with pytest.raises(EventError, match="event 104"):
        run(tmp_path / "out", resume=True, algorithm={"fail_at": (104,)})


def test_failed_job_can_be_resumed_with_skip(tmp_path):
    with pytest.raises(EventError):
        run(tmp_path / "out", algorithm={"fail_at": (110,)})
    summary = run(tmp_path / "out", resume=True, on_error="skip", algorithm={"fail_at": (110,)})
    assert (summary.resumed, summary.events) == (10, 19)


@pytest.mark.parametrize(
    ("change", "component"),
    [
        ({"reader": {"n_hits": 13}}, "reader configuration"),
        ({"algorithm": {"wait_s": 1e-6}}, "sequence"),
        ({"threads": 2}, "number of threads"),
    ],
)
def test_another_job_is_not_resumed(interrupted, change, component):
    with pytest.raises(
        ConfigurationError, match=f"cannot resume: the interrupted job had another {component}"
    ):
        run(interrupted, resume=True, **change)
    # The refusal costs nothing: the right job still resumes.
    assert run(interrupted, resume=True).resumed == 9


def test_without_resume_the_job_starts_afresh_and_says_so(interrupted):
    log: list[str] = []
    assert run(interrupted, log=log.append).resumed == 0
    assert any("left 9 finished events" in line and "--resume" in line for line in log)


def test_resume_without_a_journal_is_an_ordinary_run(tmp_path):
    summary = run(tmp_path / "out", resume=True)
    assert (summary.events, summary.resumed) == (20, 0)


def test_journal_without_a_finished_chunk_is_not_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=2)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_job_says_how_to_continue(tmp_path):
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=11, log=log.append)
    assert log[-1] == "finished events, kept for the same job with --resume: 9"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: (
            content[: len(content) // 2]
            + bytes([content[len(content) // 2] ^ 0xFF])
            + content[len(content) // 2 + 1 :]
        ),
        lambda content: content[: len(content) // 3],
        lambda content: b"",
    ],
    ids=["flipped", "cut", "empty"],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_damaged_chunk_is_computed_again(interrupted, tmp_path, caplog, damage, workers):
    run(tmp_path / "whole")
    chunk = sorted(journal_of(interrupted).glob("chunk-*"))[1]
    chunk.write_bytes(damage(chunk.read_bytes()))
    assert run(interrupted, resume=True, workers=workers).resumed == 6
    assert interrupted.read_bytes() == (tmp_path / "whole").read_bytes()
    assert "events 3 to 5 are computed again" in caplog.text
    assert "is damaged" in caplog.text


def test_an_input_that_changes_while_it_is_read_is_an_error(tmp_path, monkeypatch):
    states = iter(["as it was", "as it is"])
    monkeypatch.setattr("mltrack_plugin.framework.job_run.input_identity", lambda source: next(states))
    with pytest.raises(InputError, match="was changed while it was read"):
        run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_jobs_never_share_an_output(tmp_path):
    first, second = Journal(tmp_path / "out"), Journal(tmp_path / "out")
    first.acquire()
    with pytest.raises(ConfigurationError, match="another running job writes"):
        second.acquire()
    first.close(completed=True)
    second.acquire()
    second.close(completed=True)


def test_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="cannot keep the journal"):
        Journal(tmp_path / "missing" / "out").acquire()


@pytest.mark.parametrize("name", ["out", "second"])
def test_temporary_files_of_a_killed_job_are_removed(tmp_path, name):
    stale = tmp_path / f".{name}.{2**22 + 1}-0a1b2c3d.part"
    other = tmp_path / ".elsewhere.1-0a1b2c3d.part"
    for path in (stale, other):
        path.write_text("half")
    sequencer = Sequencer().add_reader(GeneratedEvents()).add_algorithm(Halves())
    for output in ("out", "second"):
        sequencer.add_writer(JsonLines(path=str(tmp_path / output)))
    sequencer.run()
    assert not stale.exists()
    assert other.exists()


SCRIPT = """
import sys
from fake_sequence import GeneratedEvents, Halves, JsonLines
from mltrack_plugin.framework.sequencer import Sequencer

sequencer = Sequencer(chunk_size=3, resume="resume" in sys.argv)
sequencer.add_reader(GeneratedEvents(n_events=20)).add_algorithm(Halves(wait_s=0.02))
sequencer.add_writer(JsonLines(path=sys.argv[1], with_hits=True)).run()
"""


def test_sigkill_then_resume_gives_the_same_bytes(tmp_path):
    support = str(Path(__file__).parents[1] / "support")
    environment = {**os.environ, "PYTHONPATH": support}

    def command(path: Path, *arguments: str) -> list[str]:
        return [sys.executable, "-c", SCRIPT, str(path), *arguments]

    subprocess.run(command(tmp_path / "whole"), check=True, env=environment)
    process = subprocess.Popen(command(tmp_path / "out"), env=environment)
    deadline = time.monotonic() + 60
    journal = journal_of(tmp_path / "out")
    while len(list(journal.glob("chunk-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.glob(".out.*.part"))) == 1
    subprocess.run(command(tmp_path / "out", "resume"), check=True, env=environment)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "whole"]


# ---- identity of the input ------------------------------------------------------------------


def test_input_identity_sees_changes_of_files_and_folders(tmp_path):
    folder = tmp_path / "events"
    folder.mkdir()
    (folder / "a.csv").write_text("1")
    file, whole = input_identity(str(folder / "a.csv")), input_identity(str(folder))
    assert input_identity(str(folder)) == whole
    (folder / "a.csv").write_text("12")
    assert input_identity(str(folder / "a.csv")) != file
    assert input_identity(str(folder)) != whole
    assert input_identity("https://example.org/a.root") == "https://example.org/a.root"


# ---- packing --------------------------------------------------------------------------------


def test_packing_is_exact():
    ids = np.array([7, 2**63], np.uint64)
    hits = Hits(ids, [0.1, -1e30], [0, 1e-40], [5, 6], geometry_id=np.array([1, 2**64 - 1], np.uint64))
    tracks = Tracks(np.array([0, 2]), np.array([0, 1]), covariance=np.full((1, 5, 5), np.nan))
    events = [
        EventResult(3, 2**40, {"hits": hits, "tracks": tracks, "raw": np.arange(6.0).reshape(2, 3)}, 2, 1),
        EventResult(4, 2**40 + 1, skipped=SkippedEvent(4, 2**40 + 1, "Fit", "no 'ü' \n")),
        EventResult(5, 2**40 + 2, filtered=True),
    ]
    good, skipped, filtered = unpack(pack(events, {"hits", "tracks", "raw"}))
    assert good.collections["hits"].equals(hits)
    assert good.collections["tracks"].equals(tracks)
    assert good.collections["raw"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (good.index, good.event_number, good.hits, good.tracks) == (3, 2**40, 2, 1)
    assert skipped == events[1]
    assert filtered == events[2]


def test_packing_takes_only_the_keys_it_is_asked_for():
    hits = Hits([1], [0.0], [0.0], [0.0])
    (event,) = unpack(pack([EventResult(0, 0, {"hits": hits, "other": hits})], {"hits"}))
    assert list(event.collections) == ["hits"]


def test_a_journal_cannot_name_a_class_that_is_no_collection():
    header = b'[{"event": [0, 0, 0, 0], "collections": {"hits": ["pathlib:Path", []]}}]'
    with pytest.raises(ValueError, match="no collection of this job"):
        unpack(Packed(header, b""))


def test_writers_of_other_types_are_refused(tmp_path):
    writer = JsonLines(path=str(tmp_path / "out"))
    writer.read_handle(dict, "extra")
    with pytest.raises(ConfigurationError, match="JsonLines reads 'extra' as dict"):
        check_packable([writer])
