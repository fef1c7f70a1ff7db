"""Magnetic fields: each kind gives the field at points. A further kind joins the union `Field`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]


class NoField(Config):
    """No magnetic field: charged particles fly straight on."""

    kind: Literal["none"] = "none"
    """Says that there is no field."""

    def at(self, points: npt.ArrayLike) -> Array:
        """Field at points (n, 3), mm: (n, 3) float64, T."""
        return np.zeros((len(np.asarray(points)), 3))


class ConstantField(Config):
    """The same field along z everywhere: the inside of a long solenoid."""

    kind: Literal["constant"] = "constant"
    """Says that the field is the same everywhere."""
    bz: float = pydantic.Field(allow_inf_nan=False)
    """Field along z, T; not 0."""

    @pydantic.field_validator("bz")
    @classmethod
    def _is_a_field(cls, bz: float) -> float:
        if bz == 0:
            raise ValueError("must not be 0; without a field write {kind: none}")
        return bz

    def at(self, points: npt.ArrayLike) -> Array:
        """Field at points (n, 3), mm: (n, 3) float64, T."""
        field = np.zeros((len(np.asarray(points)), 3))
        field[:, 2] = self.bz
        return field


Field = Annotated[NoField | ConstantField, pydantic.Field(discriminator="kind")]
