"""Hit features: values, order, degenerate hits, unknown names."""

from __future__ import annotations

import numpy as np
import pytest

from mltrack_plugin.archives.features import FEATURE_NAMES, hit_features
from mltrack_plugin.errors import EventError, ModelError
from mltrack_plugin.event_data import Hits


def hits(x: list[float], y: list[float], z: list[float], **columns: list[float]) -> Hits:
    return Hits(hit_id=np.arange(len(x)), x=x, y=y, z=z, **columns)


def test_values_of_a_known_hit() -> None:
    names = ("z", "r", "phi", "theta", "eta", "sin_phi", "cos_phi", "time")
    found = hit_features(hits([0.0], [3.0], [4.0], time=[7.0]), names)
    theta = np.arctan2(3.0, 4.0)
    wanted = [4.0, 3.0, np.pi / 2, theta, -np.log(np.tan(theta / 2)), 1.0, 0.0, 7.0]
    np.testing.assert_allclose(found, [wanted], rtol=1e-6, atol=1e-6)


def test_columns_follow_the_names() -> None:
    event = hits([1.0, 2.0], [3.0, 4.0], [5.0, 6.0])
    found = hit_features(event, ("y", "x"))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, [[3.0, 1.0], [4.0, 2.0]])


@pytest.mark.parametrize(("z", "sign"), [(10.0, 1), (-10.0, -1), (0.0, 0)])
def test_hits_on_the_beam_axis_have_a_finite_eta(z: float, sign: int) -> None:
    eta = hit_features(hits([0.0], [0.0], [z]), ("eta",))[0, 0]
    assert np.isfinite(eta)
    assert np.sign(eta) == sign
    assert abs(eta) < 16


def test_all_features_of_an_empty_event() -> None:
    assert hit_features(hits([], [], [], time=[]), FEATURE_NAMES).shape == (0, len(FEATURE_NAMES))


def test_unknown_feature_names_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"no hit feature 'etta'. Did you mean 'eta'"):
        hit_features(hits([1.0], [1.0], [1.0]), ("etta",))


def test_missing_column_is_the_events_fault() -> None:
    with pytest.raises(EventError, match="time"):
        hit_features(hits([1.0], [1.0], [1.0]), ("time",))
