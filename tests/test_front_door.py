"""What a person meets first: names that are completed, readers that are iterated, objects that show themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from fake_sequence import GeneratedEvents, Halves

import mltrack_plugin
from mltrack_plugin import errors
from mltrack_plugin.errors import EventError, MltrackError

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "examples" / "data" / "trackml-10-50.root"


# ---- names ----------------------------------------------------------------------------------


def test_every_name_is_completed_and_found():
    names = dir(mltrack_plugin)
    assert {"run", "find_tracks", "open_events", "read_tracks", "load_job", "Detector", "errors"} <= set(
        names
    )
    for name in names:
        assert getattr(mltrack_plugin, name) is not None
    assert set(mltrack_plugin.__all__) <= set(names)


def test_type_checkers_see_the_names_that_are_there():
    tree = ast.parse((ROOT / "mltrack_plugin" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (node.module.removeprefix("mltrack_plugin."), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    there = {(module, name) for module, names in mltrack_plugin._EXPORTS.items() for name in names}
    assert seen == there


def test_every_error_is_a_name():
    kinds = {n for n, k in vars(errors).items() if isinstance(k, type) and issubclass(k, MltrackError)}
    assert kinds <= set(dir(mltrack_plugin))


def test_every_room_is_completed():
    rooms = {path.parent.name for path in (ROOT / "mltrack_plugin").glob("*/__init__.py")}
    assert rooms - {"cli", "tracking"} | {"algorithms", "io"} <= set(dir(mltrack_plugin))


def test_registered_classes_are_names_of_their_rooms():
    from mltrack_plugin.algorithms import FitKalman
    from mltrack_plugin.io import RootEventsReader, RootTracksWriter

    assert FitKalman.__name__ in dir(mltrack_plugin.algorithms)
    assert {RootEventsReader.__name__, RootTracksWriter.__name__} <= set(dir(mltrack_plugin.io))
    with pytest.raises(AttributeError, match="Did you mean 'FitKalman'"):
        _ = mltrack_plugin.algorithms.FitKalmann
    with pytest.raises(ImportError, match="RootTracksWritr"):
        from mltrack_plugin.io import RootTracksWritr  # noqa: F401


def test_importing_the_package_and_completing_it_imports_nothing_heavy():
    code = (
        "import sys, mltrack_plugin; dir(mltrack_plugin); mltrack_plugin.errors; mltrack_plugin.settings\n"
        "print({'torch', 'awkward', 'uproot', 'numba', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- readers --------------------------------------------------------------------------------


def test_readers_are_iterated_as_they_are():
    reader = mltrack_plugin.open_events(str(SAMPLE))
    assert len(reader) == 30
    numbers = []
    for event in reader:
        numbers.append(event.event_number)
        assert event.hits is event["hits"]
        assert len(event.truth) == len(event.hits)
        assert set(event.truth.particle_id) - {0} <= set(event.particles.particle_id)
        # Asking in the middle of a loop disturbs nothing.
        assert len(reader) == 30
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 30
    assert [event.event_number for event in reader] == numbers


class Counting(GeneratedEvents):
    opened = closed = 0

    def initialize(self):
        self.opened += 1

    def finalize(self):
        self.closed += 1


def test_readers_are_opened_for_a_loop_and_closed_after_it():
    reader = Counting(n_events=3)
    assert reader
    assert reader.opened == 0
    for _ in reader:
        assert len(reader) == 3
        assert (reader.opened, reader.closed) == (1, 0)
    assert (reader.opened, reader.closed) == (1, 1)
    for _ in reader:
        break
    assert list(zip(reader, reader, strict=True))
    assert reader.opened == reader.closed


def test_without_truth_it_is_none():
    event = next(iter(mltrack_plugin.open_events(str(SAMPLE), read_truth=False)))
    assert event.truth is None
    assert event.particles is None
    with pytest.raises(EventError, match="event 0 has no 'truth_links'"):
        event["truth_links"]


def test_a_bad_event_spoils_no_other():
    good, bad, other = GeneratedEvents(n_events=3, broken=(1,))
    assert len(good.hits) == len(other.hits) == 12
    assert "cannot be read" in repr(bad)
    for look in (lambda: bad.hits, lambda: bad.truth, lambda: bad["hits"]):
        with pytest.raises(EventError, match="event 101 cannot be read: 3 of 12 hits have a non-finite x"):
            look()


# ---- how things show themselves -------------------------------------------------------------


def test_elements_show_what_differs_from_the_defaults():
    assert repr(Halves()) == "Halves()"
    assert repr(Halves(wait_s=0.5, output="t")) == "Halves(output='t', wait_s=0.5)"
    reader = mltrack_plugin.open_events(str(SAMPLE))
    assert repr(reader) == f"RootEventsReader(path={str(SAMPLE)!r})"
    long = repr(Halves(fail_at=tuple(range(1000))))
    assert len(long) < 100
    assert "999)" in long


def test_html_names_settings_and_escapes_names():
    html = mltrack_plugin.io.RootTracksWriter(path="<b>&.root")._repr_html_()
    assert "&lt;b&gt;&amp;.root" in html
    assert "<b>" not in html
    assert "Replace an existing file." in html
    event = mltrack_plugin.read_tracks("<i>.root")
    assert event.source == "<i>.root"


def test_jobs_show_their_steps():
    job = mltrack_plugin.load_job("encemb-generic")
    lines = str(job).splitlines()
    assert lines[0].startswith("job encemb-generic (for generic)")
    assert [line.split()[1] for line in lines[1:]] == [step.name for step in job.sequence]
    assert repr(job) == str(job)
    assert "follow-seeds" in job._repr_html_()


def test_summaries_and_sinks_print_well():
    sink = mltrack_plugin.TracksCollector()
    sequencer = mltrack_plugin.Sequencer(on_error="skip").add_reader(GeneratedEvents(n_events=20))
    sequencer.add_algorithm(Halves(fail_at=(104,))).add_writer(sink)
    lines = repr(sequencer).splitlines()
    assert lines[0] == "Sequencer: 3 elements, 1 worker(s)"
    assert lines[2].split() == ["Halves", "<-", "hits", "->", "tracks"]
    assert "Halves(fail_at=(104,))" in sequencer._repr_html_()
    summary = sequencer.run()
    text = str(summary)
    assert text.splitlines()[0].startswith(
        "19 events, 228 hits, 38 tracks (12.0 hits and 2.0 tracks per event)"
    )
    assert "event 104: Halves: no hit is usable" in text
    assert repr(summary) == text
    assert "Halves" in summary._repr_html_()
    assert sink.tracks.event_numbers == [*range(100, 104), *range(105, 120)]
    assert "tracks of 19 events: 38 tracks" in repr(sink.tracks)
    assert "..." in sink.tracks._repr_html_()
