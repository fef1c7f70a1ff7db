"""Contracts behind the speed goals (docs/performance.md), as counts that do not depend on the machine's mood.

The figures themselves are reprinted by benchmarks/framework.py.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import subprocess
import sys
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest

from mltrack_plugin.algorithms.build_tracks import BuildTracks
from mltrack_plugin.algorithms.preprocess_hits import PreprocessHits
from mltrack_plugin.algorithms.track_quality import TrackQuality
from mltrack_plugin.evaluation.collect import ScoreCollector
from mltrack_plugin.event_data import Hits, ProtoTracks, TruthLinks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.io import root_file, root_output, root_writer
from mltrack_plugin.io.root_events import RootEventsReader
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.io.root_tracks import RootTracksWriter
from mltrack_plugin.simulation.datasets import make_dataset

#: Function calls, Python's and those into compiled code, that the framework may need for an event: twice what
#: it needs now. They cost 0.1 microseconds and more each, so this is about 5% of a job's time for one event.
CALLS_PER_EVENT = 2000


class TruthTracks(Algorithm):
    """Instead of model and clustering: hits of the same particle are a track."""

    def __init__(self) -> None:
        super().__init__(None)
        self._links = self.read_handle(TruthLinks, "truth_links")
        self._hits = self.read_handle(Hits, "hits")
        self._proto_tracks = self.write_handle(ProtoTracks, "proto_tracks")
        self.alive: weakref.WeakSet[Hits] = weakref.WeakSet()
        self.most_alive = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        self.alive.add(self._hits(event_store))
        self.most_alive = max(self.most_alive, len(self.alive))
        ids = self._links(event_store).particle_id
        self._proto_tracks(
            event_store, ProtoTracks.from_labels(ids.astype(np.int64) - 1, np.ones(len(ids), np.float32))
        )
        return ProcessCode.SUCCESS


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[int, str]:
    """Files of 40 and 160 events of about 350 hits."""
    folder = tmp_path_factory.mktemp("events")
    paths = {}
    for n in (40, 160):
        paths[n] = str(folder / f"{n}.root")
        writer = RootEventsWriter(path=paths[n])
        writer.initialize()
        for number, event in enumerate(make_dataset("redvid-10-50-linear").events(n, 1, "validation")):
            store = EventStore(number)
            store.add("hits", event.hits)
            store.add("truth_links", event.truth_links)
            store.add("particles", event.particles)
            writer.write(store)
        writer.finalize()
    return paths


def sequence(path: str, output: Path, **reader) -> tuple[Sequencer, TruthTracks]:
    """All of ``mltrack run`` but model and clustering."""
    finder = TruthTracks()
    sequencer = Sequencer(chunk_size=16).add_reader(RootEventsReader(path=path, **reader))
    for algorithm in (PreprocessHits(), finder, BuildTracks(), TrackQuality(candidates="candidate_tracks")):
        sequencer.add_algorithm(algorithm)
    sequencer.add_writer(RootTracksWriter(path=str(output), overwrite=True))
    return sequencer.add_writer(ScoreCollector(detector="redvid")), finder


def test_help_imports_little():
    """`mltrack --help` under half a second: hundreds of modules would already take longer on a network drive."""
    code = (
        "import sys; from mltrack_plugin.cli.main import main; main(['--help']);"
        "print(len(sys.modules), *({'numpy', 'torch', 'awkward', 'pydantic'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, *heavy = result.stdout.splitlines()[-1].split()
    assert not heavy
    assert int(count) < 300


def test_reading_goes_to_the_file_in_chunks(files, monkeypatch):
    calls = []
    read = root_file.read_arrays
    monkeypatch.setattr(root_file, "read_arrays", lambda *a: calls.append(a[1:]) or read(*a))
    counts = {}
    for n, path in files.items():
        reader = RootEventsReader(path=path)
        reader.initialize()
        calls.clear()
        assert len(list(reader.events(0, n))) == n
        counts[n] = len(calls)
        reader.finalize()
    # One call each for the trees of hits and of particles.
    assert counts == {40: 2, 160: 2}


def test_writing_goes_to_the_file_in_chunks(files, tmp_path, monkeypatch):
    calls = []
    extend = root_output.RootTable.extend
    monkeypatch.setattr(root_output.RootTable, "extend", lambda *a: calls.append(a[0]) or extend(*a))
    for n, path in files.items():
        calls.clear()
        sequence(path, tmp_path / "tracks.root")[0].run()
        # The tracks, and the facts about the job.
        assert len(calls) == 2, n


def test_events_are_let_go(files, tmp_path):
    """Two chunks of 16 events, one being written and one being filled, are in memory, however many there are."""
    for n, path in files.items():
        sequencer, finder = sequence(path, tmp_path / "tracks.root")
        sequencer.run()
        assert finder.most_alive <= 2 * 16 + 2 < n


def test_memory_does_not_grow_with_the_number_of_events(files, tmp_path, monkeypatch):
    monkeypatch.setattr(root_writer, "FLUSH_EVENTS", 20)
    peaks = {}
    # The first round loads code.
    for n in (40, 40, 160):
        sequencer, _ = sequence(files[n], tmp_path / "tracks.root", chunk_bytes=200_000)
        gc.collect()
        tracemalloc.start()
        sequencer.run()
        peaks[n] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # 120 more events hold 1.7 MB of hits and truth, and 2 MB of tracks.
    assert peaks[160] - peaks[40] < 1_000_000, peaks


def test_an_event_takes_few_calls(files, tmp_path):
    """What the framework does per event is counted, not timed: nothing may loop over hits or tracks."""
    calls = {}
    sequence(files[40], tmp_path / "tracks.root")[0].run()
    for n, path in files.items():
        sequencer, _ = sequence(path, tmp_path / "tracks.root")
        profile = cProfile.Profile()
        profile.runcall(sequencer.run)
        calls[n] = pstats.Stats(profile).total_calls
    assert (calls[160] - calls[40]) / 120 < CALLS_PER_EVENT


def test_full_garbage_collections_are_kept_out_of_the_events(files, tmp_path):
    sequencer, finder = sequence(files[40], tmp_path / "tracks.root")
    frozen = []
    execute = finder.execute
    finder.execute = lambda store: frozen.append(gc.get_freeze_count()) or execute(store)
    sequencer.run()
    assert min(frozen) > 10_000
    assert gc.get_freeze_count() == 0
