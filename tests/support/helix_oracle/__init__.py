"""The least-squares helix fit that the Kalman fit is compared with: the same model, but for energy loss."""

from helix_oracle.helix_fit import fit_helices
from helix_oracle.hit_model import HitResolution

__all__ = ["HitResolution", "fit_helices"]
