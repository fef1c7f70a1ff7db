"""Which detector hits are from: what is stated, checked by where they lie."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mltrack_plugin.detectors import Detector, load_detector, recognise
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.simulation.datasets import make_dataset


def on_layers(detector: Detector, n: int = 1000, ids: bool = True, seed: int = 1) -> Hits:
    """Hits anywhere on the layers of a detector of barrels and discs."""
    rng = np.random.default_rng(seed)
    table = detector.layers
    layer = rng.integers(len(table.at), size=n)
    phi, along = rng.uniform(-np.pi, np.pi, n), rng.uniform(*table.extent[layer].T)
    r, z = np.where(table.kind[layer] == "barrel", (table.at[layer], along), (along, table.at[layer]))
    numbers = np.array(detector.layer_ids)[layer]
    columns = {"volume_id": numbers[:, 0], "layer_id": numbers[:, 1]} if ids else {}
    return Hits(np.arange(n), r * np.cos(phi), r * np.sin(phi), z, **columns)


@pytest.mark.parametrize("name", ["generic", "redvid"])
@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("stated", [True, False])
def test_hits_on_a_known_detector(name: str, ids: bool, stated: bool) -> None:
    hits = on_layers(load_detector(name), ids=ids)
    found = recognise([hits, hits], name if stated else None)
    assert (found.detector.name, found.n_hits, found.n_on_layers) == (name, 2000, 2000)
    assert found.reason == f"detector {name}: 100.0% of 2000 hits lie on its layers"


@pytest.mark.parametrize(
    ("dataset", "detector"),
    [
        ("redvid-10-50-linear", "redvid"),
        ("redvid-50-100-helical", "redvid"),
        ("redvid-endcap", "redvid"),
        ("toy-planes", "toy-planes"),
    ],
)
def test_simulated_events_lie_on_their_detector(dataset: str, detector: str) -> None:
    events = [event.hits for event in make_dataset(dataset).events(5, seed=1, split="test")]
    bare = [Hits(hits.hit_id, hits.x, hits.y, hits.z) for hits in events]
    assert recognise(events).detector.name == recognise(bare).detector.name == detector


def test_other_names_and_files_are_stated_as_well(tmp_path) -> None:
    generic = load_detector("generic")
    hits = on_layers(generic)
    assert recognise([hits], "trackml").detector is generic
    path = tmp_path / "mine.yaml"
    path.write_text(generic.model_copy(update={"name": "mine", "aliases": ()}).to_yaml())
    assert recognise([hits], str(path)).detector.name == "mine"


def test_layers_of_other_numbers_are_another_detector() -> None:
    hits = on_layers(load_detector("generic"))
    assert hits.volume_id is not None
    # The Open Data Detector's volumes have other numbers, and a volume's number alone does not make it one.
    for volume_id in (hits.volume_id + 9, np.roll(hits.volume_id, 1)):
        other = dataclasses.replace(hits, volume_id=volume_id)
        with pytest.raises(
            ConfigurationError, match=r"not known: of 1000 hits lie \d+\.\d% on the layers of generic"
        ):
            recognise([other])
        with pytest.raises(
            ConfigurationError, match=r"stated to be of the detector generic, but of 1000 hits only"
        ):
            recognise([other], "generic")


def test_a_few_hits_may_lie_elsewhere() -> None:
    hits = on_layers(load_detector("generic"), ids=False)
    for n, known in ((10, True), (11, False)):
        x = hits.x.copy()
        x[:n] += 5000
        moved = dataclasses.replace(hits, x=x)
        if known:
            assert recognise([moved]).n_on_layers == 990
        else:
            with pytest.raises(ConfigurationError, match=r"98\.9% on the layers of generic.*99% must"):
                recognise([moved])


def test_an_unknown_detector_says_how_to_go_on() -> None:
    hits = on_layers(load_detector("generic"))
    message = r"a.root is of the detector 'odd', of which there is no description \(known: .*generic.*\). .*--detector"
    with pytest.raises(ConfigurationError, match=message):
        recognise([hits], "odd", "a.root")
    with pytest.raises(ConfigurationError, match=r"states no detector and has no hits.*docs/detectors.md"):
        recognise([hits.take(np.arange(0))])


def test_hits_in_another_unit_are_told() -> None:
    hits = on_layers(load_detector("generic"), ids=False)
    metres = dataclasses.replace(hits, x=hits.x / 1000, y=hits.y / 1000, z=hits.z / 1000)
    with pytest.raises(
        ConfigurationError, match=r"on generic if their unit were m: reader: {length_unit: m}"
    ):
        recognise([metres])
