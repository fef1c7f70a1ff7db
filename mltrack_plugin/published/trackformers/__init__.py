"""Caron et al., "Efficient ML-Assisted Particle Track Reconstruction Designs": tables 1 to 3 beside ours.

- `published`: the figures; `designs`: the job of each; `measure`: its scores and times; `rows`: both side by side.
"""
