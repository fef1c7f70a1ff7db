"""Opening ROOT files and reading from a TTree or an RNTuple, with errors a user can act on."""

from __future__ import annotations

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
from mltrack_plugin.io.reading import ColumnInfo

Array = npt.NDArray[Any]


def open_root(path: str) -> Any:
    """The open file.

    Raises:
        InputError: if it does not exist, is empty, is not a ROOT file, or is truncated.
    """
    if "://" not in path or path.startswith(("file://", "memory://")):
        _check_header(path)
    try:
        # The mapping keeps uproot from taking a colon in the path for an object name; without caches the
        # memory stays flat while the file is streamed.
        return uproot.open({path: None}, array_cache=None, object_cache=None)
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # uproot lets many exception types through for damaged files
        raise InputError(
            f"{path} cannot be opened as a ROOT file ({type(error).__name__}: {_brief(error)}); it may be "
            "damaged or truncated"
        ) from error


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
    classes = file.classnames(recursive=True, cycle=False)
    return {
        name: kind
        for name, kind in classes.items()
        if "TTree" in kind or "RNTuple" in kind or "TNtuple" in kind
    }


def find_tree(file: Any, path: str, names: Sequence[str]) -> tuple[str, Any]:
    """The first of ``names`` that the file has.

    Raises:
        InputError: naming the file and the trees nearest to the first name.
    """
    there = trees(file)
    for name in names:
        if name in there:
            try:
                return name, file[name]
            except Exception as error:  # damaged streamers raise many types
                raise InputError(f"{path}: tree {name!r} cannot be read: {_brief(error)}") from error
    if not there:
        raise InputError(f"{path} holds no tree (TTree or RNTuple) at all")
    raise InputError(f"{path} has no tree {names[0]!r}. {did_you_mean(names[0], there)}")


def branch_types(tree: Any) -> dict[str, str]:
    """Name -> type of the top-level branches or fields."""
    if hasattr(tree, "typenames") and not _is_rntuple(tree):
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
        InputError: if the entries cannot be read (damaged file).
    """
    wanted = set(branches)
    try:
        return tree.arrays(
            filter_name=lambda name: name in wanted, entry_start=start, entry_stop=stop, library="ak"
        )
    except Exception as error:  # decompression, deserialisation and source errors of many types
        raise InputError(
            f"{place}: entries {start} to {stop - 1} cannot be read ({type(error).__name__}: "
            f"{_brief(error)}); the file may be damaged or truncated"
        ) from error


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
    """
    layout = ak.to_layout(array)
    if layout.is_indexed or layout.is_option:
        layout = ak.to_layout(ak.to_packed(array))
    if not layout.is_list:
        raise InputError(f"{place} has one value per entry, a list of values (one per hit) is needed")
    layout = layout.to_ListOffsetArray64(True)
    offsets = np.asarray(layout.offsets.data)
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


def scalars(array: ak.Array, place: str) -> Array:
    """A flat branch as a NumPy array."""
    values = (
        np.asarray(ak.to_numpy(array, allow_missing=False)) if array.ndim == 1 else np.empty(0, dtype=object)
    )
    if values.dtype.kind not in "iufb" or len(values) != len(array):
        raise InputError(f"{place} must hold one number per entry, it holds {ak.type(array)}")
    return values


def chunk_edges(tree: Any, branches: Iterable[str], chunk_bytes: int) -> list[int]:
    """Entry ranges of about ``chunk_bytes`` that end where baskets or clusters end: each is read once.

    A chunk may grow to twice the size to reach the next such end; larger baskets of a TTree are split,
    clusters of an RNTuple never, because uproot decompresses them whole anyway.
    """
    n = int(tree.num_entries)
    if n == 0:
        return [0, 0]
    probe = ak.to_packed(read_arrays(tree, "file", branches, 0, min(n, 8)))
    per_chunk = max(1, int(chunk_bytes / max(1.0, probe.nbytes / min(n, 8))))
    natural = _cluster_edges(tree, set(branches), n)
    reach = n if _is_rntuple(tree) else 2 * per_chunk
    edges = [0]
    while edges[-1] < n:
        after = natural[np.searchsorted(natural, edges[-1], side="right") :]
        within = int(np.searchsorted(after, edges[-1] + per_chunk, side="right"))
        end = int(after[max(within - 1, 0)])
        edges.append(end if end <= edges[-1] + reach else min(n, edges[-1] + per_chunk))
    return edges


def _cluster_edges(tree: Any, wanted: set[str], n: int) -> Array:
    try:
        if _is_rntuple(tree):
            edges = [int(c.num_first_entry) for c in tree.cluster_summaries]
        else:
            edges = tree.common_entry_offsets(filter_name=lambda name: name in wanted)
    except Exception:  # the plan is an optimisation: any division of the entries is correct
        edges = []
    return np.unique(np.append(np.asarray(edges, dtype=np.int64), n))


def _is_rntuple(tree: Any) -> bool:
    return "RNTuple" in type(tree).__name__


def read_meta(file: Any) -> dict[str, str]:
    """Key/value pairs of the file's ``meta`` tree; empty if it has none."""
    if "meta" not in trees(file):
        return {}
    try:
        array = file["meta"].arrays(library="ak")
        pairs = zip(_texts(array["key"]), _texts(array["value"]), strict=True)
        return dict(pairs)
    except Exception:  # foreign trees named "meta" carry something else
        return {}


def _texts(array: ak.Array) -> list[str]:
    values = array.to_list()
    return [v if isinstance(v, str) else bytes(v).decode("utf-8") for v in values]


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else "no message"
