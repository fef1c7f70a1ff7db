"""Second stage of track finding: groups of hits are repaired with the physics of tracks.

``state`` (Kalman filter on a helix), ``smoother`` (fit of one track), ``layers`` (grids of hits), ``follow`` (find the
hits of a track), ``core`` (the consistent part of a group) and ``event`` (all groups of an event) are kernels compiled
by numba; ``groups`` is what algorithms call.
"""
