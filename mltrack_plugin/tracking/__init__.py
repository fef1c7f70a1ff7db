"""Track kernels on plain arrays: helix geometry, the helix fit, qualities."""

from mltrack_plugin.tracking.helix import GEV_PER_TESLA_MM, helix_positions
from mltrack_plugin.tracking.helix_fit import HelixFit, fit_helices
from mltrack_plugin.tracking.hit_model import HitResolution
from mltrack_plugin.tracking.quality import hit_compatibility, track_quality

__all__ = [
    "GEV_PER_TESLA_MM",
    "HelixFit",
    "HitResolution",
    "fit_helices",
    "helix_positions",
    "hit_compatibility",
    "track_quality",
]
