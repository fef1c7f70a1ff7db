"""The bridge to ACTS: this package's track finding inside an ACTS sequence (extra ``[acts]``; see docs/acts.md).

- `track_finding`: the algorithm for an ACTS Sequencer; `sequence`: helpers in the manner of ``addSeeding`` and
  ``addCKFTracks``; `reference`: the CKF of ACTS as a job. These know jobs.
- `ckf`, `kalman`, `fitting`: seeding, track finding and fit of ACTS; `measurements`, `space_points`, `fitted_tracks`,
  `injection`: hits and tracks of either side as those of the other; `whiteboard`: ACTS algorithms one by one.
- `checks`: does the geometry fit the hits; `floating_point`: traps.

Imports are lazy: ``import mltrack_plugin.acts`` imports neither ACTS nor torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "TransformerTrackFinding": "track_finding",
    "addTransformerSeeds": "sequence",
    "addTransformerTracks": "sequence",
}

__all__ = [*_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
