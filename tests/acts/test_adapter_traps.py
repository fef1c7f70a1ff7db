"""What surprises in an ACTS sequence: floating point traps, containers that ACTS takes over, errors in algorithms."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

acts = pytest.importorskip("acts")

import acts.examples as examples  # noqa: E402
from acts_sequences import Grouping, Put, Spy, lists, simulated  # noqa: E402

from mltrack_plugin.acts import TransformerTrackFinding  # noqa: E402
from mltrack_plugin.acts.floating_point import no_floating_point_traps  # noqa: E402
from mltrack_plugin.errors import ConfigurationError, EventError  # noqa: E402
from mltrack_plugin.event_data import Hits  # noqa: E402
from mltrack_plugin.framework.algorithm import ProcessCode  # noqa: E402

PROTO_TRACKS = {"transformer_proto_tracks": examples.ProtoTrackContainer}

#: Set in a process that runs one test alone.
ALONE = "MLTRACK_TEST_ALONE"


def needs_traps(test: Callable[[], None]) -> Callable[[], None]:
    """A test that lets ACTS catch real SIGFPE, in a process of its own.

    In a process that has compiled kernels, such a signal was seen to end the process, and all tests that were to
    follow in it.
    """

    @functools.wraps(test)
    def alone() -> None:
        if ALONE in os.environ:
            test()
            return
        options = ["-q", "-p", "no:cacheprovider", f"{__file__}::{test.__name__}"]
        command = [sys.executable, "-m", "pytest", *options]
        run = subprocess.run(command, env={**os.environ, ALONE: "1"}, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr

    return pytest.mark.skipif(not examples.FpeMonitor.supported, reason="this platform has no traps")(alone)


def exceptions():
    """Invalid operation, division by zero and overflow; NumPy's own warnings are off."""
    with np.errstate(all="ignore"):
        infinite = np.float32([np.inf]) - np.float32([np.inf])
        zero = np.float32([1.0]) / np.float32([0.0])
        large = np.float32([1e30]) * np.float32([1e30])
    return infinite, zero, large


def careless(store, hits):
    assert np.isnan(exceptions()[0])
    return np.zeros(len(hits))


@needs_traps
def test_without_protection_the_sequencer_ends_a_run_with_floating_point_exceptions():
    s = simulated(space_points=False)
    s.addAlgorithm(Spy(lambda found: exceptions(), measurements=examples.MeasurementContainer))
    with pytest.raises(RuntimeError, match="terminated abnormally"):
        s.run()


