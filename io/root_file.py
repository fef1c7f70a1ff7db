"""Opening ROOT files and reading from a TTree or an RNTuple, with errors a user can act on."""

from __future__ import annotations

import contextlib
import itertools
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from mltrack_plugin.errors import InputError, did_you_mean
from mltrack_plugin.io import storage
from mltrack_plugin.io.columns import Table, align
from mltrack_plugin.io.guarded import DamagedError, check_memory, guarded
from mltrack_plugin.io.reading import ColumnInfo
from mltrack_plugin.io.rntuple_guard import check_clusters, check_description, cluster_bytes, clusters_before
from mltrack_plugin.io.root_guard import BasketCheck, GuardedSource, check_branches, check_key, is_tree

Array = npt.NDArray[Any]

#: Places of a damaged tree that are tried before it is given up.
_TRIES = 20


def open_root(path: str) -> Any:
    """The open file.

    Raises:
        InputError: if it does not exist, is empty, is not a ROOT file, or is truncated.
    """
    if "://" not in path or path.startswith(("file://", "memory://")):
        _check_header(path)
    with guarded(path, "be opened as a ROOT file"):
        # The mapping keeps uproot from taking a colon in the path for an object name; without caches the
        # memory stays flat while the file is streamed.
        baskets = BasketCheck(path, 0)
        file = uproot.open(
            {path: None},
            array_cache=None,
            object_cache=None,
            handler=GuardedSource,
            decompression_executor=baskets,
        )
        baskets.file_bytes = file.file.source.size or 0
        return file


def _check_header(path: str) -> None:
    """Compare the length that the file's header states with the real one (ROOT TFile header layout)."""
    if storage.kind_of(path) == "folder":
        raise InputError(f"{path} is a folder, not a ROOT file")
    head = storage.first_bytes(path, 24)
    if not head:
        raise InputError(f"{path} is empty (0 bytes). Copy or produce it again")
    if head[:4] != b"root":
        raise InputError(
            f"{path} is not a ROOT file (it begins with {head[:4]!r}, not b'root'). Copy it again, or name its "
            "format with --format"
        )
    if len(head) < 24:
        raise InputError(f"{path} is truncated: it has only {len(head)} bytes")
    version = struct.unpack(">i", head[4:8])[0]
    end = struct.unpack(">q", head[12:20])[0] if version >= 1_000_000 else struct.unpack(">i", head[12:16])[0]
    size = storage.file_size(path)
    if size < end:
        raise InputError(
            f"{path} is truncated: its header states {end} bytes, the file has {size}. Copy or produce it "
            "again"
        )


def trees(file: Any) -> dict[str, Any]:
    """Name -> TTree or RNTuple, for all of the file (the newest cycle)."""
    with guarded(file.file.file_path, "be searched for its trees"):
        classes = file.classnames(recursive=True, cycle=False)
    return {
        name: kind
        for name, kind in classes.items()
        if "TTree" in kind or "RNTuple" in kind or "TNtuple" in kind
    }


def find_tree(file: Any, path: str, names: Sequence[str], *, content: bool = True) -> tuple[str, Any]:
    """The first of ``names`` that the file has.

    Args:
        content: the tree will be read, and not only its description.

    Raises:
        InputError: naming the file and the trees nearest to the first name, or what is damaged.
    """
    there = trees(file)
    for name in names:
        if name in there:
            return name, _tree(file, f"{path}, tree {name!r}", name, content)
    if not there:
        raise InputError(f"{path} holds no tree (TTree or RNTuple) at all")
    raise InputError(f"{path} has no tree {names[0]!r}. {did_you_mean(names[0], there)}")


def _tree(file: Any, place: str, name: str, content: bool) -> Any:
    with guarded(place):
        check_key(file.file.source, file.key(name), place)
        tree = file[name]
        if _is_rntuple(tree):
            check_description(tree, place)
            if content:
                check_clusters(tree, place)
        elif not is_tree(tree):
            raise DamagedError(f"{place} is described as {type(tree).__name__}; the file is damaged")
        branch_types(tree)
        if content and not 0 <= tree.num_entries < 1 << 62:
            raise DamagedError(f"{place} states {tree.num_entries} entries; it is damaged")
        return tree


def branch_types(tree: Any) -> dict[str, str]:
    """Name -> type of the top-level branches or fields."""
    if not _is_rntuple(tree):
        return dict(tree.typenames(recursive=False))
    return {field.name: field.typename for field in tree.fields}


def column_info(name: str, tree: Any) -> list[ColumnInfo]:
    """The tree's branches for ``mltrack inspect``."""
    return [ColumnInfo(name, branch, kind) for branch, kind in branch_types(tree).items()]


