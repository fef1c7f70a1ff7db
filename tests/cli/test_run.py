"""``mltrack run``: from a ROOT file of hits to a file of tracks, with good and with bad input."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from direction_model import save_direction_model
from reading_events import hits_of, write_events

from mltrack_plugin.cli.main import main
from mltrack_plugin.cli.run import default_output
from mltrack_plugin.io.root_tracks import read_meta, read_tracks
from mltrack_plugin.jobs import choice as job_choice
from mltrack_plugin.jobs.config import job_text

ROOT = Path(__file__).parents[2]
JOB = "encreg-redvid-10-50-linear"
N_EVENTS = 12


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """Folder with simulated events of straight tracks and a model that finds them."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ["--events", str(N_EVENTS), "--seed", "5", "--output", str(folder / "events.root")]
    assert main(["simulate", "redvid-10-50-linear", *arguments]) == 0
    save_direction_model(folder / "direction.pt")
    return folder


@pytest.fixture
def run(shared, tmp_path, capsys):
    """``run(option, ...)``: the command on the shared events; gives (exit code, standard output, errors)."""

    def _run(*options: str, input: Path = shared / "events.root", config: str | None = JOB):
        arguments = ["run", "--input", str(input)]
        if config is not None:
            arguments += ["--config", config, "--model", str(shared / "direction.pt"), "--device", "cpu"]
        if "--output" not in options:
            options += ("--output", str(tmp_path / "tracks.root"))
        code = main([*arguments, *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _run


def test_tracks_are_found_and_scored(run, tmp_path):
    code, text, log = run("--json", str(tmp_path / "run.json"))
    assert code == 0, log
    report = json.loads((tmp_path / "run.json").read_text())
    tracks = dict(read_tracks(tmp_path / "tracks.root"))
    assert len(tracks) == report["events"] == N_EVENTS
    assert sum(map(len, tracks.values())) == report["tracks"] > 100
    # Straight tracks from the origin share a direction, so even this trivial model finds nearly all.
    assert report["scores"]["fit_accuracy"] > 0.9
    assert report["scores"]["events"] == N_EVENTS
    assert [step["name"] for step in report["steps"]][0::6] == ["root-events", "root-tracks"]
    assert f"{N_EVENTS} events, {report['hits']} hits, {report['tracks']} tracks" in text
    assert "TrackML score" in text
    assert "hdbscan" in text
    assert "encreg" in log
    assert "<- hits, selected_hits  -> hit_parameters" in log
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.json", "tracks.root"]


def test_the_output_tells_how_it_was_made(run, tmp_path):
    run()
    meta = read_meta(tmp_path / "tracks.root")
    assert meta["job"] == JOB
    steps = json.loads(meta["sequence"])
    assert [len(s["model_sha256"]) for s in steps if "model_sha256" in s] == [64]
    assert json.loads(meta["skipped_events"]) == []
    assert "mltrack-plugin" in json.loads(meta["versions"])


def test_workers_do_not_change_a_byte(run, tmp_path):
    for n in (1, 2):
        assert run("--workers", str(n), "--output", str(tmp_path / f"{n}.root"))[0] == 0
    assert (tmp_path / "1.root").read_bytes() == (tmp_path / "2.root").read_bytes()


def test_range_of_events(run, tmp_path):
    assert run("--skip", "3", "--events", "4")[0] == 0
    whole = [number for number, _ in read_tracks(tmp_path / "tracks.root")]
    assert len(whole) == 4
    assert run("--skip", "100", "--overwrite")[0] == 2


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "folder"])
def test_the_suffix_chooses_the_format(run, tmp_path, name):
    assert run("--output", str(tmp_path / name), "--events", "2")[0] == 0
    assert (tmp_path / name).exists()


def test_unknown_suffix_names_the_known_ones(run, tmp_path):
    code, _, errors = run("--output", str(tmp_path / "t.hdf5"))
    assert code == 2
    assert "no output format for the suffix" in errors
    assert "'.parquet'" in errors
    assert "root-tracks" in errors


def test_output_format_overrides_the_suffix(run, tmp_path):
    assert run("--output-format", "acts-tracksummary", "--events", "2")[0] == 0


