"""Tracks from seeds, followed through the layers by the filter of :mod:`mltrack_plugin.kalman`.

- :mod:`~mltrack_plugin.following.settings`: settings of the search for hits, of a pass of seeds, of follow-seeds
- :mod:`~mltrack_plugin.following.search`: the same for kernels, their memory, the density of random hits
- :mod:`~mltrack_plugin.following.follow`: the hits on a track: best hit of a layer, both ends, holes
- :mod:`~mltrack_plugin.following.complete`: fit without outliers, completion, significance of a track
- :mod:`~mltrack_plugin.following.pair_seeds`: tracks from pairs of hits that point to the beam axis
- :mod:`~mltrack_plugin.following.passes`: passes over the free hits of an event

Python calls :func:`~mltrack_plugin.following.passes.follow_seeds`.
"""
