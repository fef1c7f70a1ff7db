"""The bridge to ACTS: this package's track finding inside an ACTS sequence (extra ``[acts]``; see docs/acts.md).

:mod:`~mltrack_plugin.acts.track_finding` holds the algorithm for an ACTS Sequencer,
:mod:`~mltrack_plugin.acts.sequence` the helpers that add it together with the fit or as seeding,
in the manner of ``addSeeding`` and ``addCKFTracks``.

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
