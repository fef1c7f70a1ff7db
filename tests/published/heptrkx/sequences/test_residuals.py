"""Residuals and pulls of predicted hits."""

import numpy as np
import pytest
from barrel_events import SIGMA, event, lines, straight_line

from mltrack_plugin.errors import OutputError
from mltrack_plugin.published.heptrkx.sequences.barrel import N_LAYERS, particle_sequences
from mltrack_plugin.published.heptrkx.sequences.residuals import (
    directed,
    per_layer,
    predict_residuals,
    spread,
)


def scattered(n=3000):
    """Straight tracks whose hits scatter around the line's continuation as the predictor claims."""
    sequences = particle_sequences(*event(lines(n)))
    noise = np.random.default_rng(5).normal(0.0, SIGMA, (n, N_LAYERS - 1, 2))

    def predict(hits):
        gaussians = straight_line(hits)
        gaussians[..., :2] += noise[: len(hits)]
        return gaussians

    return sequences, predict


def test_pulls_of_a_true_covariance_have_mean_0_and_width_1():
    sequences, predict = scattered()
    residuals = predict_residuals(sequences, predict)
    found = directed(residuals)
    assert found["pull_phi"].n == 3000 * (N_LAYERS - 2)
    for name in ("pull_phi", "pull_z"):
        assert abs(found[name].mean) < 4 * found[name].mean_error
        assert abs(found[name].rms - 1.0) < 4 * found[name].rms_error
        assert found[name].core == pytest.approx(1.0, abs=0.03)
        assert found[name].rms_error == pytest.approx(1 / np.sqrt(2 * found[name].n), rel=0.1)
    layers = per_layer(residuals)
    assert len(layers) == N_LAYERS - 1
    # 1 mrad at 72 mm and at 1020 mm.
    assert layers[1]["rphi"].rms == pytest.approx(0.116, rel=0.06)
    assert layers[8]["rphi"].rms == pytest.approx(1.020, rel=0.06)
    assert layers[4]["z"].rms == pytest.approx(SIGMA[1], rel=0.06)


def test_a_wrong_covariance_shows_in_the_width():
    sequences, predict = scattered()

    def too_sure(hits):
        gaussians = predict(hits)
        gaussians[..., 2:] /= 4.0
        return gaussians

    assert directed(predict_residuals(sequences, too_sure))["pull_z"].rms == pytest.approx(2.0, rel=0.05)


def test_missing_hits_and_missing_covariance():
    present = np.ones((4, N_LAYERS), dtype=bool)
    present[:, 6:] = False
    sequences = particle_sequences(*event(lines(4), present))
    residuals = predict_residuals(sequences, lambda hits: straight_line(hits)[..., :2])
    assert residuals.columns().keys() == {"rphi", "z"}
    assert np.isnan(residuals.z[:, 5:]).all()
    assert np.isfinite(residuals.z[:, :5]).all()
    assert [row["z"].n for row in per_layer(residuals)] == [4] * 5 + [0] * 4


def test_spread_of_known_numbers():
    found = spread(np.array([1.0, -1.0, 1.0, -1.0, np.nan]))
    assert found[:5] == (4, 0.0, 0.5, 1.0, 0.0)
    assert np.isnan(spread(np.array([3.0])).rms)


def test_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    from mltrack_plugin.published.heptrkx.sequences.picture import draw_example, draw_residuals

    sequences, predict = scattered(300)
    residuals = predict_residuals(sequences, predict)
    path = draw_residuals(residuals, tmp_path / "pulls.png", "barrel tracks")
    example = draw_example(sequences, predict(sequences.hits[:, :-1]), 7, tmp_path / "track.svg")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in example.read_bytes()
    without = predict_residuals(sequences, lambda hits: predict(hits)[..., :2])
    assert draw_residuals(without, tmp_path / "residuals.png").stat().st_size < path.stat().st_size
    with pytest.raises(OutputError, match="no picture format"):
        draw_residuals(residuals, tmp_path / "pulls.txt")
