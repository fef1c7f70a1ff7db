"""Track kernels on plain arrays: the helix fit."""

from mltrack_plugin.helix.helix_fit import HelixFit
from mltrack_plugin.tracking.helix_fit import fit_helices
from mltrack_plugin.tracking.hit_model import HitResolution

__all__ = ["HelixFit", "HitResolution", "fit_helices"]