def choose_branches(
    tree: Any, place: str, mapping: Mapping[str, str], required: Iterable[str], optional: Iterable[str]
) -> dict[str, str]:
    """Field -> branch for all fields that the tree has.

    Args:
        mapping: branch names where they differ from the field names.

    Raises:
        InputError: naming file, tree and branch, and the nearest branches, if a required or mapped one is
        missing.
    """
    there = branch_types(tree)
    chosen = {}
    required = tuple(required)
    for field in (*required, *optional):
        branch = mapping.get(field, field)
        if branch in there:
            chosen[field] = branch
        elif field in required or field in mapping:
            wanted = f"branch {branch!r}" + (f" (for {field!r})" if branch != field else "")
            raise InputError(
                f"{place} has no {wanted}. {did_you_mean(branch, there)} If it has another name, map it with "
                f"branches: {{{field}: NAME}}"
            )
    return chosen


def read_arrays(tree: Any, place: str, branches: Iterable[str], start: int, stop: int) -> ak.Array:
    """Branches of entries ``start <= i < stop`` as an awkward record array.

    Raises:
        DamagedError: if the entries cannot be read.
    """
    wanted = set(branches)
    range_place = f"{place}: entries {start} to {stop - 1}"
    with guarded(range_place):
        _check_read(tree, place, wanted, start, stop)
        with clusters_before(tree, stop) if _is_rntuple(tree) else contextlib.nullcontext():
            array = tree.arrays(
                filter_name=lambda name: name in wanted, entry_start=start, entry_stop=stop, library="ak"
            )
        if len(array) != stop - start or (missing := wanted - set(array.fields)):
            raise DamagedError(
                f"{range_place} cannot be read: "
                + (
                    f"{len(array)} are there"
                    if len(array) != stop - start
                    else f"branch {min(missing)!r} is not there"
                )
                + "; the file is damaged"
            )
        return array


def _check_read(tree: Any, place: str, wanted: set[str], start: int, stop: int) -> None:
    """Raise ``DamagedError`` if the entries cannot be there, or would take more memory than they can be true to."""
    source = tree.file.source
    if _is_rntuple(tree):
        needed = cluster_bytes(tree, start, stop)
    else:
        tree.file.decompression_executor.begin()
        checked = source.checked_branches.setdefault(tree.cache_key, set())
        if wanted - checked:
            check_branches(tree, wanted | checked, place)
            checked |= wanted
        needed = 8 * (stop - start) * len(wanted)
    check_memory(needed, source.size or needed, f"{place}, entries {start} to {stop - 1},")


def jagged_table(
    arrays: ak.Array, fields: Mapping[str, str], place: str, numbers: Array
) -> tuple[Table, dict[int, Exception]]:
    """A table from jagged branches; events whose branches differ in length are emptied and reported.

    Args:
        fields: field -> branch.
        numbers: event numbers, for messages.
    """
    flat = {field: flatten(arrays[branch], f"{place}, branch {branch!r}") for field, branch in fields.items()}
    return align(flat, fields, place, numbers)


def flatten(array: ak.Array, place: str) -> tuple[Array, Array]:
    """Content and offsets of a singly jagged array of numbers.

    Raises:
        InputError: if it is not one.
        DamagedError: if its offsets do not rise; those after the first wrong one cannot be trusted either.
    """
    with guarded(place):
        layout = ak.to_layout(array)
        if layout.is_indexed or layout.is_option:
            layout = ak.to_layout(ak.to_packed(array))
        if not layout.is_list:
            raise InputError(f"{place} has one value per entry, a list of values (one per hit) is needed")
        layout = layout.to_ListOffsetArray64(True)
        offsets = np.asarray(layout.offsets.data)
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] > layout.content.length:
            raise DamagedError(f"{place} has lists of a negative length; it is damaged")
        content = layout.content[: int(offsets[-1])]
        if content.is_numpy and content.data.ndim == 1 and content.data.dtype.kind in "iufb":
            return np.asarray(content.data), offsets
        try:
            values = np.asarray(ak.to_numpy(content, allow_missing=False))
        except ValueError as error:
            raise InputError(f"{place} does not hold plain numbers per hit ({ak.type(array)})") from error
    if values.ndim != 1 or values.dtype.kind not in "iufb":
        raise InputError(f"{place} does not hold plain numbers per hit ({ak.type(array)})")
    return values, offsets


def equal_lists(
    arrays: ak.Array, branches: Iterable[str], place: str, numbers: Array
) -> tuple[dict[str, Array], Array]:
    """Content of jagged branches that have equally many values in every event, and the offsets of the events.

    Raises:
        InputError: naming event and branch where they have not.
    """
    flat: dict[str, Array] = {}
    first, edges = "", np.zeros(1, dtype=np.int64)
    for name in branches:
        values, offsets = flatten(arrays[name], f"{place}, branch {name!r}")
        if not flat:
            first, edges = name, offsets
        elif not np.array_equal(edges, offsets):
            k = int(np.argmax(np.diff(edges) != np.diff(offsets)))
            raise DamagedError(
                f"{place}, event {numbers[k]}: branch {name!r} has {int(np.diff(offsets)[k])} values, {first!r} has "
                f"{int(np.diff(edges)[k])}"
            )
        flat[name] = values
    return flat, edges


