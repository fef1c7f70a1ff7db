"""The description of a detector: YAML, errors, and what it says of hits."""

from __future__ import annotations

import dataclasses
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mltrack_plugin import registry
from mltrack_plugin.detectors import Detector, available_detectors, load_detector
from mltrack_plugin.detectors.geometry_ids import join_geometry_id, split_geometry_id
from mltrack_plugin.errors import ConfigurationError, EventDataError
from mltrack_plugin.event_data import Hits

SMALL = """
name: small
aliases: [tiny]
field: {kind: constant, bz: 1.5}
thickness: 0.02
resolution: {rphi: 0.1, r: 0.2, z: 0.3}
volumes:
  5:
    kind: barrel
    layers: {1: 50, 2: {at: 100, thickness: 0.05}}
    extent: [-200, 200]
    depth: 2
    resolution: {rphi: 0.01, z: 0.02}
  6:
    kind: disc
    layers: {1: 300, 2: 400}
    extent: [20, 150]
    depth: 2
    resolution: {rphi: 0.03, r: 0.04}
    thickness: 0.01
"""


def small(**replaced: object) -> Detector:
    return Detector.from_yaml(SMALL, "small.yaml").model_copy(update=replaced)


def make_hits(*points: tuple[float, float, float], **columns: Any) -> Hits:
    x, y, z = np.array(points, dtype=float).T
    return Hits(np.arange(len(x)), x, y, z, **{name: np.array(values) for name, values in columns.items()})


@pytest.mark.parametrize("name", available_detectors())
def test_round_trip_through_yaml(name: str) -> None:
    detector = load_detector(name)
    again = Detector.from_yaml(detector.to_yaml(), "again")
    assert again == detector
    assert again.checksum == detector.checksum


def test_shipped_detectors_go_by_all_their_names() -> None:
    assert {"generic", "redvid", "toy-planes"} <= set(available_detectors())
    assert load_detector("trackml") is load_detector("generic")


def test_checksum_tells_descriptions_apart() -> None:
    assert small().checksum != Detector.from_yaml(SMALL.replace("0.02\n", "0.03\n", 1), "other").checksum


def test_layers_are_dense_and_ordered_outwards() -> None:
    detector = small()
    assert detector.layer_ids == ((5, 1), (5, 2), (6, 1), (6, 2))
    generic = load_detector("generic")
    # At negative z the numbers of the layers fall outwards.
    assert [layer for volume, layer in generic.layer_ids if volume == 7] == [14, 12, 10, 8, 6, 4, 2]
    points = (50, 0, 0), (0, 100, 10), (100, 0, 400), (1, 0, 0)
    found = detector.layer_of(make_hits(*points, volume_id=[5, 5, 6, 9], layer_id=[1, 2, 2, 1]))
    assert found.tolist() == [0, 1, 3, -1]


def test_layers_by_position() -> None:
    event = make_hits((51, 0, 0), (0, 99, 10), (100, 0, 401), (70, 0, 0))
    detector = small()
    assert detector.layer_of(event).tolist() == [0, 1, 3, -1]
    with pytest.raises(EventDataError, match="only 3 of 4 lie on the layers of the detector small"):
        detector.located(event)
    many = make_hits(*[(51, 0, 0)] * 97, (0, 99, 10), (100, 0, 401), (70, 0, 0))
    located = detector.located(many).take(np.array([0, 97, 98, 99]))
    assert located.volume_id is not None
    assert located.layer_id is not None
    # The last one is on no layer; that at 50 mm is nearer than that at 100 mm.
    assert located.volume_id.tolist() == [5, 5, 6, 5]
    assert located.layer_id.tolist() == [1, 2, 2, 1]
    np.testing.assert_array_equal(detector.sigmas(located)[:3], detector.sigmas(event.take(np.arange(3))))


def test_layers_by_geometry_id() -> None:
    volume, layer, module = np.array([5, 6]), np.array([1, 2]), np.array([7, 8])
    ids = join_geometry_id(volume, layer, module)
    event = make_hits((50, 0, 0), (100, 0, 400), geometry_id=ids)
    detector = small()
    assert detector.layer_of(event).tolist() == [0, 3]
    assert detector.sigmas(event).tolist() == [[0.01, 0.0, 0.02], [0.03, 0.04, 0.0]]
    np.testing.assert_array_equal(np.stack(split_geometry_id(ids)), np.stack([volume, layer, module]))


def test_sigmas_and_material_of_hits() -> None:
    points = (50, 0, 0), (0, 100, 0), (100, 0, 300), (9, 9, 9)
    event = make_hits(*points, volume_id=[5, 5, 6, 77], layer_id=[1, 2, 1, 1])
    detector = small()
    assert detector.sigmas(event).tolist() == [
        [0.01, 0, 0.02],
        [0.01, 0, 0.02],
        [0.03, 0.04, 0],
        [0.1, 0.2, 0.3],
    ]
    assert detector.material(event).tolist() == [0.02, 0.05, 0.01, 0.02]


def test_resolution_in_azimuth_grows_with_the_radius() -> None:
    sigmas = load_detector("redvid").sigmas(make_hits((4, 0, 0), (0, 5, 0)))
    np.testing.assert_allclose(sigmas, [[0.12, 0.015, 0.1], [0.15, 0.015, 0.1]])


