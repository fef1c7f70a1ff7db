"""Clustering of per-hit parameters: pure array kernels.

- `hdbscan`: by the ``hdbscan`` package or on the graph of nearest neighbours (`knn_hdbscan`, `nearest`).
- `quantile_bins`: classes of track parameters; `class_groups`: groups of hits by class.
- `pointers`: tracks that grow by pointing to their next hit.
"""

from mltrack_plugin.clustering.hdbscan import cluster_hdbscan

__all__ = ["cluster_hdbscan"]