def test_floating_point_exceptions_inside_the_chain_do_not_end_the_run():
    s = simulated(events=2)
    s.addAlgorithm(TransformerTrackFinding([Grouping(careless)]))
    spy = Spy(len, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert spy.seen == {0: 1, 1: 1}


@needs_traps
def test_algorithms_after_the_chain_are_watched_as_before():
    s = simulated()
    s.addAlgorithm(TransformerTrackFinding([Grouping(careless)]))
    s.addAlgorithm(Spy(lambda found: exceptions(), **PROTO_TRACKS))
    with pytest.raises(RuntimeError, match="terminated abnormally"):
        s.run()


@needs_traps
def test_traps_come_back_also_after_an_error():
    with examples.FpeMonitor.context() as monitor:
        with pytest.raises(KeyError), no_floating_point_traps():
            raise KeyError(str(exceptions()))
        counts = [monitor.result.count(kind) for kind in examples.FpeType.values]
        assert sum(counts) == 0
        exceptions()
        assert sum(monitor.result.count(kind) for kind in examples.FpeType.values) > 0


def test_network_runs_with_the_traps_of_a_multithreaded_sequencer():
    s = simulated(events=3, threads=2)
    s.addAlgorithm(TransformerTrackFinding())
    spy = Spy(len, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert sorted(spy.seen) == [0, 1, 2]
    assert min(spy.seen.values()) > 0


def failing(store, hits):
    if store.event_number == 1:
        raise EventError("the grouping does not like it")
    return np.zeros(len(hits))


def test_an_event_that_fails_ends_the_run_with_event_algorithm_and_reason():
    s = simulated(events=2)
    s.addAlgorithm(TransformerTrackFinding([Grouping(failing)]))
    with pytest.raises(EventError, match=r"event 1: Grouping: the grouping does not like it.*onError='skip'"):
        s.run()


def test_an_error_that_nobody_raised_on_purpose_says_its_type():
    s = simulated()
    s.addAlgorithm(TransformerTrackFinding([Grouping(lambda store, hits: 1 // 0)]))
    with pytest.raises(EventError, match="unexpected ZeroDivisionError"):
        s.run()


def test_events_that_fail_can_be_left_without_tracks(caplog):
    s = simulated(events=3)
    finder = TransformerTrackFinding([Grouping(failing)], onError="skip")
    s.addAlgorithm(finder)
    spy = Spy(len, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert spy.seen == {0: 1, 1: 0, 2: 1}
    assert [(event.event_number, event.step) for event in finder.skipped] == [(1, "Grouping")]
    assert "1 events could not be processed" in caplog.text


def test_an_event_that_the_chain_filters_out_has_no_tracks():
    class Filter(Grouping):
        def execute(self, event_store):
            super().execute(event_store)
            return ProcessCode.SKIP

    s = simulated()
    s.addAlgorithm(TransformerTrackFinding([Filter(lambda store, hits: np.zeros(len(hits)))]))
    spy = Spy(len, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert spy.seen == {0: 0}


def test_errors_of_the_job_end_the_run_in_spite_of_skip():
    def broken(store, hits):
        raise ConfigurationError("a setting is wrong")

    s = simulated()
    s.addAlgorithm(TransformerTrackFinding([Grouping(broken)], onError="skip"))
    with pytest.raises(ConfigurationError, match="event 0: Grouping: a setting is wrong"):
        s.run()


def test_an_error_in_onEvent_reaches_the_user():
    def broken(store):
        raise KeyError("mine")

    s = simulated()
    s.addAlgorithm(TransformerTrackFinding([Grouping(careless)], onEvent=broken))
    with pytest.raises(KeyError, match="mine"):
        s.run()


def test_space_points_without_a_position_are_an_error_of_the_event():
    def broken(source):
        made = acts.SpacePointContainer(
            acts.SpacePointColumns.X
            | acts.SpacePointColumns.Y
            | acts.SpacePointColumns.Z
            | acts.SpacePointColumns.SourceLinks
        )
        for point in source:
            copy = made.createSpacePoint()
            copy.x, copy.y, copy.z = float("nan"), point.y, point.z
            copy.assignSourceLinks(list(point.sourceLinks))
        return made

    s = simulated()
    s.addAlgorithm(Put(broken, acts.SpacePointContainer, "spacepoints", "broken"))
    s.addAlgorithm(TransformerTrackFinding(inputSpacePoints="broken"))
    with pytest.raises(EventError, match=r"event 0: space points: .*non-finite x"):
        s.run()


def test_an_event_without_space_points_gives_no_tracks_and_an_empty_event():
    s = simulated()
    s.addAlgorithm(
        Put(lambda source: acts.SpacePointContainer(), acts.SpacePointContainer, "spacepoints", "empty")
    )
    stores = []
    s.addAlgorithm(TransformerTrackFinding(inputSpacePoints="empty", onEvent=stores.append))
    spy = Spy(lists, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert spy.seen == {0: []}
    assert len(stores[0].get("hits", Hits)) == 0
    assert len(stores[0].get("tracks", object)) == 0


def test_space_points_without_source_links_are_refused():
    def unlinked(source):
        made = acts.SpacePointContainer(
            acts.SpacePointColumns.X
            | acts.SpacePointColumns.Y
            | acts.SpacePointColumns.Z
            | acts.SpacePointColumns.SourceLinks
        )
        for point in source:
            copy = made.createSpacePoint()
            copy.x, copy.y, copy.z = point.x, point.y, point.z
            copy.assignSourceLinks([])
        return made

    s = simulated()
    s.addAlgorithm(Put(unlinked, acts.SpacePointContainer, "spacepoints", "unlinked"))
    s.addAlgorithm(TransformerTrackFinding(inputSpacePoints="unlinked"))
    with pytest.raises(EventError, match="no source link"):
        s.run()
