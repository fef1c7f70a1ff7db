"""TrackML: a folder or zip of ``event000001000-hits.csv``, ``-truth.csv``, ``-particles.csv`` (also .gz).

Columns as in the challenge's data description: hits hit_id, x, y, z, volume_id, layer_id, module_id; truth
hit_id, particle_id, tx, ty, tz, tpx, tpy, tpz, weight; particles particle_id, vx, vy, vz, px, py, pz, q,
nhits; mm and GeV. Truth and particles are optional. ``-cells.csv`` is not read. particle_id 0 is noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import InputError
from mltrack_plugin.framework.source import Source
from mltrack_plugin.io.csv_table import ID, INTEGER, NUMBER
from mltrack_plugin.io.event_folder import Columns, EventFolderReader

Array = npt.NDArray[Any]

_HITS = ("hit_id", "x", "y", "z", "volume_id", "layer_id", "module_id")
_TRUTH = ("hit_id", "particle_id", "tx", "ty", "tz", "tpx", "tpy", "tpz", "weight")
_TRUTH_REQUIRED = ("hit_id", "particle_id")
_PARTICLES = ("particle_id", "vx", "vy", "vz", "px", "py", "pz", "q", "nhits")
_PARTICLES_REQUIRED = _PARTICLES[:-1]

_HIT_TYPES = {"hit_id": ID} | dict.fromkeys("xyz", NUMBER) | dict.fromkeys(_HITS[4:], INTEGER)
_TRUTH_TYPES = {"hit_id": ID, "particle_id": ID, "weight": NUMBER}
_PARTICLE_TYPES = {"particle_id": ID} | dict.fromkeys(_PARTICLES[1:-1], NUMBER) | {"nhits": INTEGER}


class TrackmlCsvReader(EventFolderReader):
    """Reads TrackML CSV files, event by event (one event is 100 000 hits)."""

    format_name = "trackml-csv"
    format_detector = "trackml"

    @classmethod
    def recognises(cls, source: Source) -> float:
        """CSV with most of the columns of hits: challenges that came later have others in place of some."""
        return 0.8 if any(len(table.intersection(_HITS)) >= 4 for table in source.tables) else 0.0

    def _open_event_files(self) -> tuple[bool, bool]:
        self._events_with("hits")
        checks = (
            ("hits", _HITS, _HITS),
            ("truth", _TRUTH_REQUIRED, _TRUTH),
            ("particles", _PARTICLES_REQUIRED, (*_PARTICLES, "particle_type")),
        )
        found = {}
        for stem, required, known in checks:
            found[stem] = self._stem_of_all(stem) is not None
            if found[stem]:
                self._header(stem, required, known)
        return found["truth"], found["particles"]

    def _read_event(self, number: int) -> tuple[Columns, Columns | None]:
        hits = self._parse(number, "hits", _HIT_TYPES, _HITS, _HITS)
        if self._keys["truth_links"]:
            truth = self._parse(number, "truth", _TRUTH_TYPES, _TRUTH_REQUIRED, _TRUTH)
            place = self._folder.path(self._files[number]["truth"])
            row = match_ids(hits["hit_id"], truth.pop("hit_id"), place)
            hits |= {name: values[row] for name, values in truth.items()}
        if not self._keys["particles"]:
            return hits, None
        known = (*_PARTICLES, "particle_type")
        return hits, self._parse(number, "particles", _PARTICLE_TYPES, _PARTICLES_REQUIRED, known)


def match_ids(wanted: Array, there: Array, place: str) -> Array:
    """Row of ``there`` for each id of ``wanted``.

    Raises:
        InputError: if an id is missing, or one of ``there`` is repeated or not wanted.
    """
    if np.array_equal(wanted, there):
        return np.arange(len(wanted))
    order = np.argsort(there, kind="stable")
    ordered = there[order]
    if len(ordered) and (repeats := ordered[1:][ordered[1:] == ordered[:-1]]).size:
        raise InputError(f"{place}: hit_id {repeats[0]} is repeated")
    position = np.minimum(np.searchsorted(ordered, wanted), max(len(ordered) - 1, 0))
    lost = np.ones(len(wanted), dtype=bool) if not len(ordered) else ordered[position] != wanted
    if lost.any():
        raise InputError(
            f"{place} has no row for {int(lost.sum())} of {len(wanted)} hits (first: hit_id "
            f"{wanted[lost][0]})"
        )
    if len(there) != len(wanted):
        strangers = there[~np.isin(there, wanted)]
        if len(strangers):
            raise InputError(
                f"{place} has {len(strangers)} rows for hits that do not exist (first: hit_id {strangers[0]})"
            )
    return order[position]
