"""Groups of hits, from whatever clustering, into tracks, by the filter of :mod:`mltrack_plugin.kalman`.

- :mod:`~mltrack_plugin.repair.settings`: settings of repair-tracks
- :mod:`~mltrack_plugin.repair.core`: the largest part of a group that lies on one helix
- :mod:`~mltrack_plugin.repair.candidates`: track candidates from every group, which may share hits
- :mod:`~mltrack_plugin.repair.competition`: ambiguity resolution: who gets a hit, and the last fit
- :mod:`~mltrack_plugin.repair.groups`: all groups of an event

Python calls :func:`~mltrack_plugin.repair.groups.repair_groups`.
"""
