"""The GenericDetector of the ACTS examples: tracking geometry, field, and the planes of its modules as arrays."""

from __future__ import annotations

import dataclasses
import functools
import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors.detector import Detector
from mltrack_plugin.detectors.library import load_detector, names_of, same_detector
from mltrack_plugin.errors import ConfigurationError, require_extra

Array = npt.NDArray[Any]

#: What a missing extra is needed for, in its message.
PURPOSE = "reconstruction with ACTS"
#: Name of the detector in files of this package.
DETECTOR = "generic"
_VOLUMES = sorted(load_detector(DETECTOR).volumes.items())
#: Pitch along the two local axes of the modules by volume, mm.
PITCH = {number: volume.pitch for number, volume in _VOLUMES if volume.pitch is not None}
#: Volume and layers of the modules that give space points to the seeding: ``generic-seeding-config.json`` of ACTS.
SEEDING_LAYERS = {number: volume.seeding for number, volume in _VOLUMES if volume.seeding}


@functools.cache
def require_acts() -> tuple[ModuleType, ModuleType]:
    """The modules ``acts`` and ``acts.examples``.

    Raises:
        MissingExtraError: with the install line.
    """
    return require_extra("acts", "acts", PURPOSE), require_extra("acts.examples", "acts", PURPOSE)


@functools.cache
def generic_detector() -> tuple[Any, Any, Any]:
    """Detector, tracking geometry and surface map; half a second, so built once per process."""
    acts, examples = require_acts()
    config = examples.GenericDetector.Config()
    config.logLevel = acts.logging.WARNING
    detector = examples.GenericDetector(config)
    geometry = detector.trackingGeometry()
    return detector, geometry, geometry.geoIdSurfaceMap()


def tracking_geometry() -> Any:
    """The ``acts.TrackingGeometry``, built once per process (half a second).

    Raises:
        MissingExtraError: without pyacts.
    """
    require_acts()
    return generic_detector()[1]


@functools.cache
def constant_field(field_z: float) -> Any:
    """A homogeneous ``acts.ConstantBField`` along z.

    Args:
        field_z: T.

    Raises:
        ConfigurationError: if it is 0 or not finite: without a field there is no momentum to fit.
        MissingExtraError: without pyacts.
    """
    if field_z == 0 or not math.isfinite(field_z):
        raise ConfigurationError(
            f"the field along z is {field_z} T; ACTS estimates and fits momenta from the curvature in a "
            "field, so it must be a number other than 0 (2 T in the simulated data sets)"
        )
    acts, _ = require_acts()
    return acts.ConstantBField(acts.Vector3(0, 0, field_z * acts.UnitConstants.T))


def field_of(detector: str | Detector | None, field_z: float | None) -> float:
    """Solenoid field along z, T.

    Args:
        detector: of the events; ``None`` = that of this geometry.
        field_z: T; ``None`` = that of the detector.
    """
    if field_z is not None:
        return field_z
    return float(load_detector(detector or DETECTOR).field_at(np.zeros((1, 3)))[0, 2])


def check_detector(detector: str | Detector | None) -> None:
    """Refuse events that state another detector.

    Args:
        detector: what the input states; ``None`` = nothing, and the hits will tell whether they fit.

    Raises:
        ConfigurationError: naming both.
    """
    if detector is not None and not same_detector(detector, DETECTOR):
        raise ConfigurationError(
            f"the events are of the detector {names_of(detector)[0]!r}; the geometry at hand is the GenericDetector "
            f"of ACTS ({DETECTOR!r}), as simulated by: mltrack simulate acts-gun"
        )


class Modules(NamedTuple):
    """Sensitive modules of the detector; all are planes, rectangles or trapezoids.

    Attributes:
        geometry_id: (n,) uint64.
        center: (n, 3) float64, mm.
        axes: (n, 2, 3) float64, unit vectors of the local axes.
        half: (n, 3) float64, mm: half width at the lower end, at the upper end, half length.
    """

    geometry_id: Array
    center: Array
    axes: Array
    half: Array


