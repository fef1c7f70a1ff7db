"""Events that cannot be processed: named when they stop the job, recorded when they are skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input import (
    JOB,
    N_TRACKS,
    NUMBERS,
    CommandLine,
    good_events,
    in_metres,
    replaced,
    save_events,
    straight_tracks,
    with_second,
)
from reading_events import Event

from mltrack_plugin.io.root_tracks import read_meta, read_tracks


def not_a_number(event: Event) -> Event:
    return replaced(event, "z", 3, np.nan)


def infinite(event: Event) -> Event:
    return replaced(event, "y", 23, -np.inf)


def repeated_id(event: Event) -> Event:
    return replaced(event, "hit_id", 3, 7)


def truth_to_nowhere(event: Event) -> Event:
    return replaced(event, "particle_id", 5, 99)


def far_outside(event: Event) -> Event:
    return event | {"x": event["x"] + np.float32(1e6)}


EVENTS: list[tuple[Callable[[Event], Event], str, tuple[str, ...]]] = [
    (not_a_number, "root-events", ("tree 'hits'", "non-finite z", "row 3: nan")),
    (infinite, "root-events", ("tree 'hits'", "non-finite y", "row 23: -inf")),
    (repeated_id, "root-events", ("tree 'hits'", "hit_id 7 occurs 2 times")),
    (truth_to_nowhere, "root-events", ("particle_id 99", "Set unknown_particles to 'noise'")),
    (in_metres, "encreg", ("look like metres, not mm", "length_unit: m")),
    (far_outside, "encreg", ("have r outside [0, 7]", "'direction'")),
]
each_event = pytest.mark.parametrize(
    ("spoil", "step", "parts"), EVENTS, ids=[spoil.__name__ for spoil, _, _ in EVENTS]
)


def spoilt(folder: Path, spoil: Callable[[Event], Event]) -> Path:
    """Three events of which the second, number 72, is bad."""
    return save_events(folder / "events.root", *with_second(spoil(straight_tracks(NUMBERS[1]))))


@each_event
def test_run_stops_and_names_the_event(mltrack: CommandLine, tmp_path: Path, spoil, step, parts) -> None:
    outcome = mltrack.run(spoilt(tmp_path, spoil), "--json", mltrack.output / "run.json")
    mltrack.refused(outcome, 1, "events.root", "event 72", *parts, "--on-error skip")


@each_event
def test_evaluate_stops_and_names_the_event(mltrack: CommandLine, tmp_path: Path, spoil, step, parts) -> None:
    report = mltrack.output / "scores.json"
    arguments = ("--config", JOB, "--model", mltrack.model, "--json", report)
    outcome = mltrack("evaluate", "--input", spoilt(tmp_path, spoil), *arguments)
    mltrack.refused(outcome, 1, "events.root", "event 72", *parts, "--on-error skip")


@each_event
def test_skipped_events_are_recorded_with_their_reasons(
    mltrack: CommandLine, tmp_path: Path, spoil, step, parts
) -> None:
    report = mltrack.output / "run.json"
    outcome = mltrack.run(spoilt(tmp_path, spoil), "--on-error", "skip", "--json", report)
    assert outcome.code == 0, outcome.err
    mltrack.nothing_half_written(kept=["run.json", "tracks.root"])
    # The good events are there with the numbers of the input, and with all their tracks.
    assert {number: len(tracks) for number, tracks in read_tracks(mltrack.tracks)} == {
        71: N_TRACKS,
        73: N_TRACKS,
    }
    (skipped,) = json.loads(report.read_text())["skipped_events"]
    assert skipped == json.loads(read_meta(mltrack.tracks)["skipped_events"])[0]
    assert (skipped["event_number"], skipped["index"], skipped["step"]) == (72, 1, step)
    for part in parts:
        assert part in skipped["reason"]
        assert part in outcome.out
    assert "events skipped: 1" in outcome.out
    assert f"event 72: {step}" in outcome.out


@each_event
def test_evaluate_leaves_skipped_events_out(mltrack: CommandLine, tmp_path: Path, spoil, step, parts) -> None:
    report = tmp_path / "scores.json"
    arguments = ("--config", JOB, "--model", mltrack.model, "--on-error", "skip", "--json", report)
    outcome = mltrack("evaluate", "--input", spoilt(tmp_path, spoil), *arguments)
    assert outcome.code == 0, outcome.err
    assert "event 72" in outcome.out
    scores = json.loads(report.read_text())
    assert (scores["events"], scores["perfect_match_efficiency"]) == (2, 1.0)
    assert [event["event_number"] for event in scores["skipped_events"]] == [72]


def test_inspect_shows_bad_events(mltrack: CommandLine, tmp_path: Path) -> None:
    outcome = mltrack("inspect", spoilt(tmp_path, not_a_number))
    assert outcome.code == 0
    assert "bad event" in outcome.out
    assert "event 72" in " ".join(outcome.out.split())


def test_display_of_a_bad_event(mltrack: CommandLine, tmp_path: Path) -> None:
    source = spoilt(tmp_path, not_a_number)
    tracks = tmp_path / "tracks.root"
    assert mltrack.run(source, "--on-error", "skip", output=tracks).code == 0
    options = ("--tracks", tracks, "--event", 72, "--output", mltrack.output / "event.png")
    mltrack.refused(mltrack("display", "--input", source, *options), 1, "event 72", "non-finite z")


def test_two_workers_stop_at_the_bad_event_and_skip_it_to_the_same_bytes(
    mltrack: CommandLine, tmp_path: Path
) -> None:
    source = spoilt(tmp_path, not_a_number)
    mltrack.refused(mltrack.run(source, "--workers", 2), 1, "events.root", "event 72", "non-finite z")
    for name, workers in (("one.root", 1), ("two.root", 2)):
        path = tmp_path / name
        outcome = mltrack.run(source, "--workers", workers, "--on-error", "skip", output=path)
        assert outcome.code == 0, outcome.err
        assert "event 72: root-events" in outcome.out
    assert (tmp_path / "one.root").read_bytes() == (tmp_path / "two.root").read_bytes()


@pytest.mark.parametrize("options", [(), ("--on-error", "skip")])
def test_hits_in_metres(mltrack: CommandLine, tmp_path: Path, options: tuple[str, ...]) -> None:
    source = save_events(tmp_path / "metres.root", *map(in_metres, good_events()))
    outcome = mltrack.run(source, *options)
    mltrack.refused(outcome, 1, "metres.root", "event 71", "look like metres, not mm", "length_unit: m")
    assert not options or "none of the 3 events could be processed" in outcome.err


def test_what_the_messages_advise_works(mltrack: CommandLine, tmp_path: Path) -> None:
    text = mltrack("configs", JOB).out
    orphans = spoilt(tmp_path, truth_to_nowhere)
    metres = save_events(tmp_path / "metres.root", *map(in_metres, good_events()))
    for source, reader in ((orphans, "{unknown_particles: noise}"), (metres, "{length_unit: m}")):
        job = tmp_path / "job.yaml"
        job.write_text(f"{text}\nreader: {reader}\n")
        outcome = mltrack.run(source, "--config", job, "--overwrite")
        assert outcome.code == 0, outcome.err
        assert {number: len(tracks) for number, tracks in read_tracks(mltrack.tracks)} == dict.fromkeys(
            NUMBERS, 4
        )


@pytest.mark.parametrize("n_hits", [0, 1])
def test_event_with_no_or_one_hit_has_no_tracks_and_is_no_error(
    mltrack: CommandLine, tmp_path: Path, n_hits: int
) -> None:
    few = {name: values[:n_hits] for name, values in straight_tracks(72).items()}
    source = save_events(tmp_path / "events.root", *with_second(few))
    report = mltrack.output / "run.json"
    outcome = mltrack.run(source, "--json", report)
    assert outcome.code == 0, outcome.err
    summary = json.loads(report.read_text())
    assert (summary["events"], summary["tracks"], summary["skipped_events"]) == (3, 2 * N_TRACKS, [])
    found = {number: len(tracks) for number, tracks in read_tracks(mltrack.tracks)}
    assert found == {71: N_TRACKS, 72: 0, 73: N_TRACKS}
    assert f"3 events, {48 + n_hits} hits, 8 tracks" in outcome.out
    for command in (("evaluate", "--input", source, "--tracks", mltrack.tracks), ("inspect", source)):
        assert mltrack(*command).code == 0


def test_only_events_without_hits(mltrack: CommandLine, tmp_path: Path) -> None:
    none = {name: values[:0] for name, values in straight_tracks(72).items()}
    source = save_events(tmp_path / "events.root", none, none, none, particles=False)
    outcome = mltrack.run(source)
    assert outcome.code == 0, outcome.err
    assert "3 events, 0 hits, 0 tracks" in outcome.out
    assert [len(tracks) for _, tracks in read_tracks(mltrack.tracks)] == [0, 0, 0]
