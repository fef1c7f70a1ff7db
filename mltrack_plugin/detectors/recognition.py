"""Which detector hits are from: what their file states, checked by where they lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mltrack_plugin.detectors.detector import LENGTH_UNITS, MIN_SHARE, Detector
from mltrack_plugin.detectors.library import available_detectors, load_detector, lookup
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits

#: What to do about a detector that is not known.
WAY_ON = "Name the detector with --detector NAME|FILE; docs/detectors.md says how to describe one of your own"


@dataclasses.dataclass(frozen=True)
class Recognised:
    """The detector of some hits."""

    detector: Detector
    #: Hits that were looked at, and those that lie on the detector's layers.
    n_hits: int
    n_on_layers: int

    @property
    def share(self) -> float:
        """Share of the hits that lie on the detector's layers; 1 if there are no hits."""
        return self.n_on_layers / self.n_hits if self.n_hits else 1.0

    @property
    def reason(self) -> str:
        """Why it is this one, in words."""
        if not self.n_hits:
            return f"detector {self.detector.name}, as stated; there are no hits to check it with"
        return f"detector {self.detector.name}: {self.share:.1%} of {self.n_hits} hits lie on its layers"


def recognise(
    hits: Sequence[Hits],
    stated: str | Detector | None = None,
    source: str = "the input",
    least: float = MIN_SHARE,
) -> Recognised:
    """The detector that hits are from.

    Hits with volume and layer ids must lie on the layer that these name, others on any layer: 99% of them.

    Args:
        hits: of some events.
        stated: the detector that the input or the user states: its name, YAML file or description; ``None`` = nothing.
        source: where the hits are from, for messages.
        least: share of the hits that must lie on the detector stated.

    Raises:
        ConfigurationError: if the detector stated is not known or the hits do not lie on it; if nothing is stated and
            they lie on none, or on several. It tells the shares and how to go on.
    """
    if stated is not None:
        found = _look(_stated(stated, source), hits)
        if found.share >= least:
            return found
        raise ConfigurationError(
            f"{source} is stated to be of the detector {found.detector.name}, but of {found.n_hits} hits only "
            f"{found.share:.1%} lie on its layers; {least:.0%} must.{_unit(found.detector, hits)} {WAY_ON}"
        )
    looked = [_look(load_detector(name), hits) for name in available_detectors()]
    fitting = [found for found in looked if _fits(found)]
    if len(fitting) == 1:
        return fitting[0]
    if not any(len(event) for event in hits):
        raise ConfigurationError(f"{source} states no detector and has no hits that would tell it. {WAY_ON}")
    if fitting:
        raise ConfigurationError(f"the detector of {source} is not certain: {_shares(fitting)}. {WAY_ON}")
    units = "".join(_unit(found.detector, hits) for found in looked)
    raise ConfigurationError(
        f"the detector of {source} is not known: {_shares(looked)}; on its own {MIN_SHARE:.0%} must.{units} {WAY_ON}"
    )


def _stated(stated: str | Detector, source: str) -> Detector:
    if isinstance(stated, Detector):
        return stated
    if (found := lookup(stated)) is not None:
        return found
    raise ConfigurationError(
        f"{source} is of the detector {stated!r}, of which there is no description (known: "
        f"{', '.join(available_detectors())}). {WAY_ON}"
    )


def _look(detector: Detector, hits: Sequence[Hits]) -> Recognised:
    on = sum(int(np.count_nonzero(detector.on_layers(event))) for event in hits)
    return Recognised(detector, sum(map(len, hits)), on)


def _fits(found: Recognised) -> bool:
    return found.n_on_layers >= MIN_SHARE * found.n_hits


def _shares(looked: Sequence[Recognised]) -> str:
    shares = ", ".join(f"{found.share:.1%} on the layers of {found.detector.name}" for found in looked)
    return f"of {looked[0].n_hits} hits lie {shares}"


def _unit(detector: Detector, hits: Sequence[Hits]) -> str:
    """A sentence that names the unit of length in which the hits would lie on a detector, if there is one."""
    if detector.length_unit not in LENGTH_UNITS:
        return ""
    for unit, factor in LENGTH_UNITS.items():
        if factor == 1.0:
            continue
        scaled = [dataclasses.replace(e, x=factor * e.x, y=factor * e.y, z=factor * e.z) for e in hits]
        if _fits(_look(detector, scaled)):
            return f" They would lie on {detector.name} if their unit were {unit}: reader: {{length_unit: {unit}}}."
    return ""
