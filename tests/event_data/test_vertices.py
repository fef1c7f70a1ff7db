"""Vertices: validated, and back and forth to awkward arrays."""

import numpy as np
import pytest

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Vertices


def test_columns_are_single_precision_and_read_only():
    vertices = Vertices([1.0, -2.0], [0.5, 0.5], [0.2, 0.9])
    assert len(vertices) == 2
    assert {v.dtype for v in vertices.arrays().values()} == {np.dtype(np.float32)}
    with pytest.raises(ValueError, match="read-only"):
        vertices.z[0] = 0.0


def test_awkward_and_back():
    vertices = Vertices([1.0, -2.0], [0.5, 0.5], [0.2, 0.9])
    assert vertices.to_awkward().z.to_list() == [1.0, -2.0]
    assert Vertices.from_awkward(vertices.to_awkward()).equals(vertices)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (([np.nan], [1.0], [1.0]), "finite"),
        (([0.0], [-1.0], [1.0]), "z_error"),
        (([0.0], [1.0], [np.inf]), "weight"),
        (([0.0, 1.0], [1.0], [1.0]), "shape"),
        (([0.0, 1.0, 2.0], [1.0] * 3, [1.0, 0.2, 0.9]), "sorted"),
    ],
)
def test_broken_vertices_are_refused(columns, words):
    with pytest.raises(EventDataError, match=words):
        Vertices(*columns)
