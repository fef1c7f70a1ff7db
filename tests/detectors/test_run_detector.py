"""``mltrack run --detector FILE``: events of a detector that only a YAML file describes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from layered_tracks import BARRELS, DISCS, FIELD, SIGMA, make, perigees
from reading_events import write_events

from mltrack_plugin.cli.main import main
from mltrack_plugin.detectors import Detector, load_detector
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.io.root_tracks import read_meta, read_tracks

DESCRIPTION = f"""
name: layered
field: {{kind: constant, bz: {FIELD}}}
thickness: 0.005
resolution: {{rphi: {SIGMA}, z: {SIGMA}}}
volumes:
  1:
    kind: barrel
    layers: {dict(enumerate(BARRELS.tolist()))}
    extent: [-551, 551]
    depth: 1
  2:
    kind: disc
    layers: {dict(enumerate(DISCS.tolist(), start=100)) | dict(enumerate((-DISCS).tolist(), start=200))}
    extent: [29, 181]
    depth: 1
    resolution: {{rphi: {SIGMA}, r: {SIGMA}}}
"""


@pytest.fixture(scope="module")
def event():
    """Ten tracks and a little noise."""
    return make(perigees(10, seed=2, eta=0.9), seed=3, noise=20)


@pytest.fixture
def files(event, tmp_path: Path) -> tuple[str, str]:
    """The events and the description of their detector."""
    (tmp_path / "layered.yaml").write_text(DESCRIPTION)
    events = write_events(tmp_path / "events.root", {"hits": [event.hits.arrays()]}, [1])
    return str(events), str(tmp_path / "layered.yaml")


def test_tracks_in_a_detector_of_ones_own(event, files: tuple[str, str], tmp_path: Path) -> None:
    output = tmp_path / "tracks.root"
    arguments = ["--input", files[0], "--output", str(output), "--config", "follow-generic"]
    assert main(["run", *arguments, "--detector", files[1]]) == 0
    ((_, tracks),) = read_tracks(output)
    expected = ProtoTracks.from_labels(event.owner)
    found = {frozenset(tracks.hits_of(i).tolist()) for i in range(len(tracks))}
    assert len(found & {frozenset(expected.hits_of(i).tolist()) for i in range(10)}) >= 9
    meta = read_meta(output)
    detector = load_detector(files[1])
    assert (meta["detector"], meta["detector_sha256"]) == ("layered", detector.checksum)
    assert Detector.from_yaml(meta["detector_description"], "meta") == detector


def test_without_it_the_events_are_refused(files: tuple[str, str], tmp_path: Path, capsys) -> None:
    output = tmp_path / "tracks.root"
    for arguments, reason in (
        ([], r"is not known: of"),
        (["--config", "follow-generic"], "is stated to be of the detector generic"),
        (["--detector", "generic"], "is stated to be of the detector generic"),
        (["--detector", "layred"], "no detector 'layred'"),
    ):
        assert main(["run", "--input", files[0], "--output", str(output), *arguments]) == 2
        errors = capsys.readouterr().err
        assert reason in errors
        assert "docs/detectors.md" in errors
        assert not output.exists()


def test_inspect_says_why(files: tuple[str, str], capsys) -> None:
    assert main(["inspect", files[0], "--json"]) == 0
    assert "is not known: of" in capsys.readouterr().out
    assert main(["inspect", files[0], "--json", "--detector", files[1]]) == 0
    assert "detector layered: 100.0% of" in capsys.readouterr().out


def test_the_detector_decides_what_is_resumed(files: tuple[str, str], tmp_path: Path) -> None:
    from mltrack_plugin.jobs.config import load_job

    def facts() -> list[dict[str, str]]:
        steps = load_job("follow-generic").algorithms(detector=files[1])
        return [step.describe() for step in steps if "field_z" in type(step.config).model_fields]

    before = facts()
    Path(files[1]).write_text(DESCRIPTION.replace(f"bz: {FIELD}", "bz: 1.0"))
    after = facts()
    assert len(before) == 2
    assert all(a["detector_sha256"] != b["detector_sha256"] for a, b in zip(after, before, strict=True))
    assert np.all([fact["detector"] == "layered" for fact in after])
