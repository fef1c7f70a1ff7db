"""ROOT files of ACTS: trees ``hits``, ``measurements``, ``spacepoints`` (``spacePoints``), ``particles``.

The path is one file or the folder of a job's files. All hit trees are flat, one entry per hit;
``particles`` has one entry per event. It is taken from the same file, or from ``particles.root``,
``particles_simulation.root`` or ``particles_initial.root`` beside it.

- ``hits`` (simulated hits): positions tx, ty, tz; each hit has one particle.
- ``measurements``: positions rec_gx, rec_gy, rec_gz. A merged measurement lists several particles: the
  first listed one counts as its truth, the others are dropped.
- ``spacepoints``: positions x, y, z. Truth through the first measurement of the space point, if the
  ``measurements`` tree is in the same file or in ``measurements.root`` beside it; fake space points are
  noise.

Particle ids are the five-part barcodes packed into 64 bits (see :mod:`mltrack_plugin.event_data.barcodes`).
``hit_id`` is the row in the event, from 0: the measurement index of ACTS for ``measurements``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors.geometry_ids import geometry_columns, join_geometry_id
from mltrack_plugin.errors import EventDataError, EventError, InputError, did_you_mean
from mltrack_plugin.event_data.barcodes import pack_barcode
from mltrack_plugin.framework.source import Source
from mltrack_plugin.io import root_file, storage
from mltrack_plugin.io.columns import Chunk, Table
from mltrack_plugin.io.event_numbers import ADVICE
from mltrack_plugin.io.reading import ColumnInfo, EventReader, ReaderConfig
from mltrack_plugin.io.root_events import row_numbers
from mltrack_plugin.io.root_tables import EventTree, FlatTree, first_of_each
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]

#: Kind of hits -> tree names, file names beside, branch of the event, branches of the position.
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, tuple[str, str, str]]] = {
    "spacepoints": (
        ("spacepoints", "spacePoints"),
        ("spacepoints.root", "spacePoints.root"),
        "event_id",
        ("x", "y", "z"),
    ),
    "measurements": (("measurements",), ("measurements.root",), "event_nr", ("rec_gx", "rec_gy", "rec_gz")),
    "hits": (("hits",), ("hits.root", "simhits.root"), "event_id", ("tx", "ty", "tz")),
}
#: Tree -> branches, one entry per hit, that only ACTS has.
_TELLING = {
    "hits": {"tx"},
    "measurements": {"rec_loc0", "rec_gx"},
    "spacepoints": {"measurement_id"},
    "spacePoints": {"measurement_id"},
}
_HIT_BARCODE = tuple(
    f"barcode_{p}" for p in ("vertex_primary", "vertex_secondary", "particle", "generation", "sub_particle")
)
_MEASUREMENT_BARCODE = tuple(name.replace("barcode_", "particles_") for name in _HIT_BARCODE)
_PARTICLE_BARCODE = tuple(name.replace("barcode_", "") for name in _HIT_BARCODE)
_PARTICLE_FILES = ("particles.root", "particles_simulation.root", "particles_initial.root")
_PARTICLE_FIELDS = {n: n for n in ("vx", "vy", "vz", "px", "py", "pz", "q")}


class ActsRootConfig(ReaderConfig):
    """Settings of the reader of ACTS ROOT files."""

    collection: Literal["auto", "spacepoints", "measurements", "hits"] = "auto"
    """Which hits to read; "auto" takes space points, measurements or simulated hits, whichever is there
    first.
    """
    particles_path: str | None = None
    """File with the ``particles`` tree; by default looked for in and beside the input."""


class ActsRootReader(EventReader):
    """Reads ACTS ROOT trees in ranges of entries."""

    Config: ClassVar[type[Config]] = ActsRootConfig
    format_name = "acts-root"

    @classmethod
    def recognises(cls, source: Source) -> float:
        """A tree of hits with the branches of ACTS; of a folder, that there are ROOT files."""
        if any(not branches.isdisjoint(source.branches(tree)) for tree, branches in _TELLING.items()):
            return 0.9
        return 0.3 if any(name.endswith(".root") for name in source.names) else 0.0

    def initialize(self) -> None:
        """Open the files, find the events.

        Raises:
            InputError: if a file, tree or branch is missing or damaged, or there are no events.
        """
        config: ActsRootConfig = self.config
        self._folder = storage.open_folder(config.path) if _is_folder(config.path) else None
        self._open: dict[str, Any] = {}
        self._info: list[ColumnInfo] = []
        self._collection, tree, place = self._find_hits()
        event_branch, position = _KINDS[self._collection][2:]
        self._tree_place = place
        there = root_file.branch_types(tree)
        required = {"event": event_branch, "x": position[0], "y": position[1], "z": position[2]}
        chosen = root_file.choose_branches(tree, place, required, required, ())
        self._branches = [chosen[n] for n in ("x", "y", "z")]
        self._optional = [
            b
            for b in ("geometry_id", "volume_id", "layer_id", "surface_id", "extra_id", "tt", "t", "index")
            if b in there and (b != "index" or self._collection == "hits")
        ]
        self._flat = FlatTree.scan(tree, place, chosen["event"])
        if not len(self._flat.numbers):
            raise InputError(f"{place} holds no events")
        self._truth = self._find_truth(tree) if config.read_truth else ()
        self._particles = self._find_particles() if config.read_truth else None
        width = 8 * (len(self._branches) + len(self._optional) + len(self._truth))
        self._plan(
            self._flat.edges(config.chunk_bytes // width),
            truth=bool(self._truth),
            particles=self._particles is not None,
        )

    def finalize(self) -> None:
        """Close the files."""
        super().finalize()
        for file in self._open.values():
            file.close()

    @property
    def hit_kind(self) -> str:
        """Which of the collections is read."""
        return self._collection

    def column_info(self) -> list[ColumnInfo]:
        """Branches of the trees that are read."""
        return self._info

    def _place(self) -> str:
        return self._tree_place

    def _file(self, path: str) -> Any:
        if path not in self._open:
            self._open[path] = root_file.open_root(path)
        return self._open[path]

    def _candidates(self, names: Sequence[str], own_file: bool = True) -> list[str]:
        """The input file itself and those of the given names beside (or in) the input, if they exist."""
        path = self.config.path
        if self._folder is not None:
            return [self._folder.path(n) for n in names if n in self._folder.names]
        beside = set(storage.sibling_names(path))
        return [*([path] if own_file else []), *(storage.sibling(path, n) for n in names if n in beside)]

    def _find_hits(self) -> tuple[str, Any, str]:
        path, wanted = self.config.path, self.config.collection
        kinds = [k for k in _KINDS if wanted in ("auto", k)]
        seen: dict[str, str] = {}
        for kind in kinds:
            trees, files, event_branch, _ = _KINDS[kind]
            for candidate in self._candidates(files) if self._folder is not None else [path]:
                file = self._file(candidate)
                there = root_file.trees(file)
                seen.update(there)
                for name in trees:
                    if name in there:
                        _, tree = root_file.find_tree(file, candidate, [name])
                        if wanted == "auto" and event_branch not in root_file.branch_types(tree):
                            continue
                        self._info += root_file.column_info(name, tree)
                        return kind, tree, f"{candidate}, tree {name!r}"
        names = [n for k in kinds for n in _KINDS[k][0]]
        raise InputError(
            f"{path} has none of the ACTS trees {', '.join(names)} "
            f"(flat, one entry per hit). {did_you_mean(names[-1], seen)}"
        )

    def _find_truth(self, tree: Any) -> tuple[str, ...]:
        """Barcode branches of the tree that links hits to particles; empty if there is none."""
        self._links: FlatTree | None = None
        if self._collection == "hits":
            branches, there = _HIT_BARCODE, root_file.branch_types(tree)
        elif self._collection == "measurements":
            branches, there = _MEASUREMENT_BARCODE, root_file.branch_types(tree)
        else:
            branches, there = _MEASUREMENT_BARCODE, {}
            if "measurement_id" in root_file.branch_types(tree):
                for path in self._candidates(("measurements.root",)):
                    if "measurements" in root_file.trees(self._file(path)):
                        _, links = root_file.find_tree(self._file(path), path, ["measurements"])
                        self._links = FlatTree.scan(links, f"{path}, tree 'measurements'", "event_nr")
                        there = root_file.branch_types(links)
        missing = [b for b in branches if b not in there]
        return () if missing else branches

    def _find_particles(self) -> EventTree | None:
        given = self.config.particles_path
        for path in [given] if given else self._candidates(_PARTICLE_FILES):
            file = self._file(path)
            if "particles" not in root_file.trees(file) and not given:
                continue
            _, tree = root_file.find_tree(file, path, ["particles"])
            place = f"{path}, tree 'particles'"
            fields = {n: n for n in ("event_id", *_PARTICLE_BARCODE)} | _PARTICLE_FIELDS
            chosen = root_file.choose_branches(tree, place, {}, fields, ())
            del chosen["event_id"]
            there = root_file.branch_types(tree)
            chosen |= {
                f: b for f, b in (("nhits", "number_of_hits"), ("pdg_id", "particle_type")) if b in there
            }
            self._particle_fields = chosen
            self._info += root_file.column_info("particles", tree)
            return EventTree.scan(tree, place, "event_id")
        return None

    def _unit_edges(self, first: int, last: int) -> list[int]:
        return list(range(first, last + 1))

    def _event_numbers(self, first: int, last: int) -> Array:
        return self._flat.numbers[first:last]

    def _read_chunk(self, first: int, last: int) -> Chunk:
        flat = self._flat
        numbers = flat.numbers[first:last]
        arrays, offsets = flat.read([*self._branches, *self._optional, *self._extra_branches()], first, last)
        plain = {
            b: root_file.scalars(arrays[b], f"{flat.place}, branch {b!r}")
            for b in self._branches + self._optional
        }
        columns = {name: plain[branch] for name, branch in zip("xyz", self._branches, strict=True)}
        columns["hit_id"] = row_numbers(offsets)
        for branch in ("tt", "t"):
            if branch in plain:
                columns["time"] = plain[branch]
        if "geometry_id" in plain:
            columns |= geometry_columns(plain["geometry_id"])
        elif {"volume_id", "layer_id", "surface_id"} <= plain.keys():
            volume, layer, surface = (plain[n] for n in ("volume_id", "layer_id", "surface_id"))
            columns |= geometry_columns(join_geometry_id(volume, layer, surface, plain.get("extra_id")))
        errors: dict[int, Exception] = {}
        hits = Table(columns, offsets)
        if self._truth:
            columns["particle_id"] = self._particle_ids(arrays, hits, numbers, errors)
            if "index" in plain:
                _report_merged(columns["particle_id"], plain["index"], hits, flat.place, numbers, errors)
        particles = None
        if self._particles is not None:
            particles = self._particles.read(self._particle_fields, numbers)
            parts = [particles.columns.pop(p) for p in _PARTICLE_BARCODE]
            particles.columns["particle_id"] = self._pack(parts, particles.offsets, numbers, errors)
        return Chunk(first, numbers, hits, particles, errors)

    def _extra_branches(self) -> tuple[str, ...]:
        if self._links is not None:
            there = root_file.branch_types(self._flat.tree)
            return ("measurement_id", *(("fake",) if "fake" in there else ()))
        return self._truth

    def _particle_ids(self, arrays: Any, hits: Table, numbers: Array, errors: dict[int, Exception]) -> Array:
        place = self._flat.place
        if self._collection == "hits":
            parts = [root_file.scalars(arrays[b], f"{place}, branch {b!r}") for b in self._truth]
            return self._pack(parts, hits.offsets, numbers, errors)
        if self._links is None:
            parts = [first_of_each(arrays[b], f"{place}, branch {b!r}") for b in self._truth]
            return self._pack(parts, hits.offsets, numbers, errors)
        return self._ids_of_spacepoints(arrays, hits, numbers, errors)

    def _ids_of_spacepoints(
        self, arrays: Any, hits: Table, numbers: Array, errors: dict[int, Exception]
    ) -> Array:
        """Particle of the first measurement of each space point; a measurement's id is its entry."""
        links = self._links
        assert links is not None
        position = {n: i for i, n in enumerate(links.numbers.tolist())}
        measurement = root_file.scalars(arrays["measurement_id"], self._flat.place).astype(np.uint64)
        result = np.zeros(len(measurement), dtype=np.uint64)
        for i, number in enumerate(numbers.tolist()):
            rows = slice(int(hits.offsets[i]), int(hits.offsets[i + 1]))
            k = position.get(number)
            count = 0 if k is None else int(links.stops[k] - links.starts[k])
            if (measurement[rows] >= count).any():
                errors[i] = EventError(
                    f"{self._flat.place}, event {number}: measurement_id {measurement[rows].max()} points "
                    f"nowhere, {links.place} has {count} measurements of this event"
                )
            elif k is not None:
                linked, offsets = links.read(self._truth, k, k + 1)
                parts = [first_of_each(linked[b], f"{links.place}, branch {b!r}") for b in self._truth]
                ids = self._pack(parts, offsets, np.array([number]), errors)
                result[rows] = ids[measurement[rows].astype(np.int64)]
        if "fake" in arrays:
            result[np.asarray(arrays["fake"], dtype=bool)] = 0
        return result

    def _pack(
        self, parts: list[Array], offsets: Array, numbers: Array, errors: dict[int, Exception]
    ) -> Array:
        """Packed barcodes; an event with one that does not fit is reported."""
        try:
            return pack_barcode(*parts)
        except EventDataError:
            ids = np.zeros(len(parts[0]), dtype=np.uint64)
        for i in range(len(offsets) - 1):
            rows = slice(int(offsets[i]), int(offsets[i + 1]))
            try:
                ids[rows] = pack_barcode(*(p[rows] for p in parts))
            except EventDataError as error:
                errors.setdefault(i, EventError(f"{self._flat.place}, event {numbers[i]}: {error}"))
        return ids


def _report_merged(
    particle_id: Array, index: Array, hits: Table, place: str, numbers: Array, errors: dict[int, Exception]
) -> None:
    """Report events in which a particle has a hit of one index twice: several events with one number."""
    event = np.repeat(np.arange(len(numbers)), np.diff(hits.offsets))
    rows = np.flatnonzero((particle_id != 0) & (index >= 0))
    order = rows[np.lexsort((index[rows], particle_id[rows], event[rows]))]
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for column in (event, particle_id, index):
        same &= column[order[1:]] == column[order[:-1]]
    for i in np.unique(event[order[1:][same]]).tolist():
        row = order[1:][same & (event[order[1:]] == i)][0]
        errors.setdefault(
            i,
            EventError(
                f"{place}, event {numbers[i]}: the particle {particle_id[row]} has its hit number {index[row]} "
                f"more than once, so these are several events of one number. {ADVICE}"
            ),
        )


def _is_folder(path: str) -> bool:
    if "://" in path and not path.startswith(("file://", "memory://")):
        return not path.endswith(".root")
    return storage.kind_of(path) == "folder"
