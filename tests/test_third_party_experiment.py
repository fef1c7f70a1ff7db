"""An outside package adds a reader, a detector, a network, an algorithm and a writer, and finds its tracks."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.cli.main import main
from mltrack_plugin.detectors import load_detector
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io import detect_format, open_events
from mltrack_plugin.models import build_network
from mltrack_plugin.registry import available, find

EXAMPLE = Path(__file__).parents[1] / "examples" / "third_party_experiment"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the package is installed in, on the import path of this process and its workers."""
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(EXAMPLE, source)
    site = tmp_path_factory.mktemp("site")
    command = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([sys.executable, "-m", *command, str(source)], check=True, capture_output=True, text=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield site
        for name in [name for name in sys.modules if name.split(".")[0] == "chamber"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def inputs(installed, tmp_path_factory):
    """A folder with events of the experiment and a model trained on them."""
    folder = tmp_path_factory.mktemp("chamber")
    simulation = importlib.import_module("chamber.simulation")
    simulation.write_events(str(folder / "events.txt"))
    simulation.train(str(folder / "directions.pt"))
    return folder


def run(inputs: Path, output: Path, *options: str) -> int:
    arguments = [
        "run",
        "--input",
        inputs / "events.txt",
        "--output",
        output,
        "--config",
        EXAMPLE / "job.yaml",
    ]
    return main([*map(str, arguments), "--model", str(inputs / "directions.pt"), *options])


def test_finds_its_tracks(inputs, tmp_path, capsys):
    assert detect_format(str(inputs / "events.txt")) == "chamber-events"
    assert run(inputs, tmp_path / "tracks.root", "--json", str(tmp_path / "summary.json")) == 0
    scores = json.loads((tmp_path / "summary.json").read_text())["scores"]
    assert scores["efficiency"] > 0.9
    assert scores["fake_rate"] < 0.05
    # What the experiment's own writer wrote: on each line hits of one particle, now and then with one of noise.
    events = {event.event_number: event for event in open_events(str(inputs / "events.txt"))}
    purities = []
    for line in (tmp_path / "tracks.txt").read_text().splitlines():
        number, _, *ids = map(int, line.split())
        rows = np.searchsorted(events[number].hits.hit_id, ids)
        particles = events[number].truth.particle_id[rows]
        purities.append(np.bincount(particles.astype(int)).max() / len(particles))
    assert len(purities) > 150
    assert np.mean(purities) > 0.95


def test_same_bytes_from_worker_processes(inputs, tmp_path, capsys):
    for name, workers in (("one", "1"), ("two", "2")):
        assert run(inputs, tmp_path / f"{name}.root", "--workers", workers) == 0
    assert (tmp_path / "one.txt").read_bytes() == (tmp_path / "two.txt").read_bytes()
    assert (tmp_path / "one.root").read_bytes() == (tmp_path / "two.root").read_bytes()


def test_commands_show_it_like_what_is_shipped(installed, capsys):
    for kind, name in (
        ("algorithm", "require-radial-span"),
        ("reader", "chamber-events"),
        ("writer", "chamber-tracks"),
        ("detector", "chamber"),
    ):
        assert name in available(kind)
        assert main([f"{kind}s", "--json"]) == 0
        (row,) = (row for row in json.loads(capsys.readouterr().out) if row["name"] == name)
        assert row["package"] == "mltrack-chamber 0.1.0"
    assert main(["algorithms", "require-radial-span"]) == 0
    assert "min_span: float >= 0 = 300.0\n    Smallest distance" in capsys.readouterr().out


def test_its_detector_and_network_are_found_by_name(inputs):
    detector = load_detector("chamber")
    event = next(iter(open_events(str(inputs / "events.txt"))))
    assert (detector.layer_of(event.hits) == event.hits.layer_id).all()
    network = build_network("direction-mlp", {"width": 8})
    assert sum(p.numel() for p in network.parameters()) == (3 + 1) * 8 + (8 + 1) * 8 + (8 + 1) * 3
    with pytest.raises(
        ConfigurationError, match=r"'direction-mlp': no setting 'widht'. Did you mean 'width'"
    ):
        build_network("direction-mlp", {"widht": 8})
    model = load_model(inputs / "directions.pt")
    directions = model.predict_hits(event.hits)
    radii = np.linalg.norm(event.hits.positions, axis=1, keepdims=True)
    assert np.median(np.linalg.norm(directions - event.hits.positions / radii, axis=1)) < 0.02


def test_algorithm_keeps_the_tracks_with_a_long_lever_arm(installed):
    hits = Hits(
        np.arange(1, 7), np.array([100.0, 200.0, 500.0, 100.0, 150.0, 390.0]), np.zeros(6), np.zeros(6)
    )
    candidates = Tracks(
        offsets=np.array([0, 3, 6]), hit_indices=np.arange(6), membership=np.ones(6), quality=np.ones(2)
    )
    for span, kept in ((0.0, 2), (300.0, 1), (500.0, 0)):
        store = EventStore(0, "test")
        store.add("hits", hits)
        store.add("candidate_tracks", candidates)
        find("algorithm", "require-radial-span")(min_span=span).execute(store)
        assert len(store.get("tracks", Tracks)) == kept
