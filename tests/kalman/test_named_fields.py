"""Kernels read and write states, hits, layers, fits and settings by name, never by a bare number."""

import ast
from pathlib import Path

import pytest

import mltrack_plugin

ROOMS = ("kalman", "following", "repair", "helix", "mixture", "clustering")
#: What has named fields; of any other array the first or last element, or the last column, may be taken by its number.
RECORDS = {
    "event", "fit", "hit", "layer", "material", "memory", "repair", "search", "settings", "state", "tag"
}  # fmt: skip


def literal(index: ast.expr) -> int | None:
    """The number that an index is, if it is written as one."""
    try:
        value = ast.literal_eval(index)
    except ValueError:
        return None
    return value if type(value) is int else None


def bare_indices(source: str) -> list[str]:
    """Subscripts that pick an element of a record, or a column, by its number."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Subscript) or isinstance(node.value, ast.Call):
            continue
        name = ast.unparse(node.value)
        if name == "np.r_" or name.endswith(".shape"):
            continue
        if isinstance(node.slice, ast.Tuple):
            bare = any(literal(part) not in (None, -1) for part in node.slice.elts)
        else:
            number = literal(node.slice)
            ends = number in (0, -1) and name.split(".")[-1] not in RECORDS
            bare = number is not None and not ends
        if bare:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "source", ["state[13]", "state[0]", "hits[i, 3]", "memory.fit[-1]", "parameters[:, 2]", "settings[1] = 2"]
)
def test_bare_numbers_are_found(source):
    assert len(bare_indices(source)) == 1


@pytest.mark.parametrize(
    "source", ["state.x", "rows[0]", "path[-1]", "matrix[U, PHI]", "np.unique(a)[1]", "a.shape[1]"]
)
def test_names_and_ends_are_none(source):
    assert bare_indices(source) == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_kernel_indexes_a_record_by_a_bare_number(room):
    files = sorted((Path(mltrack_plugin.__file__).parent / room).glob("*.py"))
    assert len(files) > 2
    found = {path.name: bare_indices(path.read_text(encoding="utf-8")) for path in files}
    assert {name: indices for name, indices in found.items() if indices} == {}
