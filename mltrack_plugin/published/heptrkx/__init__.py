"""HEP.TrkX (Farrell et al.): recurrent, image and graph networks for tracking, on data sets like the published ones.

- `graphs`, `images`, `sequences`: hits as the three kinds of networks see them, and tracks from their answers.
- `simulation`: data sets; `training`: training tasks; `benchmark`: published figures beside ours.

Networks are in :mod:`mltrack_plugin.models`, algorithms in :mod:`mltrack_plugin.algorithms.heptrkx`.
"""