def test_job_file_with_two_writers(run, shared, tmp_path):
    job = tmp_path / "job.yaml"
    text = job_text(JOB)
    job.write_text(text + 'writers: [root-tracks, {writer: trackml-submission, path: "{stem}.csv"}]\n')
    assert run("--events", "2", config=str(job))[0] == 0
    assert (tmp_path / "tracks.csv").exists()


def test_with_only_an_input_the_job_is_chosen_and_the_output_lies_beside_it(
    run, shared, tmp_path, monkeypatch, capsys
):
    job = tmp_path / "chosen.yaml"
    text = job_text(JOB)
    job.write_text(text.replace(f"model: {JOB}", f"model: {shared / 'direction.pt'}"))
    monkeypatch.setattr(job_choice, "choose_job", lambda reader, model: (str(job), "it fits"))
    shutil.copy(shared / "events.root", tmp_path)
    assert main(["run", "--input", str(tmp_path / "events.root")]) == 0
    log = " ".join(capsys.readouterr().err.split())
    assert "chosen.yaml: it fits" in log
    assert (tmp_path / "events.tracks.root").exists()


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("data/events.root", "data/events.tracks.root"),
        ("data/train_1.zip", "data/train_1.tracks.root"),
        ("data/events.csv.gz", "data/events.tracks.root"),
        ("data/run.5.root", "data/run.5.tracks.root"),
        ("data/folder/", "data/folder.tracks.root"),
        ("https://example.org/a/events.root", "events.tracks.root"),
    ],
)
def test_default_output(source, output):
    assert default_output(source) == Path(output)


# ---- bad input ------------------------------------------------------------------------------


def refused(result: tuple[int, str, str], tmp_path: Path, code: int, *parts: str) -> None:
    """The run failed with a message and left nothing (but, where events were finished, the journal)."""
    got, _, errors = result
    assert got == code, errors
    assert "Traceback" not in errors
    for part in parts:
        assert part in errors
    assert not (tmp_path / "tracks.root").exists()
    assert {path.name for path in tmp_path.glob(".*")} <= {".tracks.root.journal"}


def test_missing_file(run, tmp_path):
    refused(run(input=tmp_path / "none.root"), tmp_path, 1, "none.root")


def test_file_that_is_not_root(run, tmp_path):
    (tmp_path / "events.root").write_text("hits? no")
    refused(run(input=tmp_path / "events.root"), tmp_path, 1, "events.root")