def test_hits_on_their_layers() -> None:
    detector = small()
    event = make_hits((51, 0, 0), (53, 0, 0), (50, 0, 201), (50, 0, 0))
    assert detector.on_layers(event).tolist() == [True, False, False, True]
    # With ids it must be the layer that they name.
    event = dataclasses.replace(event, volume_id=np.full(4, 5), layer_id=np.array([1, 1, 1, 2]))
    assert detector.on_layers(event).tolist() == [True, False, False, False]


def test_lengths_in_another_unit() -> None:
    metres = (
        SMALL.replace("name: small", "name: small\nlength_unit: m")
        .replace("{1: 50, 2: {at: 100,", "{1: 0.05, 2: {at: 0.1,")
        .replace("[-200, 200]", "[-0.2, 0.2]")
        .replace("{1: 300, 2: 400}", "{1: 0.3, 2: 0.4}")
        .replace("[20, 150]", "[0.02, 0.15]")
        .replace("depth: 2", "depth: 0.002")
        .replace("{rphi: 0.01, z: 0.02}", "{rphi: 1.0e-5, z: 2.0e-5}")
    )
    detector = Detector.from_yaml(metres, "metres")
    event = make_hits((50, 0, 0), (0, 100, 10), (100, 0, 400))
    assert detector.layer_of(event).tolist() == small().layer_of(event).tolist() == [0, 1, 3]
    np.testing.assert_allclose(detector.sigmas(event)[:2], small().sigmas(event)[:2])
    assert detector.radius == pytest.approx(150)
    assert detector.half_length == pytest.approx(402)
    assert (small().radius, small().half_length) == (150, 402)


def test_field_at_points() -> None:
    points = [[0, 0, 0], [1, 2, 3]]
    assert small().field_at(points).tolist() == [[0, 0, 1.5], [0, 0, 1.5]]
    assert load_detector("redvid").field_at(points).tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("thickness: 0.02", "thicknes: 0.02", "thicknes.*Did you mean 'thickness'"),
        ("    depth: 2\n", "    depht: 2\n", "volumes.5.depht.*Did you mean 'depth'"),
        ("{rphi: 0.01, z: 0.02}", "{rphi: 0.0, z: 0.02}", r"volumes.5.resolution.*rphi .*larger than 0"),
        ("{rphi: 0.01, z: 0.02}", "{rphi: 0.01, r: 0.02}", "a barrel measures z"),
        ("{rphi: 0.03, r: 0.04}", "{rphi: 0.03, z: 0.04}", "a disc measures r"),
        ("{rphi: 0.1, r: 0.2, z: 0.3}", "{rphi: 0.1}", "resolution.*r or z must be larger than 0"),
        ("{rphi: 0.1, r: 0.2, z: 0.3}", "{rphi: .nan, r: 0.2}", "resolution.rphi: .*finite"),
        ("bz: 1.5", "bz: .inf", "bz: .*finite"),
        ("bz: 1.5", "bz: 0", "without a field"),
        ("kind: constant", "kind: torus", "field: .*'none', 'constant'"),
        ("2: {at: 100, thickness: 0.05}", "2: 51", "layer 1 of volume 5 and layer 2 of volume 5 overlap"),
        ("{1: 300, 2: 400}", "{1: 150, 2: 400}", "layer 1 of volume 5 and layer 1 of volume 6 overlap"),
        ("{1: 300, 2: 400}", "{}", "volumes.6.layers"),
        ("[20, 150]", "[150, 20]", "extent must be two rising numbers"),
        ("[20, 150]", "[-20, 150]", "in radius"),
        ("{1: 50,", "{1: .nan,", "layers.1.at: .*finite"),
        ("{1: 50,", "{1: -50,", "radius of a barrel layer"),
        ("thickness: 0.02", "thickness: 1.0", "thickness: .*less than 1"),
        ("volumes:\n", "layers:\n", "no setting 'layers'"),
        ("name: small", "name: [", "no valid YAML"),
    ],
)
def test_bad_descriptions_are_refused(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigurationError, match=f"(?s)small.yaml: .*{message}"):
        Detector.from_yaml(SMALL.replace(old, new, 1), "small.yaml")


def test_detectors_from_files(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    assert load_detector(path) == small()
    with pytest.raises(ConfigurationError, match="no such file"):
        load_detector(tmp_path / "other.yaml")
    with pytest.raises(
        ConfigurationError, match=r"no detector 'genric'.*Did you mean 'generic'.*docs/detectors.md"
    ):
        load_detector("genric")


def test_detectors_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "other_geometry"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from mltrack_plugin.detectors import load_detector\n"
        "def made():\n    return load_detector('generic').model_copy(update={'name': 'made', 'aliases': ()})\n"
        "wrong = 3\n"
    )
    (package / "small.yaml").write_text(SMALL)
    monkeypatch.syspath_prepend(str(tmp_path))
    values = {"small": "other_geometry", "made": "other_geometry:made", "wrong": "other_geometry:wrong"}
    group = registry.GROUPS["detector"].name
    points = [*registry.entry_points(group=group)]
    points += [EntryPoint(name, value, group) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert load_detector("small") == small()
    assert load_detector("made").name == "made"
    with pytest.raises(ConfigurationError, match=r"'wrong'.*is no Detector"):
        load_detector("wrong")
    twice = [*points, EntryPoint("small", "elsewhere", group)]
    monkeypatch.setattr(registry, "entry_points", lambda group: twice)
    with pytest.raises(ConfigurationError, match="two packages provide the detector 'small'"):
        available_detectors()
