"""Model cards: what is refused, and the checks of detector and hits against a card."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from model_fixtures import card_content, make_card

from mltrack_plugin.archives.card import FORMAT_VERSION, ModelCard
from mltrack_plugin.errors import EventError, ModelError
from mltrack_plugin.event_data import Hits


def ring(radius: float, n: int = 40, z: float = 0.0) -> Hits:
    phi = np.linspace(-3.0, 3.0, n)
    return Hits(hit_id=np.arange(n), x=radius * np.cos(phi), y=radius * np.sin(phi), z=np.full(n, z))


def test_json_round_trip_is_exact_and_reproducible() -> None:
    card = make_card()
    again = ModelCard.from_json(card.to_json(), "again")
    assert again == card
    assert again.to_json() == card.to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": ["x", "y", "zz"]}, r"no hit feature 'zz'"),
        ({"features": ["x", "x"]}, "features are repeated"),
        ({"output_scales": [0.1]}, "2 outputs but 1 output_scales"),
        ({"output_scales": [0.1, 0.0]}, "output_scales.1: .*greater than 0"),
        ({"units": {"x": "mm", "y": "mm"}}, "unit of feature 'z' is None"),
        ({"units": {"x": "mm", "y": "mm", "z": "feet"}}, "unit of feature 'z' is 'feet'"),
        ({"coordinate_system": "cylindrical"}, "coordinate system is cylindrical but the features x, y are"),
        ({"coordinate_system": "polar"}, "coordinate_system: "),
        ({"detectors": []}, "detectors: "),
        ({"name": "../../etc/passwd"}, "name: "),
        ({"validity": {"radius": [0, 1]}}, "no validity range 'radius'"),
        ({"validity": {"r": [2, 1]}}, "runs from 2.0 to 1.0"),
        ({"colour": "blue"}, "colour: "),
    ],
)
def test_wrong_cards_are_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        ModelCard.from_mapping(card_content(**changes), "file.pt")
    assert str(error.value).startswith("file.pt: ")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "null"])
def test_text_that_is_no_card(text: str) -> None:
    with pytest.raises(ModelError, match=r"file\.pt: the model card"):
        ModelCard.from_json(text, "file.pt")


def test_newer_format_asks_for_an_update_before_complaining_about_fields() -> None:
    content = card_content(format_version=FORMAT_VERSION + 1, something_new=1)
    with pytest.raises(ModelError, match=r"pip install --upgrade mltrack-plugin"):
        ModelCard.from_json(json.dumps(content), "file.pt")


def test_detector() -> None:
    card = make_card(detectors=["generic", "odd"])
    card.check_detector("odd", "events.root")
    card.check_detector(None, "events.root")
    with pytest.raises(ModelError, match=r"trained for generic or odd, but events\.root holds .*'redvid'"):
        card.check_detector("redvid", "events.root")


def test_hits_within_the_ranges_pass() -> None:
    make_card().check_hits(ring(1000.0))
    make_card().check_hits(ring(500.0, n=0))
    make_card(validity={}).check_hits(ring(1e9))


def test_too_many_hits_states_both_numbers() -> None:
    make_card().check_hits(ring(500.0, n=400))
    with pytest.raises(EventError, match=r"the event has 401 hits; .* at most 400"):
        make_card().check_hits(ring(500.0, n=401))


def test_few_hits_are_no_error() -> None:
    make_card(validity={"n_hits": [100, 400], "r": [0, 1100]}).check_hits(ring(500.0, n=1))


def test_hits_outside_name_row_and_value() -> None:
    event = Hits(hit_id=[0, 1, 2], x=[100.0, 200.0, 1500.0], y=[0.0] * 3, z=[0.0, 0.0, 0.0])
    with pytest.raises(EventError, match=r"1 of 3 hits have r outside \[0, 1100\].* at row 2: r = 1500"):
        make_card().check_hits(event)
    with pytest.raises(EventError, match=r"have z outside"):
        make_card().check_hits(ring(500.0, z=-3500.0))


@pytest.mark.parametrize("low", [0.0, 30.0])
@pytest.mark.parametrize(("factor", "unit"), [(1e-3, "metres"), (0.1, "centimetres"), (1e3, "micrometres")])
def test_another_unit_of_length_is_recognised(low: float, factor: float, unit: str) -> None:
    card = make_card(validity={"r": [low, 1100.0], "z": [-3000.0, 3000.0]})
    card.check_hits(ring(1000.0, z=2500.0))
    with pytest.raises(EventError, match=f"look like {unit}, not mm: multiply"):
        card.check_hits(ring(1000.0 * factor, z=2500.0 * factor))


def test_a_short_event_near_the_beam_is_not_taken_for_another_unit() -> None:
    make_card().check_hits(ring(32.0, n=5))


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("cm", 0.1), ("m", 1e-3), ("redvid", 1.0)])
def test_features_come_in_the_cards_unit(unit: str, factor: float) -> None:
    card = make_card(
        features=["r", "phi", "z"],
        units={"r": unit, "phi": "rad", "z": unit},
        coordinate_system="cylindrical",
    )
    event = Hits(hit_id=[0], x=[0.0], y=[50.0], z=[20.0])
    np.testing.assert_allclose(
        card.hit_features(event), [[50.0 * factor, np.pi / 2, 20.0 * factor]], rtol=1e-6
    )
