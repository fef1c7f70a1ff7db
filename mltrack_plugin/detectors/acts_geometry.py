"""The GenericDetector of the ACTS examples: tracking geometry, field, and the planes of its modules as arrays."""

from __future__ import annotations

import dataclasses
import functools
import math
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import ConfigurationError, require_extra
from mltrack_plugin.simulation.acts_chain import generic_detector
from mltrack_plugin.simulation.full_event import modules

Array = npt.NDArray[Any]

#: What a missing extra is needed for, in its message.
PURPOSE = "reconstruction with ACTS"
#: Name of the detector in files of this package.
DETECTOR = "generic"


@functools.cache
def require_acts() -> tuple[ModuleType, ModuleType]:
    """The modules ``acts`` and ``acts.examples``.

    Raises:
        MissingExtraError: with the install line.
    """
    return require_extra("acts", "acts", PURPOSE), require_extra("acts.examples", "acts", PURPOSE)


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


def check_detector(detector: str | None) -> None:
    """Refuse events that state another detector.

    Args:
        detector: what the input states; ``None`` = nothing, and the hits will tell whether they fit.

    Raises:
        ConfigurationError: naming both.
    """
    if detector not in (None, DETECTOR):
        raise ConfigurationError(
            f"the events are of the detector {detector!r}; the geometry at hand is the GenericDetector of ACTS "
            f"({DETECTOR!r}), as simulated by: mltrack simulate acts-gun"
        )


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
