"""``mltrack reference ckf``: the same events as ``mltrack run``, all formats, times beside the tracks, errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("acts")

from direction_model import save_direction_model

from mltrack_plugin.cli.main import main
from mltrack_plugin.cli.reference import default_output
from mltrack_plugin.event_data import Hits
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.framework.timing import read_timing, timing_path
from mltrack_plugin.io import open_events
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.io.root_tracks import read_meta, read_tracks
from mltrack_plugin.io.tracks_files import read_tracks_any

N_EVENTS = 3


@pytest.fixture(scope="module")
def events(tmp_path_factory) -> Path:
    """Gun events with noise."""
    path = tmp_path_factory.mktemp("reference") / "events.root"
    options = ["--events", str(N_EVENTS), "--tracks", "20-20", "--noise", "0.15", "--split", "test"]
    assert main(["simulate", "acts-gun", *options, "--seed", "4", "--output", str(path)]) == 0
    return path


@pytest.fixture
def reference(events, tmp_path, capsys):
    """``reference(option, ...)``: the command; gives (exit code, standard output, errors)."""

    def _run(*options: str, input: Path = events, output: Path = tmp_path / "ckf.root"):
        code = main(["reference", "ckf", "--input", str(input), "--output", str(output), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return _run


def read_hits(path):
    reader = open_events(str(path))
    reader.initialize()
    found = [event.collections for event in reader.events()]
    reader.finalize()
    return [c["hits"] for c in found], [c["truth_links"] for c in found]


def test_tracks_and_times_are_written_and_scored(reference, tmp_path, events):
    code, text, log = reference("--json", str(tmp_path / "report.json"))
    assert code == 0, log
    hits, truth = read_hits(events)
    tracks = [t for _, t in read_tracks(str(tmp_path / "ckf.root"))]
    record = read_timing(timing_path(tmp_path / "ckf.root"))
    assert record.n_hits.tolist() == [len(h) for h in hits]
    assert record.n_tracks.tolist() == [len(t) for t in tracks]
    assert (record.job, record.workers) == ("acts-ckf-tuned", 1)
    assert (record.cpu_s > 0).all()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["scores"]["efficiency"] > 0.9
    assert report["times"]["reconstruction"] == pytest.approx(1e3 * record.cpu_s.mean())
    assert "not counted" in text
    for found, links in zip(tracks, truth, strict=True):
        assert len(found) >= 18
        assert found.fitted.all()
        # Every track is one particle's, noise hits of the file notwithstanding.
        assert (links.particle_id == 0).sum() > 20
        for i in range(len(found)):
            particles, counts = np.unique(links.particle_id[found.hits_of(i)], return_counts=True)
            assert particles[counts.argmax()] != 0
            assert counts.max() > 0.7 * counts.sum()


def test_the_same_input_gives_the_same_bytes(reference, tmp_path):
    paths = [tmp_path / name for name in ("a.root", "b.root")]
    for path in paths:
        assert reference(output=path)[0] == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_settings_are_in_the_metadata(reference, tmp_path):
    assert reference("--settings", "standard", "--events", "1", "--skip", "1")[0] == 0
    meta = read_meta(str(tmp_path / "ckf.root"))
    assert meta["job"] == "acts-ckf-standard"
    (step,) = json.loads(meta["sequence"])
    assert '"settings": "standard"' in json.dumps(step)
    assert "pyacts" in meta["sequence"]
    assert [number for number, _ in read_tracks(str(tmp_path / "ckf.root"))] == [1]


@pytest.mark.parametrize("name", ["ckf.parquet", "ckf.csv", "ckf"])
def test_other_formats_hold_the_same_tracks(reference, tmp_path, name):
    assert reference("--events", "1")[0] == 0
    assert reference("--events", "1", output=tmp_path / name)[0] == 0
    (_, expected), (_, found) = (next(iter(read_tracks_any(str(tmp_path / p)))) for p in ("ckf.root", name))
    assert np.array_equal(found.hit_indices, expected.hit_indices)
    assert timing_path(tmp_path / name).is_file()


def test_the_track_summary_of_acts_is_written(reference, tmp_path):
    import uproot

    assert reference("--output-format", "acts-tracksummary", "--events", "1")[0] == 0
    with uproot.open(tmp_path / "ckf.root") as file:
        assert len(file["tracksummary"]["eLOC0_fit"].array()[0]) >= 18


def test_the_output_is_named_after_the_input():
    assert default_output("dir/events.root", "ckf") == Path("dir/events.ckf.root")


def test_the_momentum_cut_can_be_moved(reference, tmp_path):
    assert reference("--min-pt", "2.0", "--events", "1")[0] == 0
    ((_, tracks),) = read_tracks(str(tmp_path / "ckf.root"))
    assert 0 < len(tracks) < 18
    assert (tracks.pt > 2.0).all()


def test_an_existing_output_is_kept(reference, tmp_path):
    (tmp_path / "ckf.root.timing.json").write_text("mine")
    code, _, log = reference()
    assert code == 1
    assert "exists already" in log
    assert not (tmp_path / "ckf.root").exists()
    assert (tmp_path / "ckf.root.timing.json").read_text() == "mine"
    assert reference("--overwrite")[0] == 0


def test_run_writes_times_of_its_own_when_asked(events, tmp_path, capsys):
    save_direction_model(tmp_path / "direction.pt", detectors=("generic",))
    output = tmp_path / "tracks.root"
    options = [
        "--config",
        "encreg-trackml-10-50",
        "--model",
        str(tmp_path / "direction.pt"),
        "--device",
        "cpu",
    ]
    arguments = ["run", "--input", str(events), "--output", str(output), *options]
    assert main(arguments) == 0, capsys.readouterr().err
    assert not timing_path(output).exists()
    plain = output.read_bytes()
    assert main([*arguments, "--timing", "--overwrite"]) == 0, capsys.readouterr().err
    assert output.read_bytes() == plain
    record = read_timing(timing_path(output))
    hits, _ = read_hits(events)
    assert record.n_hits.tolist() == [len(h) for h in hits]
    assert "fit-kalman" in record.counted
    assert record.job == "encreg-trackml-10-50"


# ---- bad input ------------------------------------------------------------------------------


def rewritten(events, path, **changes):
    """A copy of the events with other columns (functions of the old ones); ``None`` leaves a column out."""
    writer = RootEventsWriter(path=str(path), detector="generic")
    writer.initialize()
    for number, (hits, truth) in enumerate(zip(*read_hits(events), strict=True)):
        old = hits.arrays()
        new = {name: value(old) if callable(value) else value for name, value in changes.items()}
        store = EventStore(number)
        store.add("hits", Hits(**{**old, **new}))
        store.add("truth_links", truth)
        writer.write(store)
    writer.finalize()
    return path


def test_events_of_another_detector_are_refused(reference, tmp_path):
    path = tmp_path / "redvid.root"
    assert main(["simulate", "redvid-10-50-linear", "--events", "2", "--output", str(path)]) == 0
    code, _, log = reference(input=path)
    assert code == 2
    assert "of redvid" in log
    assert "detector generic" in log
    assert sorted(p.name for p in tmp_path.iterdir()) == ["redvid.root"]


def test_hits_without_modules_are_refused(reference, events, tmp_path):
    path = rewritten(events, tmp_path / "bare.root", geometry_id=None, module_id=None)
    code, _, log = reference(input=path)
    assert code == 1
    assert "neither geometry_id nor module_id" in log
    assert not (tmp_path / "ckf.root").exists()


def test_hits_off_the_modules_are_named_and_can_be_skipped(reference, events, tmp_path):
    path = rewritten(events, tmp_path / "moved.root", x=lambda c: c["x"] + 3.0)
    code, _, log = reference(input=path)
    assert code == 1
    assert "event 0: acts-ckf:" in log
    assert "are off their modules by more than 0.05 mm" in log
    code, _, log = reference("--on-error", "skip", input=path)
    assert code == 1
    assert "none of the 3 events could be processed" in log


def test_a_field_of_zero_is_refused(reference):
    code, _, log = reference("--field", "0")
    assert code == 2
    assert "field_z must not be 0" in log


def test_events_without_seeds_are_an_empty_result_that_is_stated(reference, events, tmp_path):
    """No pixel hits: the hits of the pixels are declared to be another one of the strips."""

    def last(columns, name):
        return np.where(columns["volume_id"] < 10, columns[name][-1], columns[name])

    names = ("x", "y", "z", "geometry_id")
    path = rewritten(events, tmp_path / "strips.root", **{n: lambda c, n=n: last(c, n) for n in names})
    code, _, log = reference(input=path)
    assert code == 0, log
    assert "no tracks in 3 events, 3 of them have no seeds" in log
    assert [len(t) for _, t in read_tracks(str(tmp_path / "ckf.root"))] == [0, 0, 0]
    assert read_timing(timing_path(tmp_path / "ckf.root")).n_tracks.tolist() == [0, 0, 0]


def test_another_finder_is_refused(capsys):
    assert main(["reference", "kcf", "--input", "x.root"]) == 2
    assert "'kcf'" in capsys.readouterr().err


def test_the_output_must_not_be_the_input(reference, events):
    before = events.read_bytes()
    code, _, log = reference("--overwrite", output=events)
    assert code == 1
    assert "it is the input" in log
    assert events.read_bytes() == before


def test_truth_is_not_needed(reference, events, tmp_path):
    path = tmp_path / "data.root"
    settings = {"path": str(path), "detector": "generic"}
    reader = open_events(str(events), read_truth=False)
    Sequencer().add_reader(reader).add_writer(RootEventsWriter(**settings)).run()
    code, text, log = reference(input=path)
    assert code == 0, log
    assert "Scores against the truth" not in text
