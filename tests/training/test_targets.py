"""Targets of known particles."""

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Particles, TruthLinks
from mltrack_plugin.training.targets import PARAMETERS, hit_targets


def particles(**changes):
    columns = {
        "particle_id": [5, 3],
        "vx": [0.0, 2.0],
        "vy": [0.0, 1.0],
        "vz": [10.0, -4.0],
        "px": [3.0, 0.0],
        "py": [4.0, 2.0],
        "pz": [5.0, -2.0],
        "q": [1.0, -1.0],
    }
    return Particles(**{k: np.asarray(v) for k, v in (columns | changes).items()})


def test_known_values():
    names = ("sin_phi", "cos_phi", "theta", "pt", "q_over_pt", "q", "d0", "z0")
    links = TruthLinks(np.array([3, 5, 0, 5], dtype=np.uint64))
    values, row = hit_targets(particles(), links, names)
    np.testing.assert_array_equal(row, [1, 0, -1, 0])
    first = [0.8, 0.6, np.pi / 4, 5.0, 0.2, 1.0, 0.0, 10.0]
    # Momentum along +y through (2, 1): nearest to the axis at (2, 0), to the right of the momentum, so d0 = -2;
    # z there is -4 - 1 * (-2 / 2) = -3.
    second = [1.0, 0.0, 3 * np.pi / 4, 2.0, -0.5, -1.0, -2.0, -3.0]
    np.testing.assert_allclose(values, [second, first, [0] * 8, first], atol=1e-6)


def test_unknown_name_is_refused():
    with pytest.raises(ConfigurationError, match=r"'thetta'.*'theta'"):
        hit_targets(particles(), TruthLinks(np.array([3], dtype=np.uint64)), ("thetta",))


def test_every_parameter_is_finite():
    links = TruthLinks(np.array([3, 5], dtype=np.uint64))
    values, _ = hit_targets(particles(), links, tuple(PARAMETERS))
    assert np.isfinite(values).all()


def test_event_of_noise_only():
    empty = {k: np.zeros(0) for k in ("vx", "vy", "vz", "px", "py", "pz", "q")}
    none = Particles(particle_id=np.zeros(0, dtype=np.uint64), **empty)
    values, row = hit_targets(none, TruthLinks(np.zeros(3, dtype=np.uint64)), ("theta",))
    np.testing.assert_array_equal(row, [-1, -1, -1])
    assert not values.any()
