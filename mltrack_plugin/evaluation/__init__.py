"""Matching and metrics: pure array kernels, one definition each.

- `matching`: which particle each track belongs to.
- `scores`: TrackML score and FitAccuracy; `trackml_weights`: the hit weights of the challenge.
- `efficiency`: perfect match, LHC-style, double majority, efficiency, fake and duplicate rate, purity,
  completeness.
- `definitions`: efficiency, fake and duplicate rate as ACTS, hepattn, gnn_tracking and HEPTv2 define them.
- `intervals`: binomial intervals and the bootstrap over events.
- `summary`: `ScoreAccumulator`, which adds all of them up over events.
- `plots`, `event_display`: figures (extra ``[plot]``).

All definitions are collected in docs/metrics.md.
"""

from mltrack_plugin.evaluation.matching import Matching, match_tracks
from mltrack_plugin.evaluation.summary import ScoreAccumulator

__all__ = ["Matching", "ScoreAccumulator", "match_tracks"]
