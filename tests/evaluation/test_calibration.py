"""Reliability and expected calibration error: values by hand, calibrated and overconfident predictions, bad input."""

import numpy as np
import pytest

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.evaluation.calibration import expected_calibration_error, reliability


def test_bins_hold_every_prediction_once_and_both_ends():
    result = reliability([0.0, 0.0499, 0.05, 1.0, 0.999], [0, 1, 1, 1, 0], bins=20)
    assert result.count.tolist() == [2, 1] + [0] * 17 + [2]
    np.testing.assert_allclose(result.edges, np.arange(21) / 20)
    assert result.observed[[0, 1, 19]].tolist() == [0.5, 1.0, 0.5]
    assert np.isnan(result.observed[2:19]).all()


def test_calibrated_predictions_have_no_error_and_overconfident_ones_have():
    rng = np.random.default_rng(1)
    probability = rng.uniform(size=200_000)
    outcome = rng.uniform(size=len(probability)) < probability
    assert expected_calibration_error(probability, outcome) < 0.01
    # Half of all predictions moved by 0.2 towards certainty.
    wrong = np.where(probability > 0.5, np.minimum(probability + 0.2, 1.0), probability)
    lost = 0.5 * np.minimum(0.2, 1.0 - probability[probability > 0.5]).mean()
    assert expected_calibration_error(wrong, outcome) == pytest.approx(lost, abs=0.01)


def test_certain_and_right_is_perfect_certain_and_wrong_is_not():
    assert expected_calibration_error([1.0, 0.0], [True, False]) == 0.0
    assert expected_calibration_error([1.0, 0.0], [False, True]) == 1.0
    assert np.isnan(expected_calibration_error([], []))


def test_bad_input_is_refused():
    with pytest.raises(EventDataError, match="one outcome per probability"):
        reliability([0.5, 0.5], [True])
    for bad in (1.1, -0.1, np.nan):
        with pytest.raises(EventDataError, match=r"in \[0, 1\]"):
            reliability([bad], [True])
    with pytest.raises(ValueError, match="bins"):
        reliability([0.5], [True], bins=0)
