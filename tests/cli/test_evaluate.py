"""``mltrack evaluate`` and ``mltrack display``: files and jobs against the truth, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from direction_model import save_direction_model

from mltrack_plugin.algorithms.encreg import EncReg
from mltrack_plugin.algorithms.hdbscan import HDBSCAN
from mltrack_plugin.algorithms.preprocess_hits import PreprocessHits
from mltrack_plugin.algorithms.unet import UNet
from mltrack_plugin.cli.evaluate import TIMES, score_file, times
from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import EventDataError, EventError
from mltrack_plugin.evaluation import ScoreAccumulator
from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, Tracks, TruthLinks
from mltrack_plugin.framework.algorithm import ReadEvent, WriteHandle
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.io.root_tracks import RootTracksWriter
from mltrack_plugin.simulation.datasets import make_dataset

N_EVENTS = 6


def simulated(n=N_EVENTS, seed=4, first_number=100):
    """Event stores with hits, truth and (nearly) true tracks; event numbers are not indices."""
    dataset = make_dataset("redvid-10-50-linear", {"tracks": (5, 9), "multiplicity": "uniform", "noise": 0.1})
    stores = []
    for i, event in enumerate(dataset.events(n, seed, "test")):
        labels = event.truth_links.particle_id.astype(np.int64) - 1
        # The first two particles of every event make one merged track: something is wrong in every metric.
        proto = ProtoTracks.from_labels(np.where(labels == 1, 0, labels))
        store = EventStore(first_number + 3 * i)
        store.add("hits", event.hits)
        store.add("truth_links", event.truth_links)
        store.add("particles", event.particles)
        store.add("tracks", Tracks(proto.offsets, proto.hit_indices))
        stores.append(store)
    return stores


def write(writer, stores):
    writer.initialize()
    for store in stores:
        writer.write(store)
    writer.set_job_info({})
    writer.finalize()
    return str(writer.config.path)


def without_truth(store):
    bare = EventStore(store.event_number)
    bare.add("hits", store.get("hits", Hits))
    return bare


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    stores = simulated()
    events = write(RootEventsWriter(path=str(folder / "events.root"), detector="redvid"), stores)
    tracks = write(RootTracksWriter(path=str(folder / "tracks.root")), stores)
    return SimpleNamespace(folder=folder, stores=stores, events=events, tracks=tracks)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """``run(argument, ...)``: exit code, standard output, standard error, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def _run(*arguments):
        code = main([str(a) for a in arguments])
        out = capsys.readouterr()
        return SimpleNamespace(code=code, out=out.out, err=out.err)

    return _run


def test_a_tracks_file_is_scored_like_the_collections_in_memory(files, run):
    done = run("evaluate", "--input", files.events, "--tracks", files.tracks, "--json", "r.json")
    assert done.code == 0, done.err
    result = json.loads(Path("r.json").read_text())
    expected = ScoreAccumulator(detector="redvid")
    for s in files.stores:
        expected.add(*(s.get(k, object) for k in ("hits", "truth_links", "tracks", "particles")))
    for key, value in json.loads(json.dumps(expected.result())).items():
        assert result[key] == value
    assert result["events"] == N_EVENTS
    assert result["hit_weights"] == ["unit"]
    assert 0 < result["perfect_match_efficiency"] < 1
    assert all(result[key] is None for key in TIMES)
    assert f"{result['trackml_score']:.4f}" in done.out
    assert "double majority efficiency" in done.out


def test_the_json_has_the_promised_keys(files, run):
    assert run("evaluate", "--input", files.events, "--tracks", files.tracks, "--json", "r.json").code == 0
    promised = (
        "events trackml_score perfect_match_efficiency lhc_match_efficiency double_majority_efficiency "
        "efficiency fake_rate duplicate_rate purity completeness cpu_ms_model cpu_ms_clustering cpu_ms_total"
    )
    assert set(promised.split()) <= json.loads(Path("r.json").read_text()).keys()


def test_times_are_those_of_the_steps_with_a_model_and_of_the_clustering():
    algorithms = [PreprocessHits(), EncReg(model="m"), HDBSCAN(), UNet(model="m")]
    steps = [SimpleNamespace(cpu_s=seconds) for seconds in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)]
    found = times(SimpleNamespace(events=10, steps=steps), algorithms)
    assert found == pytest.approx(
        {"cpu_ms_model": 2000.0, "cpu_ms_clustering": 800.0, "cpu_ms_total": 3100.0}
    )