@functools.cache
def modules() -> Modules:
    """The modules of the GenericDetector.

    Raises:
        MissingExtraError: without pyacts.
    """
    acts, _ = require_acts()
    geometry = generic_detector()[1]
    context = acts.GeometryContext.dangerouslyDefaultConstruct()
    surfaces: list[Any] = []
    geometry.visitSurfaces(surfaces.append)
    ids, points, half = [], [], []
    direction = acts.Vector3(0, 0, 1)
    for surface in surfaces:
        ids.append(surface.geometryId.value)
        local = (acts.Vector2(0, 0), acts.Vector2(1, 0), acts.Vector2(0, 1))
        points.append([list(_xyz(surface.localToGlobal(context, p, direction))) for p in local])
        bounds = list(surface.bounds.values())
        if isinstance(surface.bounds, acts.TrapezoidBounds):
            half.append(bounds[:3])
        else:
            half.append([bounds[2], bounds[2], bounds[3]])
    frame = np.array(points)
    return Modules(
        np.array(ids, dtype=np.uint64),
        frame[:, 0],
        frame[:, 1:] - frame[:, :1],
        np.array(half, dtype=np.float64),
    )


def _xyz(vector: Any) -> tuple[float, float, float]:
    return vector[0], vector[1], vector[2]


@dataclasses.dataclass(frozen=True)
class ModuleTable:
    """Planes of the sensitive modules, by ascending geometry id.

    Attributes:
        geometry_id: (n,) uint64, ascending.
        identifiers: (n,) ``acts.GeometryIdentifier``.
        center: (n, 3) float64, mm, global.
        axes: (n, 2, 3) float64, unit vectors of the local axes.
        normal: (n, 3) float64, unit vectors.
        half: (n, 2) float64, mm: largest half width along the first axis, half length along the second.
    """

    geometry_id: Array
    identifiers: tuple[Any, ...]
    center: Array
    axes: Array
    normal: Array
    half: Array

    def rows_of(self, geometry_id: Array) -> tuple[Array, Array]:
        """Rows (m,) int64 of geometry ids, and (m,) bool whether there is such a module (else the row is 0)."""
        rows = np.searchsorted(self.geometry_id, geometry_id)
        rows[rows == len(self.geometry_id)] = 0
        known = self.geometry_id[rows] == geometry_id
        return np.where(known, rows, 0), known

    def local(self, rows: Array, positions: Array) -> tuple[Array, Array]:
        """Global positions in the frames of their modules.

        Args:
            rows: (m,) rows of the table.
            positions: (m, 3), mm.

        Returns:
            (m, 2) float64 local coordinates and (m,) float64 signed heights above the plane, mm.
        """
        offset = np.asarray(positions, dtype=np.float64) - self.center[rows]
        local = np.einsum("mi,mki->mk", offset, self.axes[rows])
        return local, np.einsum("mi,mi->m", offset, self.normal[rows])

    def positions(self, rows: Array, local: Array) -> Array:
        """The inverse of :meth:`local` on the planes: (m, 3) float64, mm."""
        return np.asarray(self.center[rows] + np.einsum("mk,mki->mi", local, self.axes[rows]))


@functools.cache
def module_table() -> ModuleTable:
    """The modules of the GenericDetector, cached (a tenth of a second at first use).

    Raises:
        MissingExtraError: without pyacts.
    """
    acts, _ = require_acts()
    found = modules()
    order = np.argsort(found.geometry_id)
    axes, half = found.axes[order], found.half[order]
    ids = found.geometry_id[order]
    return ModuleTable(
        geometry_id=ids,
        identifiers=tuple(map(acts.GeometryIdentifier, ids.tolist())),
        center=found.center[order],
        axes=axes,
        normal=np.cross(axes[:, 0], axes[:, 1]),
        half=np.stack([half[:, :2].max(axis=1), half[:, 2]], axis=1),
    )
