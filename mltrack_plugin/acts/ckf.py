"""The reference: triplet seeding, combinatorial Kalman filter and ambiguity resolution of ACTS.

The chain is that of ACTS's ``ckf_tracks.py`` for the GenericDetector, followed by the greedy ambiguity
resolution with its defaults (no shared hits). It runs in one thread, step by step, so that the CPU time of
each step is its own.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import Field, model_validator

from mltrack_plugin.acts.fitted_tracks import FittedTracks, read_fitted_tracks
from mltrack_plugin.acts.measurements import SUBSET, Measurements, put_measurements
from mltrack_plugin.acts.whiteboard import ActsEvent
from mltrack_plugin.detectors.acts_geometry import (
    SEEDING_LAYERS,
    constant_field,
    module_table,
    require_acts,
    tracking_geometry,
)
from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.settings import Config

#: Steps that make tracks of space points: what the CPU time of the reference covers.
RECONSTRUCTION_STEPS = ("seeding", "estimation", "ckf", "ambiguity resolution")

#: Keys on the whiteboard.
_SPACE_POINTS, _SEEDS, _ESTIMATED_SEEDS, _PARAMETERS = (
    "spacepoints",
    "seeds",
    "estimatedseeds",
    "estimatedparameters",
)
_CKF_TRACKS, _TRACKS = "ckf_tracks", "ambi_tracks"


class CkfSettings(Config):
    """Settings of the chain that users tune, with the values of ``ckf_tracks.py``; lengths in mm, momenta in GeV."""

    min_pt: float = Field(default=0.5, gt=0)
    """Smallest transverse momentum of seeds and of tracks, GeV."""
    max_eta: float = Field(default=3.0, gt=0)
    """Largest absolute pseudorapidity of tracks."""
    impact_max: float = Field(default=3.0, gt=0)
    """Largest transverse impact parameter of seeds, mm."""
    sigma_scattering: float = Field(default=5.0, gt=0)
    """Scattering angles that a seed may deviate by, in standard deviations."""
    radiation_length_per_seed: float = Field(default=0.1, gt=0)
    """Material of a seed, radiation lengths."""
    max_seeds_per_middle: int = Field(default=1, ge=1)
    """Seeds with the same middle space point."""
    collision_region: float = Field(default=250.0, gt=0)
    """Half length of the collision region along z, mm."""
    r_max: float = Field(default=200.0, gt=0)
    """Largest radius of space points in seeds, mm."""
    z_max: float = Field(default=2000.0, gt=0)
    """Largest |z| of space points in seeds, mm."""
    delta_r: tuple[float, float] = (1.0, 300.0)
    """Smallest and largest radial distance of neighbouring space points in a seed, mm."""
    chi2_measurement: float = Field(default=15.0, gt=0)
    """chi2 up to which the filter takes a measurement."""
    chi2_outlier: float = Field(default=25.0, gt=0)
    """chi2 up to which the filter notes a measurement as an outlier."""
    branches: int = Field(default=10, ge=1)
    """Measurements on one surface that the filter follows."""
    max_d0: float = Field(default=4.0, gt=0)
    """Largest transverse impact parameter of tracks, mm."""
    min_measurements: int = Field(default=7, ge=3)
    """Fewest measurements of a track."""
    max_holes: int = Field(default=2, ge=0)
    """Most holes of a track."""
    max_outliers: int = Field(default=2, ge=0)
    """Most outliers of a track."""
    max_shared_hits: int = Field(default=1, ge=1)
    """Hits that tracks may share after the ambiguity resolution, plus one; 1 = none."""

    @model_validator(mode="after")
    def _ordered(self) -> CkfSettings:
        if not 0 <= self.delta_r[0] < self.delta_r[1]:
            raise ValueError(f"delta_r must be two rising numbers, got {self.delta_r}")
        return self


#: "standard": as in ``ckf_tracks.py`` of ACTS. "tuned": better efficiency in the same time on events of many vertices.
PRESETS = {
    "standard": CkfSettings(),
    "tuned": CkfSettings(
        min_pt=0.45, impact_max=0.5, sigma_scattering=3.0, max_seeds_per_middle=2, collision_region=200.0
    ),
}


def preset(name: str) -> CkfSettings:
    """Settings by name.

    Raises:
        ConfigurationError: naming those that there are.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"no CKF settings {name!r}. {did_you_mean(name, PRESETS)}")
    return PRESETS[name]


@dataclasses.dataclass(frozen=True)
class CkfResult:
    """What the chain found in one event.

    Attributes:
        found: the tracks.
        cpu_s: step -> CPU time in s. The steps of RECONSTRUCTION_STEPS find tracks; "space points" prepares them.
        n_seeds: seeds whose parameters could be estimated.
        n_candidates: tracks before the ambiguity resolution.
    """

    found: FittedTracks
    cpu_s: dict[str, float]
    n_seeds: int
    n_candidates: int


