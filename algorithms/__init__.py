"""Reconstruction algorithms, one a file: thin shells around the kernels of mltrack_plugin."""