def test_a_job_is_run_timed_and_scored(files, run):
    model = save_direction_model(Path("direction.pt"))
    Path("job.yaml").write_text(
        f"""
        detector: redvid
        sequence:
          - {{algorithm: encreg, model: {json.dumps(str(model.absolute()))}}}
          - {{algorithm: hdbscan, min_cluster_size: 4, min_samples: 2}}
          - {{algorithm: build-tracks}}
        """
    )
    options = ("--config", "job.yaml", "--events", 4, "--skip", 1, "--json", "r.json")
    done = run("evaluate", "--input", files.events, *options)
    assert done.code == 0, done.err
    result = json.loads(Path("r.json").read_text())
    assert (result["events"], result["job"]) == (4, "job")
    # Straight tracks in their own direction: easy, although not quite without mistakes.
    assert result["trackml_score"] > 0.7
    model_ms, clustering_ms, total_ms = (result[key] for key in TIMES)
    assert model_ms > 0
    assert clustering_ms > 0
    assert model_ms + clustering_ms < total_ms
    assert "CPU ms per event, total" in done.out
    # The same events with two processes: the same scores.
    assert run("evaluate", "--input", files.events, *options[:-1], "two.json", "--workers", 2).code == 0
    two = json.loads(Path("two.json").read_text())
    assert {k: two[k] for k in result if k not in (*TIMES, "timing")} == {
        k: result[k] for k in result if k not in (*TIMES, "timing")
    }


def test_events_skip_and_min_hits(files, run):
    options = ("--skip", 2, "--events", 3, "--min-hits", 9, "--json", "r.json")
    assert run("evaluate", "--input", files.events, "--tracks", files.tracks, *options).code == 0
    result = json.loads(Path("r.json").read_text())
    assert (result["events"], result["min_hits"]) == (3, 9)
    asked = sum(
        int((np.unique(t[t > 0], return_counts=True)[1] >= 9).sum())
        for t in (s.get("truth_links", TruthLinks).particle_id for s in files.stores[2:5])
    )
    assert result["reconstructable_particles"] == asked


def test_tracks_of_a_part_of_the_events_are_scored_with_a_warning(files, run, tmp_path):
    tracks = write(RootTracksWriter(path=str(tmp_path / "part.root")), files.stores[1:4])
    done = run("evaluate", "--input", files.events, "--tracks", tracks, "--json", "r.json")
    assert done.code == 0, done.err
    result = json.loads(Path("r.json").read_text())
    assert (result["events"], result["events_without_tracks"]) == (3, 3)
    assert "3 events of the input are not in" in done.out


def test_plots_are_drawn(files, run):
    pytest.importorskip("matplotlib")
    done = run("evaluate", "--input", files.events, "--tracks", files.tracks, "--plots", "plots")
    assert done.code == 0, done.err
    names = {p.name for p in Path("plots").iterdir()}
    assert {"scores.png", "efficiency_vs_eta.png", "fake_rate_vs_eta.png", "purity_vs_eta.png"} <= names
    # REDVID knows no momenta, so there is nothing to draw versus pT.
    assert not any("pt" in name for name in names)


def renumbered(stores, shift):
    result = []
    for s in stores:
        copy = EventStore(s.event_number + shift)
        for key in s:
            copy.add(key, s.get(key, object))
        result.append(copy)
    return result


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: renumbered(s, 1), "they have no event number in common (input: 100, 103"),
        (lambda s: [*s, *simulated(1, first_number=999)], "1 events with tracks are not in the input (999)"),
        (lambda s: s[::-1], "the events are in another order"),
        (lambda s: simulated(N_EVENTS, seed=5), "hits, the tracks were made from"),
    ],
    ids=["event numbers", "more events", "order", "hit counts"],
)
def test_tracks_of_other_events_are_refused(files, run, tmp_path, make, message):
    tracks = write(RootTracksWriter(path=str(tmp_path / "other.root")), make(files.stores))
    done = run("evaluate", "--input", files.events, "--tracks", tracks, "--json", "r.json")
    assert done.code == 1
    assert message in done.err
    assert "other.root does not belong to" in done.err
    assert "Traceback" not in done.err
    assert not Path("r.json").exists()


