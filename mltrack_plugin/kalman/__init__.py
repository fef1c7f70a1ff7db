"""The Kalman filter that following, repair and fit share: kernels on records with named fields, compiled by numba.

- :mod:`~mltrack_plugin.kalman.state`: track state, propagation with its transport Jacobian, residuals, update
- :mod:`~mltrack_plugin.kalman.material`: scattering as process noise and energy loss in a detector layer
- :mod:`~mltrack_plugin.kalman.start`: where the fit of a track starts: circle and straight line through its hits
- :mod:`~mltrack_plugin.kalman.track_fit`: filter and smoother of one track, chi2 of each hit given the others
- :mod:`~mltrack_plugin.kalman.event_fit`: all tracks of an event: parameters and covariance at the perigee
- :mod:`~mltrack_plugin.kalman.hit_grid`: hits and layers of an event, look-up of the hits near a state
- :mod:`~mltrack_plugin.kalman.navigation`: which layer a track crosses next
- :mod:`~mltrack_plugin.kalman.inputs`: what kernels start from: checked positions, resolutions, layers, modules

Python calls :func:`~mltrack_plugin.kalman.event_fit.fit_tracks`.
"""
