"""Volumes of a detector and their layers, as a description states them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mltrack_plugin.detectors.resolution import Resolution
from mltrack_plugin.settings import Config

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Thickness = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Range = tuple[Number, Number]


class Layer(Config):
    """One layer of a volume. A bare number is its position."""

    at: Number
    """Radius of a barrel layer, z of a disc, x of a plane; in the detector's unit of length, as all lengths here."""
    extent: Range | None = None
    """Where it lies along z (barrel), in radius (disc), along y (plane); ``None`` = the volume's."""
    depth: Positive | None = None
    """Largest distance of its hits from ``at``; ``None`` = the volume's."""
    thickness: Thickness | None = None
    """Material at normal incidence, radiation lengths; ``None`` = the volume's."""


class Volume(Config):
    """Layers of one kind, with one resolution."""

    kind: Literal["barrel", "disc", "plane"]
    """Barrels lie around the beam axis, discs across it; planes across x, one behind the other."""
    layers: dict[Annotated[int, Field(ge=0)], Layer] = Field(min_length=1)
    """By layer id: each layer, or just its radius (barrel), z (disc) or x (plane)."""
    extent: Range
    """Where layers lie along z (barrel), in radius (disc), along y (plane); with room for the resolution."""
    depth: Positive
    """Largest distance of a layer's hits from its position: modules overlap and are tilted."""
    resolution: Resolution | None = None
    """Resolution of hits; ``None`` = the detector's."""
    thickness: Thickness | None = None
    """Material of a layer at normal incidence, radiation lengths; ``None`` = the detector's."""
    pitch: tuple[Positive, Positive] | None = None
    """Size of a cell along the two local axes of a module."""
    seeding: tuple[int, ...] = ()
    """Ids of the layers from whose hits a combinatorial Kalman filter makes its seeds."""

    @field_validator("layers", mode="before")
    @classmethod
    def _positions(cls, layers: Any) -> Any:
        if not isinstance(layers, dict):
            return layers
        return {key: {"at": v} if isinstance(v, int | float) else v for key, v in layers.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for number, layer in self.layers.items():
            low, high = layer.extent or self.extent
            if not low < high:
                raise ValueError(
                    f"layer {number}: extent must be two rising numbers, got [{low:g}, {high:g}]"
                )
            if self.kind == "barrel" and layer.at <= 0:
                raise ValueError(f"layer {number}: the radius of a barrel layer must be larger than 0")
            if self.kind == "disc" and low < 0:
                raise ValueError(
                    f"layer {number}: the extent of a disc is in radius, it must not begin below 0"
                )
        if self.resolution is not None:
            measured = {"barrel": "z", "disc": "r", "plane": "rphi"}[self.kind]
            if getattr(self.resolution, measured) == 0:
                raise ValueError(f"a {self.kind} measures {measured}: its resolution must be larger than 0")
        if unknown := sorted(set(self.seeding) - set(self.layers)):
            raise ValueError(f"seeding: there is no layer {', '.join(map(str, unknown))}")
        return self
