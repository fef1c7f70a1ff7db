"""Graphs of hits.

Where to look: :mod:`~mltrack_plugin.published.heptrkx.graphs.layers` (logical layers of the detector),
:mod:`~mltrack_plugin.published.heptrkx.graphs.construct` (segments between adjacent layers).
"""
