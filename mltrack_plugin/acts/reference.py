"""The reference as a job: what ``mltrack reference`` runs in the place of a shipped job configuration."""

from __future__ import annotations

from typing import Any

from mltrack_plugin.jobs.config import JobConfig, Step


def ckf_job(
    settings: str = "tuned",
    field_z: float | None = None,
    resolution: float = 1.0,
    min_pt: float | None = None,
) -> JobConfig:
    """A job that finds tracks with the CKF of ACTS.

    Args:
        settings: "tuned" or "standard".
        field_z: solenoid field along z, T; ``None`` = that of the detector.
        resolution: standard deviation of the hits in units of the pitch / sqrt(12).
        min_pt: smallest transverse momentum of seeds and tracks, GeV, instead of that of the settings.

    Raises:
        ConfigurationError: when its algorithms are made, if a setting is wrong.
    """
    step: dict[str, Any] = {"settings": settings, "field_z": field_z, "resolution": resolution}
    if min_pt is not None:
        step["changes"] = {"min_pt": min_pt}
    return JobConfig(
        name=f"acts-ckf-{settings}",
        description=f"Triplet seeding, CKF and ambiguity resolution of ACTS, {settings} settings.",
        detector="generic",
        sequence=(Step(name="acts-ckf", settings=step),),
    )
