"""Model card: what a network expects, what it returns and where it may be used.

The card travels inside the model archive as JSON, so a network cannot be applied to another
detector, coordinate system or unit than the one it was trained for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from mltrack_plugin.detectors import Detector, names_of
from mltrack_plugin.errors import EventError, ModelError, did_you_mean
from mltrack_plugin.settings import Config

if TYPE_CHECKING:
    from mltrack_plugin.event_data import Hits
    from mltrack_plugin.event_data.base import Array

#: Version of the card's layout; archives with a newer one are refused.
FORMAT_VERSION = 1

#: Factor from mm (the unit of Hits) to a card's unit of length. "redvid" is REDVID's own dimensionless
#: length, in which its hits are stored as they are.
LENGTH_UNITS = {"mm": 1.0, "cm": 0.1, "m": 1e-3, "redvid": 1.0}
_ANGLE_UNITS = {"rad": 1.0}
_NO_UNIT = {"1": 1.0}
_FEATURE_UNITS = {
    **dict.fromkeys(("x", "y", "z", "r", "time"), LENGTH_UNITS),
    **dict.fromkeys(("phi", "theta"), _ANGLE_UNITS),
    **dict.fromkeys(("sin_phi", "cos_phi", "eta"), _NO_UNIT),
}
_COORDINATES = {"cartesian": {"x", "y"}, "cylindrical": {"r", "phi", "sin_phi", "cos_phi"}}
_VALIDITY_KEYS = ("r", "z", "n_hits")

# Below this number of hits an event may lie near the beam by chance, and its unit is not guessed.
_MIN_HITS_TO_GUESS_UNIT = 20

_KINDS = {
    "hits": "the hits of an event",
    "graph": "graphs of hits",
    "sequence": "sequences of hits",
    "image": "images",
    "clusters": "clusters of hits",
}

#: Largest card.
_MAX_BYTES = 4_000_000

Range = tuple[float, float]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class ModelCard(Config):
    """Description of one trained network."""

    name: Name
    """Name of the model, e.g. ``"encreg-redvid-10-50-linear"``."""
    version: str = "1"
    """Version of the trained weights."""
    architecture: str
    """Key of the architecture table in :mod:`mltrack_plugin.models`."""
    hyperparameters: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of the architecture, as :func:`~mltrack_plugin.models.build_network` takes them."""
    kind: Literal["hits", "graph", "sequence", "image", "clusters"] = "hits"
    """What the network reads: the hits of an event, a graph of hits, sequences of hits, images, or clusters
    of hits.
    """
    parameters: int = Field(0, ge=0)
    """Number of trainable weights; filled in when the archive is written."""
    features: tuple[str, ...] = Field(min_length=1)
    """Input features in the order of the network's columns or channels; for the kind "hits" names of
    :mod:`~mltrack_plugin.archives.features`.
    """
    units: dict[str, str]
    """Unit of every feature and (where it has one) output: "mm", "cm", "m", "redvid"; "rad"; "1"."""
    coordinate_system: Literal["cartesian", "cylindrical"]
    """Coordinates of the features."""
    detectors: tuple[str, ...] = Field(min_length=1)
    """Detectors whose events the network understands."""
    outputs: tuple[str, ...] = Field(min_length=1)
    """Names of the output columns."""
    output_scales: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()
    """Per output, the distance that counts as 1 in clustering; in the output's unit, > 0. Kind "hits" only."""
    validity: dict[str, Range] = Field(default_factory=dict)
    """Ranges in which the network was trained: "r" and "z" of the hits (in the unit of Hits) and
    "n_hits" per event, of which only the upper limit is enforced.
    """
    training_data: dict[str, JsonValue] = Field(default_factory=dict)
    """What the network was trained on: data sets, numbers of events, seeds."""
    training_recipe: dict[str, JsonValue] = Field(default_factory=dict)
    """How it was trained: epochs, optimiser, loss, seed, ..."""
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    """Scores on test events, by metric name."""
    license: str = "MPL-2.0"
    """SPDX identifier of the weights' licence."""
    mltrack_version: str = ""
    """Version of mltrack-plugin that wrote the card."""
    format_version: int = FORMAT_VERSION
    """Version of this layout."""

    @field_validator("validity")
    @classmethod
    def _validity(cls, value: dict[str, Range]) -> dict[str, Range]:
        for key, (low, high) in value.items():
            if key not in _VALIDITY_KEYS:
                raise ValueError(f"no validity range {key!r}. {did_you_mean(key, _VALIDITY_KEYS)}")
            if not low <= high:
                raise ValueError(f"validity range of {key} runs from {low} to {high}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind in ("features", "outputs"):
            names = getattr(self, kind)
            if len(set(names)) != len(names):
                raise ValueError(f"{kind} are repeated: {', '.join(names)}")
        if self.kind == "hits":
            self._consistent_hits()
        return self

    def _consistent_hits(self) -> None:
        from mltrack_plugin.archives.features import check_feature_names

        try:
            check_feature_names(self.features)
        except ModelError as error:
            raise ValueError(str(error)) from None
        if len(self.outputs) != len(self.output_scales):
            raise ValueError(f"{len(self.outputs)} outputs but {len(self.output_scales)} output_scales")
        for name in self.features:
            allowed = _FEATURE_UNITS[name]
            if (unit := self.units.get(name)) not in allowed:
                raise ValueError(f"unit of feature {name!r} is {unit!r}; it must be {' or '.join(allowed)}")
        for other, names in _COORDINATES.items():
            if other != self.coordinate_system and (strange := names & set(self.features)):
                raise ValueError(
                    f"coordinate system is {self.coordinate_system} but the features "
                    f"{', '.join(sorted(strange))} are {other}"
                )

    @classmethod
    def from_mapping(cls, content: Any, source: str) -> Self:
        """Validate a card's content.

        Args:
            content: the decoded JSON.
            source: the file, for messages.

        Raises:
            ModelError: naming everything that is wrong with the card.
        """
        if not isinstance(content, dict):
            raise ModelError(f"{source}: the model card is not a JSON object; export the model again")
        version = content.get("format_version", FORMAT_VERSION)
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ModelError(
                f"{source}: the model card has format version {version}, this mltrack-plugin reads up to "
                f"{FORMAT_VERSION}. Update with:  pip install --upgrade mltrack-plugin"
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            lines = []
            for item in error.errors():
                where = ".".join(str(part) for part in item["loc"])
                lines.append(
                    f"{where}: {item['msg']}" if where else item["msg"].removeprefix("Value error, ")
                )
            raise ModelError(f"{source}: the model card is not valid: {'; '.join(lines)}") from None

    @classmethod
    def from_json(cls, text: str | bytes, source: str) -> Self:
        """Validate a card given as JSON text (raises ``ModelError``)."""
        if len(text) > _MAX_BYTES:
            raise ModelError(f"{source}: the model card has more than {_MAX_BYTES} bytes")
        try:
            content = json.loads(text)
            if strange := _unprintable(content):
                raise ModelError(f"{source}: the model card holds {strange!a}, which cannot be printed")
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{source}: the model card is not valid JSON ({error})") from None
        return cls.from_mapping(content, source)

    def to_json(self) -> str:
        """The card as JSON with sorted keys: the same card always gives the same text."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)

    def hit_features(self, hits: Hits) -> Array:
        """The network's input for one event.

        Returns:
            (n, F) float32 in the card's units.
        """
        import numpy as np

        from mltrack_plugin.archives.features import hit_features

        values = hit_features(hits, self.features)
        factors = np.array([_FEATURE_UNITS[n][self.units[n]] for n in self.features], dtype=np.float32)
        return values if (factors == 1).all() else values * factors

    def inside(self, hits: Hits) -> Array:
        """(n,) bool: which hits lie in the validity ranges of r and z."""
        import numpy as np

        result = np.ones(len(hits), dtype=bool)
        for name in ("r", "z"):
            if name in self.validity:
                low, high = self.validity[name]
                values = getattr(hits, name)
                result &= (values >= low) & (values <= high)
        return result

    def check_kind(self, kind: str, user: str) -> None:
        """Refuse a model that reads something else.

        Args:
            kind: what ``user`` gives to its model.
            user: the algorithm, for the message.

        Raises:
            ModelError: naming both.
        """
        if self.kind != kind:
            raise ModelError(
                f"model {self.name!r} ({self.architecture}) reads {_KINDS[self.kind]}, but {user} needs one that "
                f"reads {_KINDS[kind]}. Choose another model (see: mltrack models)"
            )

    def check_architecture(self, architectures: tuple[str, ...], user: str) -> None:
        """Refuse a model whose outputs mean something else.

        Raises:
            ModelError: naming the architecture and the ones that ``user`` understands.
        """
        if self.architecture not in architectures:
            raise ModelError(
                f"model {self.name!r} has the architecture {self.architecture!r}; {user} understands "
                f"{', '.join(architectures)}. Choose another model (see: mltrack models)"
            )

    def check_detector(self, detector: str | Detector | None, source: str) -> None:
        """Refuse a model made for another detector.

        Args:
            detector: the input's detector; ``None`` if the input does not say (only the validity
                ranges can be checked then, event by event).
            source: the input file, for the message.

        Raises:
            ModelError: naming both detectors.
        """
        if detector is not None and set(names_of(detector)).isdisjoint(self.detectors):
            name = detector.name if isinstance(detector, Detector) else detector
            raise ModelError(
                f"model {self.name!r} was trained for {' or '.join(self.detectors)}, but {source} holds "
                f"events of {name!r}. Choose a model for {name!r} (see: mltrack models) or train one"
            )

    def check_hits(self, hits: Hits) -> None:
        """Refuse an event outside the ranges in which the network was trained.

        Raises:
            EventError: stating range, value and the likely reason (unit of length, number of hits).
        """
        import numpy as np

        n = len(hits)
        if "n_hits" in self.validity and n > self.validity["n_hits"][1]:
            raise EventError(
                f"the event has {n} hits; model {self.name!r} was trained with at most "
                f"{self.validity['n_hits'][1]:.0f}. Use a model for denser events, or split the event"
            )
        columns: dict[str, Array] = {k: getattr(hits, k) for k in ("r", "z") if k in self.validity}
        if not n or not columns:
            return
        for key, values in columns.items():
            low, high = self.validity[key]
            bad = (values < low) | (values > high)
            if bad.any():
                row = int(np.argmax(bad))
                raise EventError(
                    f"{int(bad.sum())} of {n} hits have {key} outside [{low:g}, {high:g}], the range of "
                    f"model {self.name!r} (first at row {row}: {key} = {values[row]:g})"
                    f"{self._unit_hint(columns)}"
                )
        if n >= _MIN_HITS_TO_GUESS_UNIT and (hint := self._small_hint(columns)):
            raise EventError(f"all {n} hits lie close to the origin compared with model {self.name!r}{hint}")

    def _unit_hint(self, columns: dict[str, Array]) -> str:
        """Which other unit of length would bring all hits into the validity ranges."""
        for unit, factor in (("metres", 1e3), ("centimetres", 10.0), ("micrometres", 1e-3)):
            if all(
                self.validity[key][0] <= values.min() * factor
                and values.max() * factor <= self.validity[key][1]
                for key, values in columns.items()
            ):
                return _unit_advice(unit, factor)
        return ""

    def _small_hint(self, columns: dict[str, Array]) -> str:
        """The unit that a compact event betrays although it lies inside the validity ranges."""
        reach = max(abs(values).max() / max(map(abs, self.validity[key])) for key, values in columns.items())
        for unit, factor in (("metres", 1e3), ("centimetres", 10.0)):
            if reach * factor <= 1.0:
                return _unit_advice(unit, factor)
        return ""


def _unit_advice(unit: str, factor: float) -> str:
    name = {"metres": "m", "centimetres": "cm", "micrometres": "um"}[unit]
    return (
        f"; they look like {unit}, not mm: multiply the coordinates by {factor:g}, or state their unit in the "
        f"job configuration with reader: {{length_unit: {name}}}"
    )


def _unprintable(value: Any) -> str | None:
    """A text in decoded JSON that would change what a terminal shows, or that has no encoding."""
    if isinstance(value, str):
        return None if all(c.isprintable() or c in "\n\t" for c in value) else value[:50]
    if isinstance(value, dict):
        return next(filter(None, map(_unprintable, (*value.keys(), *value.values()))), None)
    if isinstance(value, list):
        return next(filter(None, map(_unprintable, value)), None)
    return None