def test_tracks_of_hits_with_other_ids_are_refused(files, run, tmp_path):
    changed = []
    for s in files.stores:
        hits = s.get("hits", Hits)
        copy = EventStore(s.event_number)
        copy.add("hits", Hits(hits.hit_id + 10**6, hits.x, hits.y, hits.z))
        copy.add("tracks", s.get("tracks", Tracks))
        changed.append(copy)
    tracks = write(RootTracksWriter(path=str(tmp_path / "ids.root")), changed)
    done = run("evaluate", "--input", files.events, "--tracks", tracks)
    assert done.code == 1
    assert "event 100 has other hit ids than its tracks" in done.err


def test_an_input_without_truth_is_refused(files, run, tmp_path):
    bare = write(
        RootEventsWriter(path=str(tmp_path / "bare.root"), detector="redvid"),
        [without_truth(s) for s in files.stores],
    )
    done = run("evaluate", "--input", bare, "--tracks", files.tracks)
    assert done.code == 1
    assert "bare.root carries no truth" in done.err
    assert "mltrack run" in done.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--tracks", "nothing.root"), 1, "nothing.root"),
        (("--tracks", "text.root"), 1, "text.root"),
        (("--tracks", "TRACKS", "--model", "m.pt"), 2, "--tracks (score these) or --model"),
        (("--tracks", "TRACKS", "--skip", 99), 2, "cannot skip 99 events"),
        (("--tracks", "TRACKS", "--json", "no/folder/r.json"), 1, "does not exist"),
        (("--tracks", "TRACKS", "--json", "EVENTS"), 1, "it is the input"),
        (("--tracks", "TRACKS", "--plots", "text.root"), 1, "is a file; give a folder"),
        (("--tracks", "TRACKS", "--min-hits", 0), 2, "min-hits"),
        (("--config", "no-such-job"), 2, "no job configuration 'no-such-job'"),
    ],
)
def test_wrong_options_are_refused(files, run, options, code, message):
    Path("text.root").write_text("not a ROOT file")
    named = {"TRACKS": files.tracks, "EVENTS": files.events}
    done = run("evaluate", "--input", files.events, *(named.get(o, o) for o in options))
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


class BrokenReader:
    """Events of which the second cannot be read."""

    source, detector = "broken.root", "redvid"
    outputs = tuple(
        WriteHandle(k, t) for k, t in (("hits", Hits), ("truth_links", TruthLinks), ("particles", Particles))
    )

    def __init__(self, stores):
        self.stores = stores

    def num_events(self):
        return len(self.stores)

    def finalize(self):
        pass

    def events(self, start, stop):
        for i, store in enumerate(self.stores[start:stop], start):
            collections = {handle.key: store.get(handle.key, handle.kind) for handle in self.outputs}
            error = EventDataError("hit 3 is not finite") if i == 1 else None
            yield ReadEvent(i, store.event_number, {} if error else collections, error)


def test_an_unreadable_event_stops_the_evaluation_or_is_recorded(files):
    def score(on_error):
        reader = BrokenReader(files.stores)
        return score_file(reader, files.tracks, None, 0, 4, on_error, lambda done, total: None)

    with pytest.raises(EventError, match=r"broken.root: event 103: hit 3 is not finite"):
        score("fail")
    result = score("skip")
    assert result["events"] == N_EVENTS - 1
    assert [s["event_number"] for s in result["skipped_events"]] == [103]


def test_display_draws_the_event_asked_for(files, run):
    pytest.importorskip("matplotlib")
    both = ("--input", files.events, "--tracks", files.tracks)
    assert run("display", *both, "--event", 103, "--output", "a.png").code == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    # Without a number: the first event.
    assert run("display", *both).code == 0
    assert Path("event100.png").exists()
    again = run("display", *both)
    assert again.code == 1
    assert "--overwrite" in again.err
    missing = run("display", *both, "--event", 7, "--output", "b.png")
    assert missing.code == 1
    assert "events.root holds no event 7" in missing.err
    assert not Path("b.png").exists()


def test_display_of_an_event_without_tracks(files, run, tmp_path):
    pytest.importorskip("matplotlib")
    tracks = write(RootTracksWriter(path=str(tmp_path / "part.root")), files.stores[1:2])
    done = run("display", "--input", files.events, "--tracks", tracks, "--event", 100)
    assert done.code == 1
    assert "part.root holds no event 100" in done.err
