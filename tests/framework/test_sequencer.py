"""The sequencer refuses broken chains, applies the error policy, and leaves complete outputs or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_sequence import GeneratedEvents, Halves, JsonLines

from mltrack_plugin.errors import (
    ConfigurationError,
    EventError,
    InputError,
    MltrackError,
    ModelError,
    OutputError,
)
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.sequencer import Sequencer


def job(path: Path, reader: dict = {}, algorithm: dict = {}, writer: dict = {}, **options) -> Sequencer:  # noqa: B006
    return (
        Sequencer(**options)
        .add_reader(GeneratedEvents(**reader))
        .add_algorithm(Halves(**algorithm))
        .add_writer(JsonLines(path=str(path), **writer))
    )


def lines_of(path: Path) -> tuple[list[dict], dict]:
    """Events and job facts of a JsonLines file."""
    *events, info = [json.loads(line) for line in path.read_text().splitlines()]
    return events, info


def test_events_pass_through_in_order_with_their_numbers(tmp_path):
    summary = job(tmp_path / "out", skip=2, events=5).run()
    events, _ = lines_of(tmp_path / "out")
    assert [event["event"] for event in events] == [102, 103, 104, 105, 106]
    assert (summary.events, summary.hits) == (5, 60)
    assert summary.tracks == sum(len(event["tracks"]) for event in events)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_more_events_than_there_are_means_all(tmp_path):
    assert job(tmp_path / "out", events=1000).run().events == 10


def test_chunk_boundaries_do_not_show_in_the_output(tmp_path):
    for size in (1, 3, 64):
        job(tmp_path / f"out{size}", chunk_size=size).run()
    assert (tmp_path / "out1").read_bytes() == (tmp_path / "out3").read_bytes()
    assert (tmp_path / "out1").read_bytes() == (tmp_path / "out64").read_bytes()


def test_writers_see_what_they_declare_and_nothing_else(tmp_path):
    job(tmp_path / "a").run()
    job(tmp_path / "b", writer={"with_hits": True}).run()
    assert lines_of(tmp_path / "a")[0][0]["keys"] == ["tracks"]
    assert lines_of(tmp_path / "b")[0][0]["keys"] == ["hits", "tracks"]


def test_the_data_flow_is_logged(tmp_path):
    log: list[str] = []
    job(tmp_path / "out", log=log.append).run()
    assert [" ".join(line.split()) for line in log] == [
        "GeneratedEvents -> hits",
        "Halves <- hits -> tracks",
        "JsonLines <- tracks",
    ]


def test_every_step_is_timed(tmp_path):
    summary = job(tmp_path / "out", algorithm={"wait_s": 0.002}).run()
    steps = {step.name: step for step in summary.steps}
    assert list(steps) == ["GeneratedEvents", "Halves", "JsonLines"]
    assert all(step.calls == 10 for step in steps.values())
    # Waiting costs wall time and (almost) no CPU time.
    assert steps["Halves"].wall_ms_per_event >= 2
    assert steps["Halves"].cpu_s < steps["Halves"].wall_s
    assert summary.wall_s >= steps["Halves"].wall_s
    assert json.loads(json.dumps(summary.to_dict()))["steps"][1]["name"] == "Halves"


# ---- the chain ------------------------------------------------------------------------------


class NeverExecuted(Algorithm):
    """Stands for an algorithm in a chain that must be refused."""

    def execute(self, event_store: EventStore) -> ProcessCode:
        raise AssertionError("a refused chain must not run")


class Fitter(NeverExecuted):
    def __init__(self, reads: str = "proto_tracks", kind: type = ProtoTracks, writes: str = "fitted"):
        super().__init__()
        self.read_handle(kind, reads)
        self.write_handle(Tracks, writes)


def refusal(*algorithms: Algorithm) -> str:
    sequencer = Sequencer().add_reader(GeneratedEvents())
    for algorithm in algorithms:
        sequencer.add_algorithm(algorithm)
    with pytest.raises(ConfigurationError) as error:
        sequencer.run()
    return str(error.value)


def test_missing_input_names_the_nearest_key():
    message = refusal(Fitter(reads="hit"))
    assert "Fitter needs 'hit', which nothing before it writes" in message
    assert "Did you mean 'hits'?" in message


def test_input_written_later_says_so():
    message = refusal(Fitter(reads="tracks"), Halves())
    assert "Halves writes it, but runs later" in message


def test_wrong_type_names_both_types():
    assert "Fitter needs 'hits' as ProtoTracks, but GeneratedEvents writes it as Hits" in refusal(
        Fitter("hits")
    )


def test_key_written_twice_is_refused():
    assert "writes 'tracks', which Halves writes already" in refusal(Halves(), Halves())


def test_all_problems_are_listed_at_once():
    message = refusal(Fitter("a"), Fitter("b", writes="other"))
    assert "'a'" in message
    assert "'b'" in message


def test_subclass_satisfies_its_base():
    """Tracks are ProtoTracks: the chain passes and the (never executed) step is reached."""
    with pytest.raises(EventError, match="a refused chain must not run"):
        Sequencer().add_reader(GeneratedEvents()).add_algorithm(Halves()).add_algorithm(
            Fitter("tracks")
        ).run()


def test_missing_optional_input_is_no_problem():
    class Optional(Algorithm):
        def __init__(self) -> None:
            super().__init__()
            self.extra = self.read_handle(Hits, "extra_hits", optional=True)

        def execute(self, event_store: EventStore) -> ProcessCode:
            assert self.extra.get(event_store) is None
            return ProcessCode.SUCCESS

    assert Sequencer().add_reader(GeneratedEvents()).add_algorithm(Optional()).run().events == 10


def test_a_sequence_needs_exactly_one_reader():
    with pytest.raises(ConfigurationError, match="no reader"):
        Sequencer().run()
    with pytest.raises(ConfigurationError, match="has a reader already"):
        Sequencer().add_reader(GeneratedEvents()).add_reader(GeneratedEvents())


@pytest.mark.parametrize("name", ["events", "workers", "threads", "chunk_size"])
def test_options_out_of_range_are_refused(name):
    with pytest.raises(ConfigurationError, match=f"{name} must be at least 1, not 0"):
        Sequencer(**{name: 0})


def test_unknown_error_policy_is_refused():
    with pytest.raises(ConfigurationError, match="on_error"):
        Sequencer(on_error="ignore")


def test_skipping_everything_is_refused():
    with pytest.raises(ConfigurationError, match="cannot skip 10 events: generated contains 10"):
        Sequencer(skip=10).add_reader(GeneratedEvents()).run()


def test_empty_input_is_refused():
    with pytest.raises(InputError, match="contains no events"):
        Sequencer().add_reader(GeneratedEvents(n_events=0)).run()


# ---- errors ---------------------------------------------------------------------------------

FAILURES = [
    ({"fail_at": (103,)}, "Halves", "no hit is usable"),
    ({"crash_at": (103,)}, "Halves", "unexpected ZeroDivisionError: division by zero"),
    ({"abort_at": (103,)}, "Halves", "gave up"),
]


@pytest.mark.parametrize(("algorithm", "step", "reason"), FAILURES)
def test_fail_names_source_event_and_algorithm_and_leaves_nothing(tmp_path, algorithm, step, reason):
    with pytest.raises(EventError, match=f"generated: event 103: {step}: {reason}"):
        job(tmp_path / "out", algorithm=algorithm, chunk_size=64).run()
    assert [path.name for path in tmp_path.iterdir()] in ([], [".out.journal"])


@pytest.mark.parametrize(("algorithm", "step", "reason"), FAILURES)
def test_skip_records_the_event_in_summary_and_output(tmp_path, algorithm, step, reason):
    summary = job(tmp_path / "out", algorithm=algorithm, on_error="skip").run()
    events, info = lines_of(tmp_path / "out")
    assert [event["event"] for event in events] == [100, 101, 102, *range(104, 110)]
    assert summary.events == 9
    (skipped,) = summary.skipped
    assert (skipped.index, skipped.event_number, skipped.step) == (3, 103, step)
    assert reason in skipped.reason
    (recorded,) = json.loads(info["skipped_events"])
    assert (recorded["event_number"], recorded["step"]) == (103, step)


def test_unreadable_event_follows_the_policy(tmp_path):
    with pytest.raises(
        EventError, match="generated: event 104: GeneratedEvents: 3 of 12 hits have a non-finite x"
    ):
        job(tmp_path / "out", reader={"broken": (4,)}).run()
    summary = job(tmp_path / "out", reader={"broken": (4,)}, on_error="skip").run()
    assert [s.event_number for s in summary.skipped] == [104]
    assert summary.events == 9


def test_a_job_without_any_good_event_fails(tmp_path):
    with pytest.raises(EventError, match=r"none of the 10 events.*event 100: Halves: no hit is usable"):
        job(tmp_path / "out", algorithm={"fail_at": tuple(range(100, 110))}, on_error="skip").run()
    assert not (tmp_path / "out").exists()


def test_filtered_events_are_no_errors(tmp_path):
    summary = job(tmp_path / "out", algorithm={"filter_at": (101, 105)}).run()
    assert (summary.events, summary.filtered, summary.skipped) == (8, 2, [])
    assert [event["event"] for event in lines_of(tmp_path / "out")[0]] == [
        100,
        102,
        103,
        104,
        *range(106, 110),
    ]


def test_errors_of_the_job_are_never_skipped():
    class Unfit(Algorithm):
        def execute(self, event_store: EventStore) -> ProcessCode:
            raise ModelError("made for another detector")

    with pytest.raises(ModelError, match="event 100: Unfit: made for another detector"):
        Sequencer(on_error="skip").add_reader(GeneratedEvents()).add_algorithm(Unfit()).run()


def test_input_that_ends_early_is_an_error_of_the_job():
    with pytest.raises(InputError, match="ended after event index 4"):
        Sequencer(on_error="skip").add_reader(GeneratedEvents(ends_after=5)).run()


def test_forgotten_output_and_forgotten_return_are_found():
    class Forgetful(Algorithm):
        def __init__(self, code: object) -> None:
            super().__init__()
            self.code = code
            self.write_handle(Tracks, "tracks")

        def execute(self, event_store: EventStore) -> ProcessCode:
            return self.code

    sequencer = Sequencer().add_reader(GeneratedEvents()).add_algorithm(Forgetful(ProcessCode.SUCCESS))
    with pytest.raises(ConfigurationError, match="declares the output 'tracks', but did not write it"):
        sequencer.run()
    with pytest.raises(ConfigurationError, match="returned None instead of a ProcessCode"):
        Sequencer().add_reader(GeneratedEvents()).add_algorithm(Forgetful(None)).run()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            OSError(28, "No space left on device"),
            OutputError,
            "event 100: JsonLines: cannot write: No space left",
        ),
        (OutputError("disk full"), OutputError, "event 100: JsonLines: disk full"),
        (ValueError("odd"), MltrackError, "event 100: JsonLines: unexpected ValueError: odd"),
    ],
)
def test_a_failing_writer_stops_the_job_and_leaves_nothing(tmp_path, monkeypatch, error, kind, message):
    def fail(self, event_store):
        raise error

    monkeypatch.setattr(JsonLines, "write", fail)
    with pytest.raises(kind, match=message):
        job(tmp_path / "out", on_error="skip").run()
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("*.part"))


def test_interrupt_leaves_no_half_written_file(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job(tmp_path / "out", progress=interrupt).run()
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_elements_are_finalized_even_after_an_error():
    closed: list[str] = []

    class Closing(GeneratedEvents):
        def finalize(self) -> None:
            closed.append("reader")

    class ClosingHalves(Halves):
        def finalize(self) -> None:
            closed.append("algorithm")

    sequencer = Sequencer().add_reader(Closing()).add_algorithm(ClosingHalves(fail_at=(100,)))
    with pytest.raises(EventError):
        sequencer.run()
    assert sorted(closed) == ["algorithm", "reader"]


def test_the_output_tells_how_it_was_made(tmp_path):
    job(tmp_path / "out", info={"job": "halves"}).run()
    _, info = lines_of(tmp_path / "out")
    assert info["job"] == "halves"
    assert info["input"] == "generated"
    assert json.loads(info["sequence"])[0]["model_sha256"] == "0" * 64
    assert json.loads(info["reader"])["config"]["n_hits"] == 12
    assert {"python", "numpy", "torch"} <= json.loads(info["versions"]).keys()


def test_progress_reaches_the_total(tmp_path):
    seen: list[tuple[int, int]] = []
    job(tmp_path / "out", progress=lambda done, total: seen.append((done, total))).run()
    assert seen == [(n, 10) for n in range(1, 11)]


def test_threads_of_torch_are_set_for_the_job_only():
    import torch

    seen: list[int] = []

    class Count(Algorithm):
        def execute(self, event_store: EventStore) -> ProcessCode:
            seen.append(torch.get_num_threads())
            return ProcessCode.SUCCESS

    before = torch.get_num_threads()
    Sequencer(events=1, threads=3).add_reader(GeneratedEvents()).add_algorithm(Count()).run()
    assert seen == [3]
    assert torch.get_num_threads() == before


def test_memory_does_not_grow_with_the_number_of_events(tmp_path):
    code = """
import resource, sys
from fake_sequence import GeneratedEvents, Halves, JsonLines
from mltrack_plugin.framework.sequencer import Sequencer
sequencer = Sequencer().add_reader(GeneratedEvents(n_events=int(sys.argv[2]), n_hits=3000))
sequencer.add_algorithm(Halves()).add_writer(JsonLines(path=sys.argv[1], with_hits=True)).run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}

    def peak(n: int) -> int:
        arguments = [sys.executable, "-c", code, str(tmp_path / f"{n}"), str(n)]
        result = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        return int(result.stdout)

    # The hits of 400 more events are 24 MB as arrays; allow for the allocator.
    assert peak(500) < 1.05 * peak(100)
