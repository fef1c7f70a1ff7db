"""The recurrent hit predictors: published sizes, their frame of straight lines, covariances, scripting."""

import math

import numpy as np
import pytest
import torch

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.gaussian_hit_predictor import (
    GaussianHitPredictor,
    GaussianHitPredictorConfig,
    gaussian_nll,
)
from mltrack_plugin.models.hit_predictor import (
    GENERIC_RADII,
    HitPredictor,
    HitPredictorConfig,
    StraightLine,
    wrap,
)

PREDICTORS = ("hit-predictor", "gaussian-hit-predictor")


def network(architecture, seed=1):
    torch.manual_seed(seed)
    return build_network(architecture, {}).eval()


@pytest.mark.parametrize(("architecture", "parameters"), [(PREDICTORS[0], 4802), (PREDICTORS[1], 4901)])
def test_published_sizes(architecture, parameters):
    predictor = network(architecture)
    assert sum(p.numel() for p in predictor.parameters()) == parameters
    assert (predictor.lstm.input_size, predictor.lstm.hidden_size, predictor.lstm.num_layers) == (3, 32, 1)
    assert predictor.fc.in_features == 32


def straight_tracks(n=6, sign=1.0):
    """Tracks that are lines in r from the origin; some of them cross the seam of the azimuth."""
    r = torch.tensor(GENERIC_RADII).expand(n, -1)
    phi0 = torch.linspace(-math.pi, math.pi, n)[:, None]
    slope = torch.linspace(-0.8, 0.8, n)[:, None]
    return torch.stack([r, wrap(phi0 + sign * 2e-4 * r), slope * r], 2)


def test_straight_tracks_have_no_deviation_and_their_line_meets_the_next_hit():
    hits = straight_tracks()
    deviations, ahead = StraightLine(HitPredictorConfig())(hits[:, :-1])
    assert deviations[:, :, 0].abs().max() == 0
    assert deviations[:, 2:, 1].abs().max() < 1e-6
    assert deviations[:, 1:, 2].abs().max() < 1e-3
    assert wrap(ahead[:, 1:, 0] - hits[:, 2:, 1]).abs().max() < 1e-5
    assert (ahead[:, :, 1] - hits[:, 1:, 2]).abs().max() < 1e-3


def test_a_kink_is_the_deviation_from_the_line_before_it():
    hits = straight_tracks()
    hits[:, 5, 2] += 0.7
    hits[:, 5, 0] += 2.0
    scale = torch.tensor([[2.0, 1.0, 0.5]] * 9)
    deviations, _ = StraightLine(HitPredictorConfig(input_scale=scale.tolist()))(hits[:, :-1])
    slope = torch.linspace(-0.8, 0.8, 6)
    # In units of the scales; at its own radius the line has gone 2 mm further.
    torch.testing.assert_close(deviations[:, 5, 0], torch.full((6,), 1.0))
    torch.testing.assert_close(deviations[:, 5, 2], (0.7 - 2.0 * slope) / 0.5, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("architecture", PREDICTORS)
def test_turning_a_track_turns_its_prediction(architecture):
    predictor = network(architecture)
    hits = predictor.example_inputs(3)[0]
    turned = hits.clone()
    turned[..., 1] = wrap(hits[..., 1] + 2.5)
    before, after = predictor(hits), predictor(turned)
    assert wrap(after[..., 0] - before[..., 0] - 2.5).abs().max() < 1e-5
    torch.testing.assert_close(after[..., 1:], before[..., 1:], atol=1e-2, rtol=1e-4)
    assert (before[..., 0].abs() <= math.pi + 1e-6).all()


@pytest.mark.parametrize("architecture", PREDICTORS)
def test_later_hits_do_not_change_a_prediction_and_neither_do_other_tracks(architecture):
    predictor = network(architecture)
    hits = predictor.example_inputs(4)[0]
    whole = predictor(hits)
    torch.testing.assert_close(predictor(hits[:, :4]), whole[:, :4], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(predictor(hits[1:2]), whole[1:2], atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("architecture", PREDICTORS)
def test_scripted_network_gives_the_same(architecture):
    predictor = network(architecture)
    scripted = torch.jit.script(predictor)
    inputs = predictor.example_inputs(5)
    torch.testing.assert_close(scripted(*inputs), predictor(*inputs))


def test_covariances_are_positive_definite_whatever_the_weights():
    predictor = network("gaussian-hit-predictor")
    with torch.no_grad():
        for scale in (1.0, 1e2, 1e4):
            predictor.fc.weight.normal_(0.0, scale)
            found = predictor(predictor.example_inputs(6)[0]).double()
            assert torch.isfinite(found).all()
            assert (found[..., 2] > 0).all()
            assert (found[..., 4] > 0).all()
            determinant = found[..., 2] * found[..., 4] - found[..., 3] ** 2
            assert (determinant > 0).all()


def test_likelihood_is_that_of_a_gaussian():
    rng = np.random.default_rng(7)
    mean, point = rng.normal(size=(2, 20, 2))
    sigma, rho = rng.uniform(0.3, 3.0, (20, 2)), rng.uniform(-0.95, 0.95, 20)
    gaussian = np.column_stack([mean, 2.0 * np.log(sigma), rho])
    found = gaussian_nll(torch.from_numpy(gaussian), torch.from_numpy(point)).numpy()
    for i in range(20):
        off = rho[i] * sigma[i, 0] * sigma[i, 1]
        covariance = np.array([[sigma[i, 0] ** 2, off], [off, sigma[i, 1] ** 2]])
        step = point[i] - mean[i]
        expected = 0.5 * (step @ np.linalg.inv(covariance) @ step + np.log(np.linalg.det(covariance)))
        assert found[i] == pytest.approx(expected, rel=1e-9)


def test_constants_carry_the_units_to_the_output():
    """With all weights 0 the prediction is the line, with the output scales as standard deviations."""
    scales = [(1e-3 * (k + 1), 0.1 * (k + 1)) for k in range(9)]
    predictor = GaussianHitPredictor(GaussianHitPredictorConfig(output_scale=scales))
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.zero_()
    hits = straight_tracks()
    found = predictor(hits[:, :-1])
    torch.testing.assert_close(found[0, :, 2].sqrt(), torch.tensor([s[0] for s in scales]))
    torch.testing.assert_close(found[0, :, 4].sqrt(), torch.tensor([s[1] for s in scales]))
    assert found[..., 3].abs().max() == 0
    assert (found[:, 1:, 1] - hits[:, 2:, 2]).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radii": [32.0, 30.0]}, "rising"),
        ({"radii": [32.0, 72.0, 116.0]}, "input_scale needs 2 rows for 3 radii"),
        ({"hiden": 32}, "'hidden'"),
    ],
)
def test_wrong_constants_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        build_network("hit-predictor", settings)


def test_mean_only_predictor_shares_the_frame():
    predictor = HitPredictor(HitPredictorConfig())
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.zero_()
    hits = straight_tracks(sign=-1.0)
    found = predictor(hits[:, :-1])
    assert found.shape == (6, 9, 2)
    assert wrap(found[:, 1:, 0] - hits[:, 2:, 1]).abs().max() < 1e-5
