"""Track estimates: shapes, names, positive uncertainties."""

import numpy as np
import pytest

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import TrackEstimates


def test_columns_belong_together():
    estimates = TrackEstimates([[1.0, 2.0]], [[0.1, 0.2]], ["eta", "q"])
    assert len(estimates) == 1
    assert estimates.values.dtype == estimates.sigmas.dtype == np.float32
    assert len(TrackEstimates(np.zeros((0, 2)), np.zeros((0, 2)), ["eta", "q"])) == 0
    again = TrackEstimates.from_arrays(estimates.arrays())
    assert again.names.tolist() == ["eta", "q"]


@pytest.mark.parametrize(
    ("values", "sigmas", "names", "message"),
    [
        ([[1.0, 2.0]], [[1.0, 1.0]], ["eta"], "1 names for 2 parameter columns"),
        ([[1.0, 2.0]], [[1.0]], ["eta", "q"], "sigmas"),
        ([[np.nan]], [[1.0]], ["eta"], "finite"),
        ([[1.0]], [[np.inf]], ["eta"], "finite"),
        ([[1.0]], [[0.0]], ["eta"], "positive"),
    ],
)
def test_bad_columns_are_refused(values, sigmas, names, message):
    with pytest.raises(EventDataError, match=message):
        TrackEstimates(values, sigmas, names)
