"""Matching and metrics: one definition each, collected in docs/metrics.md.

- `matching`: which particle each track belongs to.
- `scores`: TrackML score and FitAccuracy; `trackml_weights`: the hit weights of the challenge.
- `efficiency`: perfect match, LHC-style, double majority, efficiency, fake and duplicate rate, purity, completeness;
  `definitions`: the rates as ACTS, hepattn, gnn_tracking and HEPTv2 define them.
- `intervals`: binomial intervals and the bootstrap over events; `calibration`: whether probabilities are what they
  say.
- `summary`: `ScoreAccumulator`, which adds all of them up; `collect`: as the end of a sequence.
- `figures`: what figures share; `plots`, `event_display`: figures (extra ``[plot]``).
- `comparison`: two collections of tracks side by side.
"""

from mltrack_plugin.evaluation.matching import Matching, match_tracks
from mltrack_plugin.evaluation.summary import ScoreAccumulator

__all__ = ["Matching", "ScoreAccumulator", "match_tracks"]
