"""Helix geometry in a solenoid field, perigee parameters, and the quality of fitted tracks: kernels on plain arrays."""

from mltrack_plugin.helix.helix import GEV_PER_TESLA_MM, helix_positions
from mltrack_plugin.helix.quality import hit_compatibility, track_quality

__all__ = ["GEV_PER_TESLA_MM", "helix_positions", "hit_compatibility", "track_quality"]
