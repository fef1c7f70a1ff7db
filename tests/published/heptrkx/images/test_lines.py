"""Straight lines as perigee parameters."""

import numpy as np

from mltrack_plugin.published.heptrkx.images.lines import (
    azimuth_at_origin,
    azimuth_covariances,
    perigee_covariances,
    perigee_of_lines,
)


def test_perigee_is_the_point_of_the_line_nearest_to_the_origin():
    lines = np.array([[3.0, 0.5], [-2.0, -1.0], [1.0, 0.0]])
    d0, z0, phi, theta, qop = perigee_of_lines(lines).T
    x, y = -d0 * np.sin(phi), d0 * np.cos(phi)
    np.testing.assert_allclose(y, lines[:, 0] + lines[:, 1] * x, atol=1e-12)
    np.testing.assert_allclose(x * np.cos(phi) + y * np.sin(phi), 0, atol=1e-12)
    np.testing.assert_allclose(np.tan(phi), lines[:, 1])
    assert (z0 == 0).all()
    assert (qop == 0).all()
    np.testing.assert_allclose(theta, np.pi / 2)


def test_covariance_follows_random_lines():
    rng = np.random.default_rng(3)
    mean, sigma, rho = np.array([4.0, 0.6]), np.array([0.02, 0.003]), -0.7
    covariance = np.array([[sigma[0] ** 2, rho * sigma.prod()], [rho * sigma.prod(), sigma[1] ** 2]])
    drawn = perigee_of_lines(rng.multivariate_normal(mean, covariance, 50_000))
    found = perigee_covariances(np.array([[*mean, *sigma, rho]]))[0]
    sampled = np.cov(drawn.T)
    np.testing.assert_allclose(found[[0, 0, 2], [0, 2, 2]], sampled[[0, 0, 2], [0, 2, 2]], rtol=0.03)
    assert not found[[1, 3, 4]].any()


def test_azimuths_at_the_origin_follow_random_lines():
    rng = np.random.default_rng(3)
    mean, sigma, rho = np.array([0.1, -0.05]), np.array([0.02, 0.004]), -0.6
    covariance = np.array([[sigma[0] ** 2, rho * sigma.prod()], [rho * sigma.prod(), sigma[1] ** 2]])
    drawn, none = azimuth_at_origin(rng.multivariate_normal(mean, covariance, 50_000), 2.0)
    assert none is None
    azimuth, error = azimuth_at_origin(np.array([[*mean, *sigma, rho]]), 2.0)
    # 0.1 rad above azimuth -pi in the first plane, 0.1 rad further back.
    np.testing.assert_allclose(azimuth, 0.2 - np.pi)
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [azimuth[0], error[0]], rtol=0.02)
    found = azimuth_covariances(error)[0]
    assert found[2, 2] == error[0] ** 2
    assert np.isnan(found[~np.eye(5, dtype=bool)]).all()
