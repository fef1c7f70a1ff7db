"""Clustering of per-hit parameters: pure array kernels, one backend a file."""

from mltrack_plugin.clustering.hdbscan import cluster_hdbscan

__all__ = ["cluster_hdbscan"]
