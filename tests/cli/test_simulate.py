"""``mltrack simulate``: options made from the data sets' parameters, files, messages."""

import json

import numpy as np
import pytest
import uproot
from click.testing import CliRunner

from mltrack_plugin.cli.config_options import NumbersType
from mltrack_plugin.cli.main import main
from mltrack_plugin.cli.simulate import command
from mltrack_plugin.io import open_events
from mltrack_plugin.registry import available
from mltrack_plugin.simulation.datasets import dataset_entry, make_dataset

LINEAR = ["simulate", "redvid-10-50-linear"]


def simulate(*arguments: str) -> int:
    return main([*LINEAR, "--events", "5", *map(str, arguments)])


def read(path):
    reader = open_events(str(path))
    reader.initialize()
    try:
        return reader.detector, [event.collections for event in reader.events()]
    finally:
        reader.finalize()


@pytest.mark.parametrize("name", available("data set"))
def test_help_lists_every_parameter_with_its_meaning(name):
    result = CliRunner().invoke(command, [name, "--help"])
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    kind = dataset_entry(name).load().Config
    for name, field in kind.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description.split(".")[0].split(";")[0][:30] in text


def test_help_lists_the_data_sets(capsys):
    main(["simulate", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in available("data set"))


def test_what_is_written_is_what_the_data_set_gives(tmp_path, capsys):
    path = tmp_path / "events.root"
    assert simulate("--seed", 3, "--tracks", "2-4", "--noise", "0.15", "--output", path) == 0
    assert f"writing 5 test events of redvid-10-50-linear (seed 3) to {path}" in capsys.readouterr().out
    detector, events = read(path)
    assert detector == "redvid"
    dataset = make_dataset("redvid-10-50-linear", {"tracks": (2, 4), "noise": 0.15})
    for found, wanted in zip(events, dataset.events(5, seed=3, split="test"), strict=True):
        assert found["hits"].equals(wanted.hits)
        assert found["truth_links"].equals(wanted.truth_links)
        assert found["particles"].equals(wanted.particles)
        assert 2 <= len(wanted.particles) <= 4
    with uproot.open(path) as file:
        columns = file["meta"].arrays(library="np")
        meta = {
            bytes(k).decode(): bytes(v).decode()
            for k, v in zip(columns["key"], columns["value"], strict=True)
        }
    assert (meta["dataset"], meta["seed"], meta["split"]) == ("redvid-10-50-linear", "3", "test")
    assert json.loads(meta["parameters"])["tracks"] == [2, 4]


def test_same_command_same_bytes_and_other_split_other_events(tmp_path):
    for name, split in {"a": "train", "b": "train", "c": "test"}.items():
        assert simulate("--split", split, "--output", tmp_path / f"{name}.root") == 0
    first, again = (tmp_path / f"{name}.root" for name in "ab")
    assert first.read_bytes() == again.read_bytes()
    assert not read(first)[1][0]["hits"].equals(read(tmp_path / "c.root")[1][0]["hits"])


def test_rntuple(tmp_path):
    path = tmp_path / "events.root"
    assert simulate("--format", "rntuple", "--output", path) == 0
    assert len(read(path)[1]) == 5


def test_gun_from_the_command_line(tmp_path):
    pytest.importorskip("acts")
    path = tmp_path / "gun.root"
    arguments = ["--events", "3", "--tracks", "7", "--pt", "1-2", "--species", "muon", "--output", str(path)]
    assert main(["simulate", "acts-gun", *arguments]) == 0
    detector, events = read(path)
    assert detector == "generic"
    for event in events:
        muons = np.abs(event["particles"].pdg_id) == 13
        assert 6 <= muons.sum() <= 7
        assert ((event["particles"].pt[muons] > 0.99) & (event["particles"].pt[muons] < 2.01)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "redvid-10-50-linea", "--events", "1"], "Did you mean 'redvid-10-50-linear'"),
        ([*LINEAR, "--events", "1", "--output", "x.root", "--tracks", "3x"], "is not LOW-HIGH"),
        (
            ["simulate", "trackml-10-50", "--events", "1", "--output", "x.root", "--shares", "0.9,0.1"],
            "is not X,X,X; write for example 0.8,0.1,0.1",
        ),
        ([*LINEAR, "--events", "1", "--output", "x.root", "--tracks", "30-2"], "two rising numbers"),
        ([*LINEAR, "--events", "1", "--output", "x.root", "--noise", "-1"], "noise: Input should be greater"),
        ([*LINEAR, "--events", "0", "--output", "x.root"], "0 is not in the range"),
        ([*LINEAR, "--events", "1", "--output", "x.root", "--split", "tets"], "'tets' is not one of"),
        ([*LINEAR, "--events", "1", "--output", "x.root", "--colour", "red"], "No such option"),
        ([*LINEAR, "--events", "1"], "Missing option '--output'"),
    ],
)
def test_wrong_command_lines_say_what_is_wrong(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_existing_output_is_refused_and_replaced_on_demand(tmp_path, capsys):
    path = tmp_path / "events.root"
    path.write_text("precious")
    assert simulate("--output", path) == 1
    assert "exists already" in capsys.readouterr().err
    assert path.read_text() == "precious"
    assert simulate("--output", path, "--overwrite") == 0
    assert len(read(path)[1]) == 5


def test_failure_in_the_middle_leaves_nothing(tmp_path, capsys, monkeypatch):
    def failing(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("mltrack_plugin.simulation.redvid_dataset.redvid_event", failing)
    assert simulate("--output", tmp_path / "events.root") == 130
    assert not list(tmp_path.iterdir())


def test_folder_that_does_not_exist(tmp_path, capsys):
    assert simulate("--output", tmp_path / "nowhere" / "events.root") == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kinds", "text", "value"),
    [
        ((int, int), "20-80", (20, 80)),
        ((int, int), "20:80", (20, 80)),
        ((int, int), "30", (30, 30)),
        ((float, float), "0.5-10", (0.5, 10.0)),
        ((float, float), "1e-3-10", (1e-3, 10.0)),
        ((float, float), "-2:2", (-2.0, 2.0)),
        ((float, float, float), "0.8,0.1,0.1", (0.8, 0.1, 0.1)),
    ],
)
def test_ranges(kinds, text, value):
    assert NumbersType(kinds).convert(text, None, None) == value
