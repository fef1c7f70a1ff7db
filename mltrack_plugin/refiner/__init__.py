"""Second stage of track finding by a network: from clusters of hits to refined tracks.

:mod:`~mltrack_plugin.refiner.slots` chooses the hits that the network sees of each cluster,
:mod:`~mltrack_plugin.refiner.rounds` makes tracks of its answers.
"""
