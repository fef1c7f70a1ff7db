"""Graphs of hits.

Where to look: :mod:`~mltrack_plugin.graphs.layers` (logical layers of the detector),
:mod:`~mltrack_plugin.graphs.construct` (segments between adjacent layers).
"""