class CkfChain:
    """Space points, seeds, start parameters, CKF and ambiguity resolution, set up once for many events.

    Args:
        settings: cuts.
        field_z: solenoid field along z, T.

    Raises:
        ConfigurationError: if the field is 0.
        MissingExtraError: without pyacts.
    """

    def __init__(self, settings: CkfSettings, field_z: float) -> None:
        field = constant_field(field_z)
        module_table()  # made now, not at the cost of the first event
        self.settings, self.field_z = settings, field_z
        self._steps = {
            "space points": _space_points(),
            "seeding": _seeding(settings, field_z),
            "estimation": _estimation(field),
            "ckf": _track_finding(settings, field),
            "ambiguity resolution": _ambiguity_resolution(settings),
        }

    def find(self, measurements: Measurements) -> CkfResult:
        """Find the tracks of one event.

        Raises:
            EventError: if ACTS fails.
        """
        acts, examples = require_acts()
        event = ActsEvent()
        put_measurements(event, measurements)
        cpu_s = {name: event.run(step) for name, step in self._steps.items()}
        return CkfResult(
            found=read_fitted_tracks(event, _TRACKS, measurements.hit_rows, shared="best"),
            cpu_s=cpu_s,
            n_seeds=len(event.read(acts.SeedContainer, _ESTIMATED_SEEDS)),
            n_candidates=len(event.read(examples.ConstTrackContainer, _CKF_TRACKS)),
        )


def _quiet() -> Any:
    # A seed that leads to no track is no error of the event.
    return require_acts()[0].logging.FATAL


def _space_points() -> Any:
    acts, examples = require_acts()
    layers = [(volume, layer) for volume, found in SEEDING_LAYERS.items() for layer in found]
    return examples.SpacePointMaker(
        level=_quiet(),
        inputMeasurements=SUBSET,
        outputSpacePoints=_SPACE_POINTS,
        trackingGeometry=tracking_geometry(),
        geometrySelection=[acts.GeometryIdentifier(volume=volume, layer=layer) for volume, layer in layers],
    )


def _seeding(settings: CkfSettings, field_z: float) -> Any:
    acts, examples = require_acts()
    low, high = settings.delta_r
    return examples.GridTripletSeedingAlgorithm(
        level=_quiet(),
        inputSpacePoints=_SPACE_POINTS,
        outputSeeds=_SEEDS,
        bFieldInZ=field_z * acts.UnitConstants.T,
        minPt=settings.min_pt,
        impactMax=settings.impact_max,
        deltaRMin=low,
        deltaRMax=high,
        deltaRMinTop=low,
        deltaRMaxTop=high,
        deltaRMinBottom=low,
        deltaRMaxBottom=high,
        rMax=settings.r_max,
        zMin=-settings.z_max,
        zMax=settings.z_max,
        collisionRegionMin=-settings.collision_region,
        collisionRegionMax=settings.collision_region,
        sigmaScattering=settings.sigma_scattering,
        radLengthPerSeed=settings.radiation_length_per_seed,
        maxSeedsPerSpM=settings.max_seeds_per_middle,
    )


def _estimation(field: Any) -> Any:
    acts, examples = require_acts()
    u = acts.UnitConstants
    return examples.TrackParamsEstimationAlgorithm(
        level=_quiet(),
        inputSeeds=_SEEDS,
        outputTrackParameters=_PARAMETERS,
        outputSeeds=_ESTIMATED_SEEDS,
        trackingGeometry=tracking_geometry(),
        magneticField=field,
        initialSigmas=[1 * u.mm, 1 * u.mm, 1 * u.degree, 1 * u.degree, 0.0, 1 * u.ns],
        initialSigmaQoverPt=0.1,
        initialSigmaPtRel=0.1,
        initialVarInflation=[1.0] * 6,
        particleHypothesis=acts.ParticleHypothesis.pion,
    )


def _track_finding(settings: CkfSettings, field: Any) -> Any:
    acts, examples = require_acts()
    algorithm, geometry, level = examples.TrackFindingAlgorithm, tracking_geometry(), _quiet()
    everywhere: Any = (
        acts.GeometryIdentifier(),
        ([], [settings.chi2_measurement], [settings.chi2_outlier], [settings.branches]),
    )
    selection = acts.TrackSelector.Config(
        ptMin=settings.min_pt,
        absEtaMax=settings.max_eta,
        loc0Min=-settings.max_d0,
        loc0Max=settings.max_d0,
        minMeasurements=settings.min_measurements,
        maxHoles=settings.max_holes,
        maxOutliers=settings.max_outliers,
    )
    return algorithm(
        level=level,
        measurementSelectorCfg=acts.MeasurementSelector.Config([everywhere]),
        inputMeasurements=SUBSET,
        inputInitialTrackParameters=_PARAMETERS,
        inputSeeds=_ESTIMATED_SEEDS,
        outputTracks=_CKF_TRACKS,
        findTracks=algorithm.makeTrackFinderFunction(geometry, field, level),
        findTracksBrem=algorithm.makeBremTrackFinderFunction(geometry, field, level),
        trackingGeometry=geometry,
        magneticField=field,
        trackSelectorCfg=selection,
        twoWay=True,
        reverseSearch=False,
        seedDeduplication=True,
        stayOnSeed=True,
    )


def _ambiguity_resolution(settings: CkfSettings) -> Any:
    _, examples = require_acts()
    return examples.GreedyAmbiguityResolutionAlgorithm(
        level=_quiet(),
        inputTracks=_CKF_TRACKS,
        outputTracks=_TRACKS,
        maximumSharedHits=settings.max_shared_hits,
        nMeasurementsMin=settings.min_measurements,
    )
