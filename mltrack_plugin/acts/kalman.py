"""The Kalman fit of ACTS for track candidates of the GenericDetector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.acts.fitted_tracks import read_fitted_tracks
from mltrack_plugin.acts.fitting import kalman_fit, start_parameters
from mltrack_plugin.acts.measurements import (
    MEASUREMENTS,
    SUBSET,
    Measurements,
    proto_track_container,
    put_measurements,
)
from mltrack_plugin.acts.whiteboard import ActsEvent
from mltrack_plugin.detectors.acts_geometry import (
    PITCH,
    constant_field,
    module_table,
    require_acts,
    tracking_geometry,
)
from mltrack_plugin.event_data import ProtoTracks, Tracks

Array = npt.NDArray[Any]

_PROTO_TRACKS, _WITH_SEEDS, _SEEDS = "proto_tracks", "seeded_proto_tracks", "proto_track_seeds"
_WITH_PARAMETERS, _PARAMETERS, _TRACKS = "estimated_proto_tracks", "estimatedparameters", "kf_tracks"


class KalmanFitter:
    """ACTS's ``TrackFittingAlgorithm`` with its Kalman fitter, behind estimated start parameters.

    The start parameters come from three space points spread over the candidate (``ProtoTracksToSeeds`` and
    ``TrackParamsEstimationAlgorithm``). No hit is rejected (chi2 cut infinite): the hits of a candidate are given.
    The reference is the perigee with respect to the origin.

    Args:
        field_z: solenoid field along z, T.
        multiple_scattering: account for scattering in the detector's material.
        energy_loss: account for energy loss in the detector's material, of pions.

    Raises:
        ConfigurationError: if the field is 0.
        MissingExtraError: without pyacts.
    """

    def __init__(self, field_z: float, *, multiple_scattering: bool = True, energy_loss: bool = True) -> None:
        field, (acts, examples), geometry = constant_field(field_z), require_acts(), tracking_geometry()
        module_table()  # made now, not at the cost of the first event
        # Candidates that cannot be fitted are counted, not logged one by one.
        quiet = acts.logging.FATAL
        self._steps = [
            examples.SpacePointMaker(
                level=quiet,
                inputMeasurements=SUBSET,
                outputSpacePoints="spacepoints",
                trackingGeometry=geometry,
                geometrySelection=[acts.GeometryIdentifier(volume=volume) for volume in PITCH],
            ),
            examples.ProtoTracksToSeeds(
                level=quiet,
                inputProtoTracks=_PROTO_TRACKS,
                inputSpacePoints="spacepoints",
                outputSeeds=_SEEDS,
                outputProtoTracks=_WITH_SEEDS,
            ),
            start_parameters(
                quiet,
                geometry,
                field,
                "spread",
                inputSeeds=_SEEDS,
                inputProtoTracks=_WITH_SEEDS,
                outputProtoTracks=_WITH_PARAMETERS,
                outputTrackParameters=_PARAMETERS,
            ),
            kalman_fit(
                quiet,
                geometry,
                field,
                multiple_scattering=multiple_scattering,
                energy_loss=energy_loss,
                inputMeasurements=MEASUREMENTS,
                inputProtoTracks=_WITH_PARAMETERS,
                inputInitialTrackParameters=_PARAMETERS,
                outputTracks=_TRACKS,
            ),
        ]

    def fit(self, measurements: Measurements, candidates: ProtoTracks) -> Tracks:
        """Fit every candidate.

        Returns:
            The candidates, in their order and with their hits and memberships; NaN parameters (and ndf 0) where ACTS
            gave no fit.

        Raises:
            EventDataError: if the candidates are of another event.
            EventError: if ACTS fails altogether.
        """
        event = ActsEvent()
        put_measurements(event, measurements)
        _, examples = require_acts()
        event.write(
            examples.ProtoTrackContainer, _PROTO_TRACKS, proto_track_container(measurements, candidates)
        )
        for step in self._steps:
            event.run(step)
        # Candidates share no hits, so fitted tracks cannot either.
        fitted = read_fitted_tracks(event, _TRACKS, measurements.hit_rows).tracks
        return _onto(candidates, fitted, len(measurements))


def _onto(candidates: ProtoTracks, fitted: Tracks, n_hits: int) -> Tracks:
    """The candidates with the columns of their fits; a fit belongs to the candidate that has its hits."""
    n = len(candidates)
    rows = candidates.labels(n_hits)[fitted.hit_indices[fitted.offsets[:-1]]]
    columns: dict[str, Array] = {
        name: np.full(n, np.nan) for name in ("d0", "z0", "phi", "theta", "qop", "chi2")
    }
    columns |= {"covariance": np.full((n, 5, 5), np.nan), "ndf": np.zeros(n, dtype=np.int32)}
    found = fitted.fitted
    for name, values in columns.items():
        values[rows[found]] = getattr(fitted, name)[found]
    return Tracks.from_candidates(candidates).with_columns(**columns)
