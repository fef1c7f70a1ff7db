"""What the tests of bad input share, and those of ``mltrack compare``."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from bad_input import CommandLine, good_events, save_events
from compared_events import (
    N_EVENTS,
    N_PARTICLES,
    make_event,
    ours,
    theirs,
    with_tracks,
    write_tracks,
    write_truth,
)
from direction_model import save_direction_model

from mltrack_plugin.cli.main import main


@pytest.fixture(scope="session")
def direction_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds straight tracks, with the range of radii in which it was trained."""
    ranges = {"r": (0.0, 7.0), "z": (-20.0, 20.0), "n_hits": (1, 200)}
    return save_direction_model(
        tmp_path_factory.mktemp("model") / "direction.pt", validity=ranges, detectors=("redvid", "trackml")
    )


@pytest.fixture
def mltrack(tmp_path: Path, direction_model: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line, with an empty folder for its outputs."""
    return CommandLine(tmp_path, direction_model, capsys)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Three events without fault."""
    return save_events(tmp_path / "good.root", *good_events())


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Events, and two collections of their tracks, in memory and as files."""
    folder = tmp_path_factory.mktemp("compare")
    stores = [make_event(10 + 3 * i, n=N_PARTICLES) for i in range(N_EVENTS)]
    mine = [with_tracks(store, ours(store)) for store in stores]
    other = [with_tracks(store, theirs(store)) for store in stores]
    return SimpleNamespace(
        folder=folder,
        stores=stores,
        mine=mine,
        other=other,
        truth=write_truth(folder / "events.root", stores),
        tracks=write_tracks(folder / "ours.root", mine),
        reference=write_tracks(folder / "ckf.root", other),
    )


@pytest.fixture
def compare(request, capsys, monkeypatch, tmp_path):
    """``compare(argument, ...)``: exit code, standard output, standard error, in an empty folder.

    Figures take seconds, so pages have none except in tests that ask for ``figures``.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    if "figures" not in request.fixturenames:
        monkeypatch.setattr(
            "mltrack_plugin.evaluation.comparison.plots.pictures", lambda *arguments: iter(())
        )

    def _compare(*arguments):
        code = main(["compare", *map(str, arguments)])
        out = capsys.readouterr()
        return SimpleNamespace(code=code, out=out.out, err=out.err)

    return _compare


@pytest.fixture
def figures():
    """Asks for a page with figures."""
    pytest.importorskip("matplotlib")


@pytest.fixture
def compare_json(compare):
    """``compare_json(argument, ...)``: the JSON."""

    def _compare_json(*arguments):
        done = compare(*arguments, "--json")
        assert done.code == 0, done.err
        return json.loads(done.out)

    return _compare_json
