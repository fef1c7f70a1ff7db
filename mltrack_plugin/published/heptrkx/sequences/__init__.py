"""Tracks as sequences of hits along the barrel layers.

- `barrel`: which layer a hit lies on; a particle's hits as a sequence.
- `windows`: hits within the gates of predicted Gaussians; `builder`: track candidates that grow layer by layer,
  steered by a predictor of the next hit.
- `ambiguity`: which of the candidates that share hits are kept; second hits on overlapping modules.
- `slots`: hits in their order for the assignment to track slots.
- `residuals`: residuals and pulls of predicted hits per layer; `picture`: figures (extra ``[plot]``).
"""
