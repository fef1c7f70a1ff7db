"""The recurrent networks' published figures beside those of the shipped weights, on a few events."""

import pytest

pytest.importorskip("acts")

from mltrack_plugin.published.heptrkx.benchmark import sequences
from mltrack_plugin.simulation.datasets import make_dataset

SMALL = {"particles": 100, "sources": 1, "tracks": (40, 40)}


@pytest.fixture(autouse=True)
def small_bank(monkeypatch):
    """Every sample is drawn from a small bank."""

    def small(dataset, settings, seed, events):
        made = make_dataset(dataset, {**SMALL, **settings})
        return list(made.events(events, seed, "test"))

    monkeypatch.setattr(sequences, "unseen_events", small)


def by_name(rows):
    return {(row.system, row.quantity): row for row in rows}


def test_predictors_have_the_published_sizes_and_millimetre_residuals():
    found = by_name(sequences.predictor_rows(2, 8))
    for system, parameters in (("lstm-hit-predictor", 4802), ("gaussian-hit-predictor", 4901)):
        row = found[system, "parameters"]
        assert row.ours == parameters == int(row.published)
        for what, largest in (("pixels", 0.5), ("short strips", 2.0), ("long strips", 4.5)):
            assert 0.02 < found[system, f"residual r dphi [mm], {what}"].ours < 1.0
            assert 0.1 < found[system, f"residual dz [mm], {what}"].ours < largest


def test_pulls_of_the_gaussian_predictor_are_unit_gaussians():
    found = by_name(sequences.predictor_rows(2, 8))
    for label in ("phi", "z"):
        mean, width = (
            found["gaussian-hit-predictor", f"pull of {label}, {what}"] for what in ("mean", "width")
        )
        # 320 tracks: the statistical error of both is about 2%.
        assert abs(mean.ours) < 0.1 + 2 * mean.uncertainty
        assert abs(width.ours - 1.0) < 0.1 + 2 * width.uncertainty


def test_builder_finds_barrel_tracks_as_well_as_the_ckf(monkeypatch):
    monkeypatch.setattr(sequences, "BUILDER_SAMPLES", (("heptrkx-tracks", {}, 4, "small"),))
    found = by_name(sequences.builder_rows(2, 4))
    assert found["rnn-track-builder", "efficiency"].ours >= found["acts-ckf", "efficiency"].ours - 0.01
    assert found["rnn-track-builder", "efficiency"].ours > 0.98
    assert found["rnn-track-builder", "fake rate"].ours < 0.01
    assert {row.dataset for row in found.values()} == {"small"}


def test_slots_at_low_multiplicity(monkeypatch):
    monkeypatch.setattr(sequences, "FEW_TRACKS", ((5, 6),))
    found = by_name(sequences.slot_rows(2, 15))
    assert found["gru-assignment", "hits in the right slot"].ours > 0.85
    assert 0 < found["gru-assignment", "hits in the right slot"].uncertainty < 0.05
    assert found["gru-assignment", "efficiency"].ours > 0.85
    assert found["gru-assignment", "hits in the right slot"].dataset == "heptrkx-tracks, 5-6 tracks"
