"""Models that do not fit or are damaged: refused before the first event."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bad_input import JOB, CommandLine, good_events, save_events
from direction_model import save_direction_model
from reading_events import hits_of, write_events

from mltrack_plugin.algorithms.encreg import EncReg
from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.framework.chain import for_detector
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.io import open_events
from mltrack_plugin.io.root_tracks import read_tracks


def missing(good: Path) -> Path:
    return good.with_name("modle.pt")


def empty(good: Path) -> Path:
    good.with_name("empty.pt").touch()
    return good.with_name("empty.pt")


def text(good: Path) -> Path:
    path = good.with_name("text.pt")
    path.write_text("weights? no")
    return path


def truncated(good: Path) -> Path:
    content = good.read_bytes()
    path = good.with_name("half.pt")
    path.write_bytes(content[: len(content) // 2])
    return path


def one_wrong_byte(good: Path) -> Path:
    content = bytearray(good.read_bytes())
    content[content.index(b"def forward") + 4] ^= 0xFF
    path = good.with_name("flipped.pt")
    path.write_bytes(content)
    return path


def other_zip(good: Path) -> Path:
    import zipfile

    path = good.with_name("photos.pt")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photos/cat.jpg", b"\xff\xd8\xff")
    return path


def pickled(good: Path) -> Path:
    import pickle

    path = good.with_name("pickled.pt")
    path.write_bytes(pickle.dumps({"weights": [1.0]}))
    return path


def other_suffix(good: Path) -> Path:
    path = good.with_name("weights.h5")
    path.write_bytes(good.read_bytes())
    return path


def other_detector(good: Path) -> Path:
    return save_direction_model(good.with_name("generic.pt"), detectors=("generic",))


def other_coordinates(good: Path) -> Path:
    """The card promises cylindrical coordinates, but its features are Cartesian."""
    return save_direction_model(good.with_name("cylinder.pt"), coordinate_system="cylindrical")


def unknown_feature(good: Path) -> Path:
    return save_direction_model(good.with_name("charge.pt"), features=("x", "y", "charge"))


def more_outputs(good: Path) -> Path:
    """The card promises four outputs, the network has three."""
    units = dict.fromkeys("xyz", "redvid") | dict.fromkeys("abcd", "1")
    changes = {"outputs": tuple("abcd"), "output_scales": (0.01,) * 4, "units": units}
    return save_direction_model(good.with_name("four.pt"), **changes)


MODELS: list[tuple[Callable[[Path], Path], tuple[str, ...]]] = [
    (missing, ("modle.pt", "no such file", "Did you mean 'model.pt'")),
    (empty, ("empty.pt", "not a model archive")),
    (text, ("text.pt", "not a model archive")),
    (truncated, ("half.pt", "damaged or incomplete", "export the model again")),
    (one_wrong_byte, ("flipped.pt", "damaged", "export the model again")),
    (other_zip, ("photos.pt",)),
    (pickled, ("pickled.pt", "pickle", "mltrack export")),
    (other_suffix, ("weights.h5", "must end in .pt")),
    (other_detector, ("trained for generic", "events of 'redvid'", "mltrack models")),
    (other_coordinates, ("cylinder.pt", "coordinate system is cylindrical", "x, y are cartesian")),
    (unknown_feature, ("charge.pt", "charge")),
    (more_outputs, ("four.pt", "returned shape", "its card promises", "Export the model again")),
]
each_model = pytest.mark.parametrize(("make", "parts"), MODELS, ids=[make.__name__ for make, _ in MODELS])


@pytest.fixture
def redvid(tmp_path: Path) -> Path:
    """Three events that state their detector."""
    path = tmp_path / "redvid.root"
    arguments = ["--events", "3", "--tracks", "4-6", "--multiplicity", "uniform", "--output", str(path)]
    assert main(["simulate", "redvid-10-50-linear", *arguments]) == 0
    return path


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """A model without ranges, to be damaged."""
    return save_direction_model(tmp_path / "model.pt")


@each_model
def test_run(mltrack: CommandLine, redvid: Path, own_model: Path, make, parts) -> None:
    outcome = mltrack.run(redvid, "--on-error", "skip", model=make(own_model))
    mltrack.refused(outcome, 1, *parts)


@each_model
def test_evaluate(mltrack: CommandLine, redvid: Path, own_model: Path, make, parts) -> None:
    report = mltrack.output / "scores.json"
    arguments = ("--config", JOB, "--model", make(own_model), "--json", report, "--on-error", "skip")
    mltrack.refused(mltrack("evaluate", "--input", redvid, *arguments), 1, *parts)


def test_models_command(mltrack: CommandLine, own_model: Path) -> None:
    mltrack.refused(mltrack("models", truncated(own_model)), 1, "half.pt", "damaged or incomplete")
    mltrack.refused(
        mltrack("models", "encreg-redvid-10-50-liner"), 1, "Did you mean 'encreg-redvid-10-50-linear'"
    )


def test_input_of_another_detector_than_the_job_is_made_for(mltrack: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    header = "hit_id,x,y,z,volume_id,layer_id,module_id"
    (folder / "event000000001-hits.csv").write_text(f"{header}\n1,30,1,1,8,2,1\n")
    model = save_direction_model(tmp_path / "redvid.pt")
    mltrack.refused(mltrack.run(folder, model=model), 2, "set up for the detector redvid", "of trackml")


def test_a_model_in_cylindrical_coordinates_gets_them(mltrack: CommandLine, tmp_path: Path) -> None:
    # Hits are Cartesian; a model that wants r, phi, z is no error, they are computed.
    changes = {"features": ("r", "phi", "z"), "coordinate_system": "cylindrical"}
    units = {"r": "redvid", "phi": "rad", "z": "redvid", "theta": "rad", "sin_phi": "1", "cos_phi": "1"}
    model = save_direction_model(tmp_path / "rphiz.pt", **changes, units=units)
    outcome = mltrack.run(save_events(tmp_path / "events.root", *good_events()), model=model)
    assert outcome.code == 0, outcome.err
    assert len(dict(read_tracks(mltrack.tracks))) == 3


def test_a_script_checks_the_detector_before_the_first_event(tmp_path: Path, own_model: Path) -> None:
    source = write_events(tmp_path / "events.root", {"hits": [hits_of(1)]}, [1])
    done: list[int] = []
    sequencer = Sequencer(progress=lambda n, total: done.append(n))
    sequencer.add_reader(open_events(source, detector="atlas"))
    sequencer.add_algorithm(EncReg(model=str(own_model), device="cpu"))
    with pytest.raises(ModelError, match=r"trained for redvid.* events of 'atlas'"):
        sequencer.run()
    assert done == []


def test_for_detector_fills_in_what_is_not_set(own_model: Path) -> None:
    algorithm = EncReg(model=str(own_model))
    assert for_detector(algorithm, None) is algorithm
    assert for_detector(algorithm, "atlas").config.detector == "atlas"
    assert algorithm.config.detector is None
    stated = EncReg(model=str(own_model), detector="redvid")
    assert for_detector(stated, "redvid") is stated
    with pytest.raises(
        ConfigurationError, match="set up for the detector redvid, but the events are of atlas"
    ):
        for_detector(stated, "atlas")
    assert {handle.kind for handle in for_detector(algorithm, "atlas").inputs} >= {Hits}
