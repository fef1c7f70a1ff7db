"""The steps of ACTS between proto tracks and fitted tracks, configured for candidates that are taken as they are."""

from __future__ import annotations

from typing import Any

from mltrack_plugin.detectors.acts_geometry import require_acts
from mltrack_plugin.errors import ConfigurationError, did_you_mean

#: Standard deviations of the start parameters of the Kalman fit: local position in mm, phi and theta in radian,
#: q/p in e/GeV; of q/pT in e/GeV, and of pT relative to pT. The start must not pull the fit, so they are wide:
#: with those of ACTS's ``ProtoTracksToParameters`` the pulls of theta and z0 are five times too wide.
START_SIGMAS = (10.0, 10.0, 0.2, 0.2, 0.0)
START_SIGMA_Q_OVER_PT, START_SIGMA_PT = 1.0, 1.0


def space_point_selection(name: str) -> Any:
    """Which three space points of a candidate its first parameters are estimated from.

    Args:
        name: "spread" over the candidate, the "innermost", or the "first" three.

    Raises:
        ConfigurationError: for any other name.
    """
    _, examples = require_acts()
    choices = {
        "spread": examples.SeedSpacePointSelection.SpreadTriplet,
        "innermost": examples.SeedSpacePointSelection.InnermostTriplet,
        "first": examples.SeedSpacePointSelection.FirstThree,
    }
    if name not in choices:
        raise ConfigurationError(f"no spacePointSelection {name!r}. {did_you_mean(name, choices)}")
    return choices[name]


def start_parameters(level: Any, geometry: Any, field: Any, selection: str, **keys: str) -> Any:
    """``TrackParamsEstimationAlgorithm`` with a start that does not pull a Kalman fit.

    Args:
        level: ACTS logging level.
        geometry: ``acts.TrackingGeometry``.
        field: ``acts.MagneticFieldProvider``.
        selection: see :func:`space_point_selection`.
        keys: names in the whiteboard, ``inputSeeds``, ``outputTrackParameters``, ...
    """
    acts, examples = require_acts()
    return examples.TrackParamsEstimationAlgorithm(
        level=level,
        spacePointSelection=space_point_selection(selection),
        trackingGeometry=geometry,
        magneticField=field,
        initialSigmas=[*START_SIGMAS, acts.UnitConstants.ns],
        initialSigmaQoverPt=START_SIGMA_Q_OVER_PT,
        initialSigmaPtRel=START_SIGMA_PT,
        initialVarInflation=[1.0] * 6,
        particleHypothesis=acts.ParticleHypothesis.pion,
        **keys,
    )


def kalman_fit(
    level: Any,
    geometry: Any,
    field: Any,
    *,
    multiple_scattering: bool = True,
    energy_loss: bool = True,
    reverse_filtering_below: float = 0.0,
    calibrator: Any = None,
    **keys: str,
) -> Any:
    """``TrackFittingAlgorithm`` with a Kalman fitter that keeps every hit of a candidate.

    No hit is rejected (chi2 cut infinite). The reference is the perigee with respect to the origin.

    Args:
        level: ACTS logging level.
        geometry: ``acts.TrackingGeometry``.
        field: ``acts.MagneticFieldProvider``.
        multiple_scattering: account for scattering in the detector's material.
        energy_loss: account for energy loss in the detector's material, of pions.
        reverse_filtering_below: GeV; below this momentum a second filter in the other direction smooths.
        calibrator: ``acts.examples.MeasurementCalibrator``; ``None`` = measurements as they are.
        keys: names in the whiteboard, ``inputMeasurements``, ``inputProtoTracks``, ``inputInitialTrackParameters``,
            ``outputTracks``, ...
    """
    acts, examples = require_acts()
    fitter = examples.makeKalmanFitterFunction(
        geometry,
        field,
        multipleScattering=multiple_scattering,
        energyLoss=energy_loss,
        reverseFilteringMomThreshold=reverse_filtering_below * acts.UnitConstants.GeV,
        reverseFilteringCovarianceScaling=100.0,
        freeToBoundCorrection=examples.FreeToBoundCorrection(False),
        chi2Cut=float("inf"),
        useJosephFormulation=False,
        level=level,
    )
    return examples.TrackFittingAlgorithm(
        level=level,
        pickTrack=-1,
        fit=fitter,
        calibrator=examples.makePassThroughCalibrator() if calibrator is None else calibrator,
        linkForward=False,
        referenceSurface=acts.Surface.createPerigee(acts.Vector3(0, 0, 0)),
        **{"inputClusters": "", **keys},
    )
