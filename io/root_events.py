"""ROOT files with one entry per event: this project's own layout, and others' through a branch mapping.

Own layout (TTree or RNTuple): tree ``hits`` with ``event_number`` and jagged ``hit_id``, ``x``, ``y``,
``z`` (mm), optional ``time``, ``volume_id``, ``layer_id``, ``module_id``, ``geometry_id`` and, with truth,
``particle_id`` (0 = noise) and ``weight``; tree ``particles`` with the same events in the same order;
``meta`` with the detector.

Other experiments' files: name the tree, map the branches, state the length unit, e.g.

    reader: {format: root-events, tree: SpacePoints, branches: {x: sp_x, y: sp_y, z: sp_z}, length_unit: m}

A tree with one entry per hit is read as well if ``event_number`` is mapped to the branch that tells the
event. Without a ``hit_id`` branch hits are numbered by their row in the event, from 0.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.errors import EventError, InputError
from mltrack_plugin.framework.source import Source
from mltrack_plugin.io import root_file
from mltrack_plugin.io.columns import (
    HIT_COLUMNS,
    PARTICLE_COLUMNS,
    REQUIRED_PARTICLE_COLUMNS,
    Chunk,
    Table,
)
from mltrack_plugin.io.event_numbers import event_numbers, require_unique
from mltrack_plugin.io.guarded import DamagedError
from mltrack_plugin.io.reading import ColumnInfo, EventReader, ReaderConfig
from mltrack_plugin.io.root_tables import EventTree, FlatTree
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]


class RootEventsConfig(ReaderConfig):
    """Settings of the reader of event-wise ROOT files."""

    tree: str = "hits"
    """Name of the tree of hits."""
    particles_tree: str = "particles"
    """Name of the tree of particles; without such a tree there are no particles."""
    branches: dict[str, str] = Field(default_factory=dict)
    """Branch of each hit column, where it has another name than the column."""
    particle_branches: dict[str, str] = Field(default_factory=dict)
    """Branch of each particle column, where it has another name than the column."""


class RootEventsReader(EventReader):
    """Reads event-wise ROOT files in ranges of entries."""

    Config: ClassVar[type[Config]] = RootEventsConfig
    format_name = "root-events"

    @classmethod
    def recognises(cls, source: Source) -> float:
        """A tree of hits, which other formats have as well."""
        return 0.5 if "hits" in source.trees else 0.0

    def initialize(self) -> None:
        """Open the file and choose the branches.

        Raises:
            InputError: if the file, a tree or a branch is missing or damaged, or there are no events.
        """
        config: RootEventsConfig = self.config
        _check_mapping(config)
        self._file = root_file.open_root(config.path)
        name, self._tree = root_file.find_tree(self._file, config.path, [config.tree])
        self._tree_place = f"{config.path}, tree {name!r}"
        meta = root_file.read_meta(self._file)
        self._file_detector, self._file_dataset = meta.get("detector") or None, meta.get("dataset") or None
        optional = [n for n in HIT_COLUMNS if n not in ("x", "y", "z")]
        if not config.read_truth:
            optional = [n for n in optional if n not in ("particle_id", "weight")]
        self._fields = root_file.choose_branches(
            self._tree, self._tree_place, config.branches, ("x", "y", "z"), ("event_number", *optional)
        )
        self._number = self._fields.pop("event_number", None)
        if not self._tree.num_entries:
            raise InputError(f"{self._tree_place} holds no events; produce the file again, or give another")
        probe = root_file.first_entries(self._tree, self._tree_place, [self._fields["x"]], 1)
        self._flat: FlatTree | None = None
        if probe[self._fields["x"]].ndim == 1:
            if self._number is None:
                raise InputError(
                    f"{self._tree_place} has one entry per hit and no branch that tells the event; map it "
                    "with branches: {event_number: NAME}"
                )
            self._flat = FlatTree.scan(self._tree, self._tree_place, self._number)
        elif self._number is not None:
            self._check_numbers()
        self._open_particles()
        if self._flat is None:
            edges = root_file.chunk_edges(
                self._tree, self._tree_place, self._all_branches(), config.chunk_bytes
            )
        else:
            edges = self._flat.edges(config.chunk_bytes // (8 * len(self._fields)))
        self._plan(edges, truth="particle_id" in self._fields, particles=self._particles is not None)

    def _open_particles(self) -> None:
        config: RootEventsConfig = self.config
        self._particles: Any = None
        self._particles_by_number: EventTree | None = None
        if not config.read_truth or config.particles_tree not in root_file.trees(self._file):
            return
        _, tree = root_file.find_tree(self._file, config.path, [config.particles_tree])
        place = f"{config.path}, tree {config.particles_tree!r}"
        fields = root_file.choose_branches(
            tree,
            place,
            config.particle_branches,
            REQUIRED_PARTICLE_COLUMNS,
            ("event_number", *(n for n in PARTICLE_COLUMNS if n not in REQUIRED_PARTICLE_COLUMNS)),
        )
        self._particles_number = fields.pop("event_number", None)
        self._particles, self._particles_place, self._particle_fields = tree, place, fields
        if self._flat is not None:
            if self._particles_number is None:
                raise InputError(f"{place} has no branch that tells the event; map it with particle_branches")
            self._particles_by_number = EventTree.scan(tree, place, self._particles_number)
        elif tree.num_entries != self._tree.num_entries:
            raise InputError(
                f"{place} has {tree.num_entries} entries, tree {config.tree!r} has {self._tree.num_entries}; "
                "both must have one entry per event"
            )

    def finalize(self) -> None:
        """Close the file."""
        super().finalize()
        self._file.close()

    def _all_branches(self) -> list[str]:
        return [*self._fields.values(), *([self._number] if self._number else [])]

    def _place(self) -> str:
        return self._tree_place

    def column_info(self) -> list[ColumnInfo]:
        """Branches of the trees that are read."""
        info = root_file.column_info(self.config.tree, self._tree)
        if self._particles is not None:
            info += root_file.column_info(self.config.particles_tree, self._particles)
        return info

    def _unit_edges(self, first: int, last: int) -> list[int]:
        if self._flat is not None:
            return list(range(first, last + 1))
        trees = [(self._tree, self._all_branches())]
        if self._particles is not None:
            trees.append((self._particles, list(self._particle_fields.values())))
        return root_file.unit_edges(trees, first, last)

    def _event_numbers(self, first: int, last: int) -> Any:
        if self._flat is not None:
            return self._flat.numbers[first:last]
        if self._number is None:
            return super()._event_numbers(first, last)
        try:
            return self._read_numbers(first, last)
        except DamagedError:
            return super()._event_numbers(first, last)

    def _read_numbers(self, first: int, last: int) -> Array:
        assert self._number is not None
        place = f"{self._tree_place}, branch {self._number!r}"
        array = root_file.read_arrays(self._tree, self._tree_place, [self._number], first, last)
        return event_numbers(root_file.scalars(array[self._number], place), place)

    def _check_numbers(self) -> None:
        """Compare the numbers of all events; those that cannot be read cost their events later."""
        assert self._number is not None
        n = int(self._tree.num_entries)
        try:
            parts = [self._read_numbers(0, n)]
        except DamagedError:
            parts = []
            for first, last in itertools.pairwise(root_file.unit_edges([(self._tree, [self._number])], 0, n)):
                with contextlib.suppress(DamagedError):
                    parts.append(self._read_numbers(first, last))
        if parts:
            require_unique(np.concatenate(parts), f"{self._tree_place}, branch {self._number!r}")

    def _read_chunk(self, first: int, last: int) -> Chunk:
        if self._flat is not None:
            columns, offsets = self._flat.read_scalars(self._fields.values(), first, last)
            hits = Table({field: columns[branch] for field, branch in self._fields.items()}, offsets)
            numbers = self._flat.numbers[first:last]
            errors: dict[int, Exception] = {}
        else:
            array = root_file.read_arrays(self._tree, self._tree_place, self._all_branches(), first, last)
            numbers = np.arange(first, last)
            if self._number:
                place = f"{self._tree_place}, branch {self._number!r}"
                numbers = event_numbers(root_file.scalars(array[self._number], place), place)
            hits, errors = root_file.jagged_table(array, self._fields, self._tree_place, numbers)
        if "hit_id" not in hits.columns:
            hits.columns["hit_id"] = row_numbers(hits.offsets)
        particles = None
        if self._particles_by_number is not None:
            particles = self._particles_by_number.read(self._particle_fields, numbers)
        elif self._particles is not None:
            particles = self._read_particles(first, last, numbers, errors)
        return Chunk(first, numbers, hits, particles, errors)

    def _read_particles(self, first: int, last: int, numbers: Any, errors: dict[int, Exception]) -> Table:
        wanted = [
            *self._particle_fields.values(),
            *([self._particles_number] if self._particles_number else []),
        ]
        array = root_file.read_arrays(self._particles, self._particles_place, wanted, first, last)
        table, problems = root_file.jagged_table(array, self._particle_fields, self._particles_place, numbers)
        if self._particles_number and self._number:
            theirs = root_file.scalars(array[self._particles_number], self._particles_place)
            for i in np.flatnonzero(theirs != numbers).tolist():
                problems[i] = EventError(
                    f"{self._particles_place}, entry {first + i} is of event {theirs[i]}, "
                    f"tree {self.config.tree!r} has event {numbers[i]} there"
                )
        for i, problem in problems.items():
            errors.setdefault(i, problem)
        return table


def row_numbers(offsets: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """(n,) uint64: position of each row in its event, from 0."""
    rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    return np.asarray(rows, dtype=np.uint64)


def _check_mapping(config: RootEventsConfig) -> None:
    """Refuse mappings of columns that do not exist."""
    from mltrack_plugin.errors import ConfigurationError, did_you_mean

    for setting, mapping, columns in (
        ("branches", config.branches, HIT_COLUMNS),
        ("particle_branches", config.particle_branches, PARTICLE_COLUMNS),
    ):
        for field in mapping:
            if field != "event_number" and field not in columns:
                raise ConfigurationError(
                    f"{setting}: there is no column {field!r} to map. {did_you_mean(field, columns)}"
                )
