"""An event as a mixture of tracks: parameters of all tracks and owners of all hits, found together.

- `mixture`: expectation and maximisation; `planes`: the coordinates in which a track from the origin is a point.
"""
