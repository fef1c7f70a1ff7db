"""Second stage of track finding by a network: from clusters of hits to refined tracks.

- `slots`: the hits that the network sees of each cluster; `rounds`: tracks from its answers.
- `corruption`: clusters with the faults of clusterings, to train it on.
"""