def test_truncated_file(run, shared, tmp_path):
    content = (shared / "events.root").read_bytes()
    (tmp_path / "events.root").write_bytes(content[: len(content) // 2])
    refused(run(input=tmp_path / "events.root"), tmp_path, 1, "events.root", "truncated")


def test_existing_output_is_refused_and_kept(run, tmp_path):
    (tmp_path / "tracks.root").write_text("precious")
    code, _, errors = run()
    assert code == 1
    assert "--overwrite" in errors
    assert (tmp_path / "tracks.root").read_text() == "precious"
    assert run("--overwrite")[0] == 0
    assert len(list(read_tracks(tmp_path / "tracks.root"))) == N_EVENTS


def test_existing_report_is_refused_before_the_work(run, tmp_path):
    (tmp_path / "run.json").write_text("precious")
    code, _, errors = run("--json", str(tmp_path / "run.json"))
    assert code == 1
    assert "run.json" in errors
    assert not (tmp_path / "tracks.root").exists()


def test_missing_output_folder(run, tmp_path):
    refused(run("--output", str(tmp_path / "none" / "t.root")), tmp_path, 1, "does not exist", "mkdir")


def test_full_disk_costs_no_finished_event(run, tmp_path, monkeypatch):
    def full(descriptor):
        if ".journal" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        refused(run(), tmp_path, 1, "disk is full", "kept for the same job with --resume: 12")
    code, text, _ = run("--resume")
    assert code == 0
    assert "events from the interrupted job: 12" in text


def test_unknown_names(run, tmp_path):
    refused(run(config="encreg-redvid-linear"), tmp_path, 2, "Did you mean 'encreg-redvid-10-50-linear'")
    refused(run("--model", "no-such-model"), tmp_path, 1, "no-such-model")
    refused(run("--format", "rot-events"), tmp_path, 2, "Did you mean 'root-events'")


def test_damaged_model(run, shared, tmp_path):
    content = bytearray((shared / "direction.pt").read_bytes())
    content[len(content) // 2 :] = b""
    (tmp_path / "damaged.pt").write_bytes(content)
    refused(run("--model", str(tmp_path / "damaged.pt")), tmp_path, 1, "damaged.pt")


def test_model_for_another_detector(run, shared, tmp_path):
    events = write_events(tmp_path / "generic.root", {"hits": [hits_of(1)]}, [1])
    job = tmp_path / "job.yaml"
    job.write_text("reader: {detector: generic}\n" + job_text(JOB))
    refused(
        run(input=Path(events), config=str(job)), tmp_path, 2, "set up for the detector redvid", "of generic"
    )


def on_disc(number, n=5):
    """An event whose hits lie on REDVID's innermost disc."""
    row = np.arange(n, dtype=np.float32)
    return hits_of(number, n, x=0.5 + 0.5 * row, y=0 * row, z=2 + 0 * row)


@pytest.fixture
def one_bad_event(tmp_path) -> Path:
    """Three events without truth, the second with a coordinate that is no number."""
    x = np.array([1.0, np.nan, 3.0, 4.0, 5.0], dtype=np.float32)
    events = [on_disc(1), hits_of(2, x=x), on_disc(3)]
    for event in events:
        del event["particle_id"]
    return Path(write_events(tmp_path / "events.root", {"hits": events}, [71, 72, 73]))


def test_bad_event_stops_the_job(run, tmp_path, one_bad_event):
    refused(run(input=one_bad_event), tmp_path, 1, "events.root", "event 72", "non-finite x")


def test_bad_event_is_skipped_and_recorded(run, tmp_path, one_bad_event):
    code, text, _ = run("--on-error", "skip", "--json", str(tmp_path / "run.json"), input=one_bad_event)
    assert code == 0
    assert "events skipped: 1" in text
    assert "event 72" in text
    (skipped,) = json.loads((tmp_path / "run.json").read_text())["skipped_events"]
    assert skipped["event_number"] == 72
    (recorded,) = json.loads(read_meta(tmp_path / "tracks.root")["skipped_events"])
    assert recorded == skipped
    assert [number for number, _ in read_tracks(tmp_path / "tracks.root")] == [71, 73]
    assert json.loads((tmp_path / "run.json").read_text())["scores"] is None


@pytest.mark.parametrize("n_hits", [0, 1])
def test_event_with_hardly_any_hits_has_no_tracks(run, tmp_path, n_hits):
    events = write_events(tmp_path / "e.root", {"hits": [on_disc(1, n_hits), on_disc(2)]}, [1, 2])
    code, _, errors = run(input=Path(events))
    assert code == 0, errors
    assert len(dict(read_tracks(tmp_path / "tracks.root"))[1]) == 0


# ---- interruption ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_interrupted_job_resumes_to_the_same_bytes(run, shared, tmp_path, number, code):
    assert run("--output", str(tmp_path / "whole.root"))[0] == 0
    output = tmp_path / "tracks.root"
    arguments = ["--input", str(shared / "events.root"), "--output", str(output), "--config", JOB]
    arguments += ["--model", str(shared / "direction.pt"), "--device", "cpu"]
    # Chunks of one event, and a pause after each, so that the signal meets a job half done.
    script = f"""
import sys, time
import mltrack_plugin.framework.sequencer as module
from mltrack_plugin.cli.main import main
original = module.Sequencer.__init__
def slow(self, *args, progress=None, **options):
    original(self, *args, progress=lambda done, total: time.sleep(0.1), chunk_size=1, **options)
module.Sequencer.__init__ = slow
sys.exit(main(["run", *{arguments!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob(".tracks.root.journal/chunk-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert not output.exists()
    if number != signal.SIGKILL:
        assert "--resume" in errors
        assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))
    result = run("--resume")
    assert result[0] == 0
    assert "events from the interrupted job" in result[1]
    assert output.read_bytes() == (tmp_path / "whole.root").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tracks.root", "whole.root"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_standard_output_does_not_fail_a_complete_job(tmp_path):
    sample = ROOT / "examples" / "data" / "trackml-10-50.root"
    words = [
        "--input",
        sample,
        "--output",
        tmp_path / "tracks.root",
        "--config",
        "follow-generic",
        "--events",
        1,
    ]
    command = [sys.executable, "-m", "mltrack_plugin", "run", *map(str, words)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    assert "the outputs are complete, but the summary cannot be printed" in done.stderr
    assert (tmp_path / "tracks.root").exists()
