"""Settings of the search for hits of a track, and of tracks from seeds."""

from __future__ import annotations

from pydantic import Field

from mltrack_plugin.settings import Config


class SearchSettings(Config):
    """Which hits belong to a track that is followed through the layers."""

    attach_chi2: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    """Chi2 (two degrees of freedom) up to which a hit is attached to a track."""
    drop_chi2: float = Field(default=80.0, gt=0, allow_inf_nan=False)
    """Chi2 above which a hit is an outlier and dropped from its track."""
    odds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Odds that a track has a hit on a layer that it crosses; larger = hits are attached more freely."""
    max_holes: int = Field(default=3, ge=0)
    """Holes (layers without a hit) after which a track is not followed any further."""


class SeedPass(Config):
    """One pass over the free hits: how seeds are chosen and which tracks are accepted."""

    significance: float = Field(default=3.0, allow_inf_nan=False)
    """-log of the number of tracks that may come about by chance in an event. Larger = clearer tracks only. The number
    of hits that this takes depends on how dense the event is where the track passes.
    """
    min_hits: int = Field(default=5, ge=3)
    """Tracks with fewer hits are not accepted."""
    max_holes: int = Field(default=3, ge=0)
    """Holes (layers without a hit) after which a seed is not followed any further."""
    max_chi2: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Largest chi2 per degree of freedom."""
    direction: float = Field(default=0.15, gt=0, le=1)
    """Largest angle between a pair of hits and the direction from the beam axis, radian; 0.15 x field (T) x radius (m)
    of the pair's second hit / smallest transverse momentum (GeV).
    """
    vertex: float = Field(default=225.0, gt=0, allow_inf_nan=False)
    """Largest distance of the vertex from the centre along the beam axis, mm."""
    radius: float = Field(default=200.0, gt=0, allow_inf_nan=False)
    """Distance from the beam axis up to which a seed may begin, mm."""
    max_partners: int = Field(default=1000, ge=1)
    """Hits that have more possible partners start no track: where the event is too dense for such wide windows."""
    enough_partners: int = Field(default=1000, ge=1)
    """A hit that has as many possible partners on the next layer with hits is not paired with hits of the one after
    it.
    """
    thickness: float | None = Field(default=None, ge=0, lt=1)
    """Material of a detector layer at normal incidence, radiation lengths; ``None`` = the algorithm's."""


class FollowSettings(SearchSettings):
    """How tracks are found from seeds."""

    passes: tuple[SeedPass, ...] = Field(
        default=(
            SeedPass(significance=10.0, max_holes=1, direction=0.05),
            SeedPass(significance=0.0, max_holes=1),
        ),
        min_length=1,
    )
    """The passes. By default clear tracks of more than 0.4 GeV (in 2 T) first, then all others."""
