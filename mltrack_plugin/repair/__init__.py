"""Track following: tracks from seeds, repair of groups of hits, and the fit, by one Kalman filter.

``state`` (Kalman filter on a helix), ``smoother`` (fit of one track), ``layers`` (grids of hits), ``follow`` (find the
hits of a track), ``complete`` (fit, drop, complete), ``core`` (the consistent part of a group), ``event`` (all groups
of an event) and ``leftover`` (tracks from pairs of hits) are kernels compiled by numba; ``inputs`` checks what they
start from. ``groups``, ``seeds`` and ``fit`` are what algorithms call.
"""
