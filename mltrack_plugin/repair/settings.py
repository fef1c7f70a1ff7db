"""Settings of the repair of groups of hits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from mltrack_plugin.following.settings import SearchSettings, SeedPass


class RepairSettings(SearchSettings):
    """How groups of hits become tracks."""

    renamed: ClassVar[Mapping[str, str]] = {"loyalty": "own_group_chi2", "loose": "scattering_factor"}

    min_hits: int = Field(default=4, ge=3)
    """Tracks with fewer hits are dropped."""
    max_chi2: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Chi2 per degree of freedom above which a track is dropped."""
    significance: float | None = Field(default=None, allow_inf_nan=False)
    """-log of the number of tracks that may come from groups by chance in an event, as in follow-seeds;
    ``None`` = no such requirement.
    """
    own_group_chi2: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    """Chi2 by which a hit of the track's own group is preferred."""
    seeds: SeedPass | None = SeedPass()
    """How tracks from the beam axis are built from hits left over; ``None`` = they are not."""
    scattering_factor: float = Field(default=3.0, ge=1, le=10)
    """A group that no helix describes stays as it is if it is one track with so many times the scattering;
    1 = it is dropped.
    """
