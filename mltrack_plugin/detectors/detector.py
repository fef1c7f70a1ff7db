"""Detector: what is known of a detector, in one place, as frozen settings that are read from and written to YAML."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mltrack_plugin.detectors.fields import Field as MagneticField
from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.detectors.layers import LayerTable, identifiers, layer_table
from mltrack_plugin.detectors.resolution import Resolution, ResolutionTable
from mltrack_plugin.detectors.surfaces import SurfacesConfig
from mltrack_plugin.detectors.volumes import Thickness, Volume
from mltrack_plugin.errors import ConfigurationError, EventDataError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.settings import Config, load_yaml, validated

Array = npt.NDArray[Any]
TrackShape = Literal["straight", "helix", "expanding-helix"]

#: mm per unit of length; in any other unit hits and description are taken as they are.
LENGTH_UNITS = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
#: Share of the hits that must lie on the layers of their detector.
MIN_SHARE = 0.99


class Detector(Config):
    """What is known of a detector."""

    name: str = Field(min_length=1)
    """Name, as job configurations and ``--detector`` give it."""
    aliases: tuple[str, ...] = ()
    """Other names that files call it by."""
    description: str = ""
    """What it is, in a sentence."""
    length_unit: str = Field(default="mm", min_length=1)
    """Unit of the lengths here: um, mm, cm or m. Any other name is a unit of its own, in which hits are given, too."""
    field: MagneticField
    """Magnetic field: ``{kind: constant, bz: 2.0}``, or ``{kind: none}``."""
    tracks: tuple[TrackShape, ...] = Field(default=("helix",), min_length=1)
    """Shapes that tracks have."""
    momenta: bool = True
    """Whether particles have momenta; if not, those columns hold the shape of the track."""
    thickness: Thickness = 0.0
    """Material of a layer at normal incidence, radiation lengths, where volume and layer do not say otherwise."""
    resolution: Resolution
    """Resolution of hits whose volume is not known or states none."""
    volumes: dict[Annotated[int, Field(ge=0)], Volume] = Field(min_length=1)
    """By volume id, in the order in which a particle from the origin meets them."""

    @model_validator(mode="after")
    def _layers_apart(self) -> Self:
        table = self.layers
        for i, j in zip(*np.nonzero(np.triu(table.overlaps(), 1)), strict=True):
            first, second = self.layer_ids[i], self.layer_ids[j]
            raise ValueError(
                f"layer {first[1]} of volume {first[0]} and layer {second[1]} of volume {second[0]} overlap: "
                f"{table.describe(i)}; {table.describe(j)}. Make depth or extent smaller"
            )
        return self

    # ---- reading and writing ----------------------------------------------------------------

    @classmethod
    def from_yaml(cls, text: str, source: str) -> Self:
        """A detector from YAML text.

        Args:
            text: YAML.
            source: name or path, for messages.

        Raises:
            ConfigurationError: naming the source and every setting that is wrong.
        """
        content = load_yaml(text, source)
        if not isinstance(content, dict):
            raise ConfigurationError(
                f"{source}: a detector is described by a mapping with name, field, resolution and volumes"
            )
        found = validated(cls, content, source)
        assert isinstance(found, cls)
        return found

    def to_yaml(self) -> str:
        """YAML from which :meth:`from_yaml` makes an equal detector."""
        import yaml

        content = {**self.model_dump(exclude_defaults=True), "field": self.field.model_dump()}
        for volume in content["volumes"].values():
            volume["layers"] = {k: v["at"] if len(v) == 1 else v for k, v in volume["layers"].items()}
        return yaml.safe_dump(_with_lists(content), sort_keys=False, default_flow_style=None)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the description, hexadecimal."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json")).encode()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other settings, checked like any description."""
        return type(self).model_validate({**self.model_dump(), **(update or {})})

    # ---- the whole detector -----------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and the others that it goes by."""
        return (self.name, *self.aliases)

    @property
    def identity(self) -> dict[str, str]:
        """Name and checksum, as they stand in the metadata of outputs."""
        return {"detector": self.name, "detector_sha256": self.checksum}

    @property
    def scale(self) -> float:
        """mm per unit of length; 1 for a unit of its own."""
        return LENGTH_UNITS.get(self.length_unit, 1.0)

    @cached_property
    def layers(self) -> LayerTable:
        """All layers, mm, in the order of :attr:`layer_ids`."""
        return layer_table(self.volumes, self.thickness, self.scale)

    @property
    def layer_ids(self) -> tuple[tuple[int, int], ...]:
        """(volume, layer) of each layer: volumes as described, in each from the origin outwards."""
        return self.layers.ids

    @property
    def radius(self) -> float:
        """Largest distance of a layer from the beam axis, mm."""
        return self.layers.radius

    @property
    def half_length(self) -> float:
        """Largest abs(z) of a layer, mm."""
        return self.layers.half_length

    def surfaces(self) -> SurfacesConfig:
        """Barrels and discs onto which smeared hits are put, in ascending order, mm."""
        volumes, scale = self.volumes.values(), self.scale
        barrels = [v for v in volumes if v.kind == "barrel"]
        discs = [v for v in volumes if v.kind == "disc"]
        return SurfacesConfig(
            discs=tuple(sorted(scale * layer.at for v in discs for layer in v.layers.values())),
            barrels=tuple(sorted(scale * layer.at for v in barrels for layer in v.layers.values())),
            barrel_z=scale * max((v.extent[1] for v in barrels), default=0.0),
            barrel_distance=scale * max((v.depth for v in barrels), default=0.0),
            disc_distance=scale * max((v.depth for v in discs), default=0.0),
        )

    # ---- hits -------------------------------------------------------------------------------

    def layer_of(self, hits: Hits) -> Array:
        """(n,) int64 position of each hit's layer in :attr:`layer_ids`; -1 = on none.

        By the hits' volume and layer, or geometry, ids; where there are none by their positions.
        """
        if (ids := identifiers(hits)) is not None:
            return self.layers.by_ids(*ids)
        layer, distance = self.layers.nearest(hits.positions)
        return np.where(distance <= 0, layer, -1)

    def volume_of(self, hits: Hits) -> Array:
        """(n,) volume id of each hit: its own, or that of the layer that it lies nearest to."""
        if hits.volume_id is not None:
            return hits.volume_id
        volume = (
            self.located(hits).volume_id
            if hits.geometry_id is None
            else split_geometry_id(hits.geometry_id)[0]
        )
        assert volume is not None
        return volume

    def on_layers(self, hits: Hits) -> Array:
        """(n,) bool: whether a hit lies on the layer of its ids; without ids, on any layer."""
        if (ids := identifiers(hits)) is None:
            return self.layer_of(hits) >= 0
        layer = self.layers.by_ids(*ids)
        return (layer >= 0) & (self.layers.distance(hits.positions, layer) <= 0)

    def located(self, hits: Hits) -> Hits:
        """The hits with volume and layer ids: their own, or those of the layer that they lie nearest to.

        Raises:
            EventDataError: if they have no ids and less than MIN_SHARE of them lie on the layers.
        """
        if identifiers(hits) is not None:
            return hits
        layer, distance = self.layers.nearest(hits.positions)
        if (n := np.count_nonzero(distance <= 0)) < MIN_SHARE * len(hits):
            raise EventDataError(
                f"the hits have no layers (volume_id and layer_id, or geometry_id), and only {n} of {len(hits)} lie on "
                f"the layers of the detector {self.name}; map the branches in the reader's settings, or name the "
                "detector that the hits are from"
            )
        ids = np.array(self.layer_ids)[layer]
        return dataclasses.replace(hits, volume_id=ids[:, 0], layer_id=ids[:, 1])

    def sigmas(self, hits: Hits) -> Array:
        """(n, 3) float64 standard deviations of hits along r-phi, r and z, mm."""
        return self.resolutions.sigmas(self.volume_of(hits), hits.r)

    def material(self, hits: Hits) -> Array:
        """(n,) float64 material of each hit's layer at normal incidence, radiation lengths."""
        layer = self.layer_of(hits)
        return np.where(layer >= 0, self.layers.thickness[layer], self.thickness)

    def field_at(self, points: npt.ArrayLike) -> Array:
        """Magnetic field at points (n, 3), mm: (n, 3) float64, T."""
        return self.field.at(points)

    @cached_property
    def resolutions(self) -> ResolutionTable:
        """Resolution by volume, mm."""
        return self.resolutions_with(None, {})

    def resolutions_with(
        self, default: Resolution | None, volumes: Mapping[int, Resolution]
    ) -> ResolutionTable:
        """Resolution by volume with replacements, mm.

        Args:
            default: in the place of :attr:`resolution`, mm; ``None`` = that.
            volumes: of single volumes, mm.
        """
        own = {
            n: v.resolution.scaled(self.scale) for n, v in self.volumes.items() if v.resolution is not None
        }
        return ResolutionTable(default or self.resolution.scaled(self.scale), {**own, **volumes})


def _with_lists(content: Any) -> Any:
    """Plain content with lists for tuples, which YAML does not know."""
    if isinstance(content, dict):
        return {key: _with_lists(value) for key, value in content.items()}
    return [_with_lists(item) for item in content] if isinstance(content, tuple) else content