def scalars(array: ak.Array, place: str) -> Array:
    """A flat branch as a NumPy array."""
    with guarded(place):
        values = (
            np.asarray(ak.to_numpy(array, allow_missing=False))
            if array.ndim == 1
            else np.empty(0, dtype=object)
        )
    if values.dtype.kind not in "iufb" or len(values) != len(array):
        raise InputError(f"{place} must hold one number per entry, it holds {ak.type(array)}")
    return values


def chunk_edges(tree: Any, place: str, branches: Iterable[str], chunk_bytes: int) -> list[int]:
    """Entry ranges of about ``chunk_bytes`` that end where baskets or clusters end: each is read once.

    A chunk may grow to twice the size to reach the next such end; larger baskets of a TTree are split,
    clusters of an RNTuple never, because uproot decompresses them whole anyway.
    """
    n = int(tree.num_entries)
    if n == 0:
        return [0, 0]
    with guarded(place):
        natural = _cluster_edges(tree, set(branches), n)
        probe = ak.to_packed(first_entries(tree, place, branches, 8))
    per_chunk = max(1, int(chunk_bytes / max(1.0, probe.nbytes / len(probe))))
    reach = n if _is_rntuple(tree) else 2 * per_chunk
    edges = [0]
    while edges[-1] < n:
        after = natural[np.searchsorted(natural, edges[-1], side="right") :]
        within = int(np.searchsorted(after, edges[-1] + per_chunk, side="right"))
        end = int(after[max(within - 1, 0)])
        edges.append(end if end <= edges[-1] + reach else min(n, edges[-1] + per_chunk))
    return edges


def first_entries(tree: Any, place: str, branches: Iterable[str], count: int) -> ak.Array:
    """The first entries that can be read, at most ``count`` and at least one; the tree has some.

    Raises:
        DamagedError: about the first entries of all, if none are found where baskets or clusters begin.
    """
    wanted, n = list(branches), int(tree.num_entries)
    try:
        return read_arrays(tree, place, wanted, 0, min(n, count))
    except DamagedError:
        for start in unit_edges([(tree, wanted)], 0, n)[1:_TRIES]:
            with contextlib.suppress(DamagedError):
                if start < n:
                    return read_arrays(tree, place, wanted, start, start + 1)
        raise


def unit_edges(trees: Iterable[tuple[Any, Iterable[str]]], first: int, last: int) -> list[int]:
    """Entries from ``first`` to ``last`` where a basket of one of the branches, or a cluster, begins."""
    edges = {first, last}
    for tree, branches in trees:
        # The edges of a damaged list are no loss: its events cannot be read anyway.
        with contextlib.suppress(DamagedError), guarded("tree"):
            if _is_rntuple(tree):
                edges |= {int(c.num_first_entry) for c in tree.cluster_summaries}
            else:
                edges.update(*(tree[branch].entry_offsets for branch in branches))
    return sorted(e for e in edges if first <= e <= last)


def _cluster_edges(tree: Any, wanted: set[str], n: int) -> Array:
    if _is_rntuple(tree):
        edges = [int(c.num_first_entry) for c in tree.cluster_summaries]
    else:
        edges = tree.common_entry_offsets(filter_name=lambda name: name in wanted)
    return np.unique(np.append(np.asarray(edges, dtype=np.int64), n))


def _is_rntuple(tree: Any) -> bool:
    return "RNTuple" in type(tree).__name__


def read_meta(file: Any) -> dict[str, str]:
    """Key/value pairs of the file's ``meta`` tree; empty if it has none, or one that carries something else.

    Raises:
        InputError: if it cannot be read.
    """
    if "meta" not in trees(file):
        return {}
    path = file.file.file_path
    place = f"{path}, tree 'meta'"
    _, tree = find_tree(file, path, ["meta"])
    if not {"key", "value"} <= branch_types(tree).keys():
        return {}
    array = read_arrays(tree, place, ("key", "value"), 0, tree.num_entries)
    try:
        return dict(
            zip(*(_texts(array[name], f"{place}, branch {name!r}") for name in ("key", "value")), strict=True)
        )
    except DamagedError:
        raise
    except InputError:
        return {}


def _texts(array: ak.Array, place: str) -> list[str]:
    values, offsets = flatten(array, place)
    with guarded(place):
        return [bytes(values[a:b]).decode("utf-8") for a, b in itertools.pairwise(offsets.tolist())]
