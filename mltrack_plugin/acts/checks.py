"""Checks of what a user hands to the bridge: does the field bend, does the geometry fit the hits."""

from __future__ import annotations

from typing import Any

import numpy as np

from mltrack_plugin.detectors.acts_geometry import PITCH
from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data.base import Array

#: T: outside this range a momentum cannot be estimated, or the unit of the field was forgotten.
FIELD_RANGE = (0.1, 50.0)
#: Measurements whose position is compared with their module's.
SAMPLE = 32
#: mm between a space point and the position of its measurement on the module.
TOLERANCE = 1.0


def check_field(field: Any) -> None:
    """Refuse a field in which ACTS could not estimate a momentum.

    Args:
        field: ``acts.MagneticFieldProvider``; looked at in the origin.

    Raises:
        ConfigurationError: if it is weaker than 0.1 T, the limit of the ACTS parameter estimation, or stronger
            than 50 T.
    """
    import acts

    cache = field.makeCache(acts.MagneticFieldContext())
    components = field.getField(acts.Vector3(0, 0, 0), cache)
    strength = sum(components[i] ** 2 for i in range(3)) ** 0.5 / acts.UnitConstants.T
    low, high = FIELD_RANGE
    if strength < low:
        raise ConfigurationError(
            f"the magnetic field at the origin is {strength:.3g} T: without curvature ACTS cannot estimate momenta, "
            f"so no track would be fitted (at least {low} T is needed)"
        )
    if strength > high:
        raise ConfigurationError(
            f"the magnetic field at the origin is {strength:.3g} T; was the unit forgotten? "
            "Write acts.Vector3(0, 0, 2 * acts.UnitConstants.T)"
        )


def detector_of(geometry: Any) -> str | None:
    """``"generic"`` for the GenericDetector of the ACTS examples, by its volumes; ``None`` for any other."""
    return "generic" if sensitive_volumes(geometry) == sorted(PITCH) else None


def sensitive_volumes(geometry: Any) -> list[int]:
    """Numbers of the volumes with sensitive surfaces, ascending."""
    volumes: list[int] = np.unique(split_geometry_id(sensitive_ids(geometry))[0]).tolist()
    return volumes


def sensitive_ids(geometry: Any) -> Array:
    """Geometry ids of the sensitive surfaces of an ``acts.TrackingGeometry``: (n,) uint64, ascending."""
    surfaces = geometry.geoIdSurfaceMap()
    ids = np.fromiter((key.value for key in surfaces), np.uint64, len(surfaces))
    sensitive = split_geometry_id(ids)[2] > 0
    return np.sort(ids[sensitive])


class GeometryCheck:
    """Compares measurements with a tracking geometry.

    Args:
        geometry: ``acts.TrackingGeometry``.
    """

    def __init__(self, geometry: Any) -> None:
        self._ids = sensitive_ids(geometry)
        self._surfaces = geometry.geoIdSurfaceMap()
        self._positions_checked = False

    def check_modules(self, geometry_ids: Array) -> None:
        """Refuse measurements on modules that the geometry does not have.

        Args:
            geometry_ids: (n_measurements,) uint64.

        Raises:
            ConfigurationError: counting them and naming the first.
        """
        place = np.searchsorted(self._ids, geometry_ids)
        known = np.zeros(len(geometry_ids), dtype=bool)
        inside = place < len(self._ids)
        known[inside] = self._ids[place[inside]] == geometry_ids[inside]
        if not known.all():
            volume, layer, module = split_geometry_id(geometry_ids[~known][:1])
            raise ConfigurationError(
                f"{np.count_nonzero(~known)} of {len(known)} measurements lie on modules that the tracking geometry "
                f"does not have, the first on volume {volume[0]}, layer {layer[0]}, module {module[0]}: the "
                "hits come from another detector, or from another version of its geometry"
            )

    def check_positions(self, measurements: Any, positions: Array, links: Array, context: Any) -> None:
        """Refuse modules that lie elsewhere, on a sample of the first event that has space points.

        Args:
            measurements: ``acts.examples.MeasurementContainer``.
            positions: (n, 3), mm: space points that come from one measurement each.
            links: (n,) int64: these measurements.
            context: ``acts.GeometryContext``.

        Raises:
            ConfigurationError: if most space points are not where their modules' local coordinates say.
        """
        import acts

        if self._positions_checked or not len(positions):
            return
        self._positions_checked = True
        rows = np.unique(np.linspace(0, len(positions) - 1, SAMPLE).astype(int))
        distances = []
        for row, link in zip(rows.tolist(), links[rows].tolist(), strict=True):
            measurement = measurements[link]
            if measurement.size < 2:
                # A strip knows one coordinate only.
                continue
            local = measurement.fullParameters
            surface = self._surfaces[measurement.geometryId]
            there = surface.localToGlobal(context, acts.Vector2(local[0], local[1]), acts.Vector3(0, 0, 1))
            distances.append(np.linalg.norm(positions[row] - [there[0], there[1], there[2]]))
        if distances and np.median(distances) > TOLERANCE:
            raise ConfigurationError(
                f"space points lie {np.median(distances):.3g} mm (median) from where the tracking geometry has their "
                "modules: the hits come from another detector, or from another version of its geometry"
            )
