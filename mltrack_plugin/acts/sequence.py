"""addTransformerTracks and addTransformerSeeds: Transformer track finding added to an ACTS Sequencer with one line.

In the manner of ``addSeeding`` and ``addCKFTracks`` of ``acts.examples.reconstruction``: the same order of
arguments, the same spelling, the same names in the whiteboard, so that ``addAmbiguityResolution``,
``addVertexFitting`` and performance writers follow as they would after the helpers of ACTS.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from mltrack_plugin.acts.checks import check_field, sensitive_volumes
from mltrack_plugin.acts.fitting import kalman_fit, space_point_selection, start_parameters
from mltrack_plugin.acts.space_points import acts, examples
from mltrack_plugin.acts.track_finding import TransformerTrackFinding
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.jobs.chains import Chain

#: Factors on the variances of the CKF's start. With true groupings of which 10% of the hits are lost and 5% swapped
#: (200 pions) they raise the efficiency after ambiguity resolution from 0.916 to 0.939, without fakes in either case.
_INFLATION = [10.0] * 6
#: Advice by the algorithm whose input is missing.
_ADVICE = {
    "SpacePointMaker": "add the digitisation, or a reader of measurements, before this line, or name the measurements "
    "with inputMeasurementSubset; or name existing space points with inputSpacePoints",
    "TransformerTrackFinding": "add what writes the input before this line, or name it with inputSpacePoints and "
    "inputMeasurements",
    "TrackTruthMatcher": "name the truth with inputParticles and inputMeasurementParticlesMap; for data without truth "
    "use matchTruth=False",
}


def addTransformerTracks(
    s: Any,
    trackingGeometry: Any,
    field: Any,
    chain: Chain | None = None,
    model: str | os.PathLike[str] | None = None,
    *,
    inputSpacePoints: str | None = None,
    inputMeasurements: str = "measurements",
    inputMeasurementSubset: str = "measurement_subset",
    outputTracks: str | None = None,
    detector: str | None = None,
    tracks: str | None = None,
    onEvent: Callable[[EventStore], object] | None = None,
    onError: Literal["fail", "skip"] = "fail",
    threads: int | None = 1,
    inputClusters: str = "",
    calibrator: Any = None,
    reverseFilteringMomThreshold: float = 0.0,
    multipleScattering: bool = True,
    energyLoss: bool = True,
    spacePointSelection: str = "spread",
    matchTruth: bool = True,
    inputParticles: str = "particles",
    inputMeasurementParticlesMap: str = "measurement_particles_map",
    doubleMatching: bool = True,
    outputDirCsv: Path | str | None = None,
    outputDirRoot: Path | str | None = None,
    logLevel: Any = None,
    prefix: str = "",
) -> TransformerTrackFinding:
    """Find tracks with a Transformer, fit them with the Kalman filter of ACTS, match them with the truth.

    Afterwards the whiteboard holds the fitted tracks under ``outputTracks`` and the alias ``{prefix}tracks``, the
    candidates under ``{prefix}transformer_proto_tracks``, and with ``matchTruth`` the matching under
    ``{prefix}transformer_track_particle_matching`` and ``{prefix}transformer_particle_track_matching`` (aliases
    ``track_particle_matching`` and ``particle_track_matching``).

    Args:
        s: ``acts.examples.Sequencer``.
        trackingGeometry: ``acts.TrackingGeometry`` on whose modules the measurements lie.
        field: ``acts.MagneticFieldProvider``.
        chain, model, detector, tracks, onEvent, onError, threads: what finds the tracks, see
            :class:`~mltrack_plugin.acts.track_finding.TransformerTrackFinding`.
        inputSpacePoints: key of the space points; ``None`` = make them of all measurements, one each, under
            ``{prefix}transformer_spacepoints``. (Those of ``addSeeding`` usually cover the pixels only.)
        inputMeasurements: key of the measurements that they are made of.
        inputMeasurementSubset: key of their ``MeasurementSubset``; space points are made of it.
        outputTracks: key of the fitted tracks; ``None`` = ``{prefix}transformer_tracks``.
        inputClusters: key of the clusters, for a calibrator that needs them.
        calibrator: ``acts.examples.MeasurementCalibrator``; ``None`` = measurements as they are.
        reverseFilteringMomThreshold: GeV; below it, tracks are smoothed by a second filter in the other direction.
        multipleScattering: material effects of the fit.
        energyLoss: material effects of the fit.
        spacePointSelection: of the three space points that the first parameters are estimated from: "spread" over
            the track, the "innermost", or the "first" three.
        matchTruth: needs the two keys that follow; ``False`` for data.
        inputParticles: key of ALL particles: of tracks whose particle is missing here nobody would see that they
            are fakes.
        inputMeasurementParticlesMap: key of the map from measurements to particles.
        doubleMatching: a track must also hold most of its particle's measurements; keep it equal for all
            finders that are compared.
        outputDirCsv: folder for CSV files of the tracks; ``None`` = none.
        outputDirRoot: folder for the ROOT files of ACTS (needs an ACTS with ROOT; pyacts has none).
        logLevel: ACTS logging level; ``None`` = the Sequencer's.
        prefix: of the names in the whiteboard.

    Returns:
        The algorithm that finds the tracks, with its ``times`` and ``skipped`` events.

    Raises:
        ConfigurationError: for a field without curvature, an unknown chain, an input that nothing before it writes, or
            an output that exists. The Sequencer cannot be used after the last two.
        ModelError: for an unknown model (with the nearest), a damaged one, or one of another detector.
    """
    check_field(field)
    level = examples.defaultLogging(s, logLevel)()
    own = f"{prefix}transformer"
    if inputSpacePoints is None:
        inputSpacePoints = _space_points(s, trackingGeometry, inputMeasurementSubset, own, level)
    finder = TransformerTrackFinding(
        chain,
        model=model,
        inputSpacePoints=inputSpacePoints,
        inputMeasurements=inputMeasurements,
        outputProtoTracks=f"{own}_proto_tracks",
        trackingGeometry=trackingGeometry,
        detector=detector,
        tracks=tracks,
        onEvent=onEvent,
        onError=onError,
        threads=threads,
        level=level,
    )
    _add(s, finder)
    _add(
        s,
        examples.ProtoTracksToSeeds(
            level=level,
            inputProtoTracks=f"{own}_proto_tracks",
            inputSpacePoints=inputSpacePoints,
            outputSeeds=f"{own}_seeds",
            outputProtoTracks=f"{own}_seed_proto_tracks",
        ),
    )
    start = start_parameters(
        level,
        trackingGeometry,
        field,
        spacePointSelection,
        inputSeeds=f"{own}_seeds",
        inputProtoTracks=f"{own}_seed_proto_tracks",
        outputTrackParameters=f"{own}_parameters",
        outputProtoTracks=f"{own}_fittable_proto_tracks",
    )
    _add(s, start)
    fitted = outputTracks or f"{own}_tracks"
    fit = kalman_fit(
        level,
        trackingGeometry,
        field,
        multiple_scattering=multipleScattering,
        energy_loss=energyLoss,
        reverse_filtering_below=reverseFilteringMomThreshold,
        calibrator=calibrator,
        inputMeasurements=inputMeasurements,
        inputProtoTracks=f"{own}_fittable_proto_tracks",
        inputInitialTrackParameters=f"{own}_parameters",
        inputClusters=inputClusters,
        outputTracks=fitted,
    )
    _add(s, fit)
    if fitted != f"{prefix}tracks":
        s.addWhiteboardAlias(f"{prefix}tracks", fitted)
    if matchTruth:
        _add(
            s,
            examples.TrackTruthMatcher(
                level=level,
                inputTracks=fitted,
                inputParticles=inputParticles,
                inputMeasurementParticlesMap=inputMeasurementParticlesMap,
                outputTrackParticleMatching=f"{own}_track_particle_matching",
                outputParticleTrackMatching=f"{own}_particle_track_matching",
                doubleMatching=doubleMatching,
            ),
        )
        for matching in ("track_particle_matching", "particle_track_matching"):
            s.addWhiteboardAlias(matching, f"{own}_{matching}")
    if outputDirCsv is not None or outputDirRoot is not None:
        from acts.examples.reconstruction import addTrackWriters

        addTrackWriters(
            s,
            name=own,
            tracks=fitted,
            outputDirCsv=outputDirCsv,
            outputDirRoot=outputDirRoot,
            writeFitterPerformance=matchTruth,
            writeFinderPerformance=matchTruth,
            logLevel=logLevel,
        )
    return finder


def addTransformerSeeds(
    s: Any,
    trackingGeometry: Any,
    field: Any,
    chain: Chain | None = None,
    model: str | os.PathLike[str] | None = None,
    *,
    inputSpacePoints: str | None = None,
    inputMeasurements: str = "measurements",
    inputMeasurementSubset: str = "measurement_subset",
    inputProtoTracks: str | None = None,
    detector: str | None = None,
    tracks: str | None = None,
    onEvent: Callable[[EventStore], object] | None = None,
    onError: Literal["fail", "skip"] = "fail",
    threads: int | None = 1,
    spacePointSelection: str = "spread",
    initialSigmas: list[float] | None = None,
    initialSigmaQoverPt: float | None = None,
    initialSigmaPtRel: float | None = None,
    initialVarInflation: list[float] | None = None,
    particleHypothesis: Any = None,
    logLevel: Any = None,
    prefix: str = "",
) -> TransformerTrackFinding | None:
    """Find tracks with a Transformer and hand them to the CKF as seeds: stands where ``addSeeding`` would.

    The CKF looks for the measurements of each track anew, so wrong and missing hits of a candidate are repaired;
    follow this line with ``addCKFTracks(s, trackingGeometry, field, prefix=prefix)``, without seed deduplication (a
    seed holds a whole track), and an ambiguity resolution.
    Afterwards the whiteboard holds ``{prefix}seeds``, ``{prefix}estimatedseeds`` and
    ``{prefix}estimatedparameters``, as after ``addSeeding``, and the candidates under
    ``{prefix}transformer_proto_tracks``.

    Args:
        s: ``acts.examples.Sequencer``.
        trackingGeometry: ``acts.TrackingGeometry`` on whose modules the measurements lie.
        field: ``acts.MagneticFieldProvider``.
        chain, model, detector, tracks, onEvent, onError, threads: what finds the tracks, see
            :class:`~mltrack_plugin.acts.track_finding.TransformerTrackFinding`.
        inputSpacePoints: key of the space points; ``None`` = make them of all measurements, one each, under
            ``{prefix}transformer_spacepoints``.
        inputMeasurements: key of the measurements that they are made of.
        inputMeasurementSubset: key of their ``MeasurementSubset``; space points are made of it, and the CKF
            searches it.
        inputProtoTracks: key of proto tracks that are there already, for example
            ``"transformer_proto_tracks"`` after ``addTransformerTracks``; then nothing is searched a second time.
        spacePointSelection: of the three space points that the parameters are estimated from: "spread" over the
            candidate (best), the "innermost", or the "first" three.
        initialSigmas: standard deviations of loc0, loc1 (mm), phi, theta (radian), q/p (e/GeV), time (mm);
            ``None`` = those of ACTS (1, 1, 0.017, 0.017, 0, 300).
        initialSigmaQoverPt: e/GeV, of q/pT; ``None`` = that of ACTS (0.1).
        initialSigmaPtRel: of pT, relative; ``None`` = that of ACTS (0.1).
        initialVarInflation: factors on the six variances; ``None`` = 10 each, so that the CKF can leave a start
            that wrong hits of the candidate have spoilt.
        particleHypothesis: ``acts.ParticleHypothesis``; ``None`` = pion.
        logLevel: ACTS logging level; ``None`` = the Sequencer's.
        prefix: of the names in the whiteboard.

    Returns:
        The algorithm that finds the tracks; ``None`` with ``inputProtoTracks``.

    Raises:
        ConfigurationError, ModelError: as :func:`addTransformerTracks`.
    """
    check_field(field)
    level = examples.defaultLogging(s, logLevel)()
    finder = None
    if inputSpacePoints is None:
        own = f"{prefix}transformer"
        inputSpacePoints = _space_points(s, trackingGeometry, inputMeasurementSubset, own, level)
    candidates = inputProtoTracks or f"{prefix}transformer_proto_tracks"
    if inputProtoTracks is None:
        finder = TransformerTrackFinding(
            chain,
            model=model,
            inputSpacePoints=inputSpacePoints,
            inputMeasurements=inputMeasurements,
            outputProtoTracks=candidates,
            trackingGeometry=trackingGeometry,
            detector=detector,
            tracks=tracks,
            onEvent=onEvent,
            onError=onError,
            threads=threads,
            level=level,
        )
        _add(s, finder)
    elif chain is not None or model is not None:
        raise ConfigurationError("give either inputProtoTracks, or a chain or model that finds them")
    _add(
        s,
        examples.ProtoTracksToSeeds(
            level=level,
            inputProtoTracks=candidates,
            inputSpacePoints=inputSpacePoints,
            outputSeeds=f"{prefix}seeds",
            outputProtoTracks=f"{prefix}transformer_seed_proto_tracks",
        ),
    )
    _add(
        s,
        examples.TrackParamsEstimationAlgorithm(
            level=level,
            inputSeeds=f"{prefix}seeds",
            outputTrackParameters=f"{prefix}estimatedparameters",
            outputSeeds=f"{prefix}estimatedseeds",
            trackingGeometry=trackingGeometry,
            magneticField=field,
            spacePointSelection=space_point_selection(spacePointSelection),
            **examples.defaultKWArgs(
                initialSigmas=initialSigmas,
                initialSigmaQoverPt=initialSigmaQoverPt,
                initialSigmaPtRel=initialSigmaPtRel,
                initialVarInflation=_INFLATION if initialVarInflation is None else initialVarInflation,
                particleHypothesis=particleHypothesis,
            ),
        ),
    )
    if prefix:
        # addCKFTracks looks for the measurements under the prefix, too.
        s.addWhiteboardAlias(f"{prefix}measurement_subset", inputMeasurementSubset)
    return finder


def _space_points(s: Any, geometry: Any, measurements: str, own: str, level: Any) -> str:
    """One space point per measurement, in all volumes."""
    output = f"{own}_spacepoints"
    volumes = sensitive_volumes(geometry)
    maker = examples.SpacePointMaker(
        level=level,
        inputMeasurements=measurements,
        outputSpacePoints=output,
        trackingGeometry=geometry,
        geometrySelection=[acts.GeometryIdentifier(volume=volume) for volume in volumes],
    )
    _add(s, maker)
    return output


def _add(s: Any, algorithm: Any) -> None:
    """Add an algorithm; ACTS checks there that its inputs exist and its outputs do not."""
    name = algorithm.name()
    try:
        s.addAlgorithm(algorithm)
    except RuntimeError as error:
        advice = "outputs must be new: choose another name or prefix"
        if "Missing" in str(error):
            advice = _ADVICE.get(name, "inputs must be written by what is added before")
        raise ConfigurationError(f"{name} cannot be added: {error}; {advice}") from error
