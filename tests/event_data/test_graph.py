"""HitGraph: what is refused, and the way to awkward and back."""

import numpy as np
import pytest

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import HitGraph


def graph(**changes):
    columns = {"rows": [2, 5, 6], "layer": [0, 1, 1], "edges": [[0, 0], [1, 2]], "edge_score": [0.25, 0.75]}
    return HitGraph(**{name: np.array(value) for name, value in (columns | changes).items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [5, 2, 6]}, "ascending"),
        ({"layer": [0, 1]}, r"'layer' must have shape"),
        ({"edges": [[0, 0], [1, 3]]}, "edges join nodes 0 to 3, the graph has 3 nodes"),
        ({"edges": [[0, 1], [1, 2]]}, "does not lead to a layer of higher number"),
        ({"edges": [[0, 0], [2, 1]]}, "sorted by inner"),
        ({"edges": [[0, 0], [1, 1]]}, "distinct"),
        ({"edges": [[0, 0]]}, r"'edges' must have shape"),
        ({"edge_score": [0.5]}, r"'edge_score' must have shape"),
        ({"edge_score": [0.5, 1.5]}, "between 0 and 1"),
        ({"edge_score": [0.5, np.nan]}, "between 0 and 1"),
    ],
)
def test_broken_graphs_are_refused(changes, message):
    with pytest.raises(EventDataError, match=message):
        graph(**changes)


def test_awkward_and_back():
    array = graph().to_awkward()
    assert array.fields == ["row", "layer", "outer", "edge_score"]
    assert array["outer"].tolist() == [[1, 2], [], []]
    assert HitGraph.from_awkward(array).equals(graph())


def test_awkward_without_scores():
    bare = HitGraph(np.array([1, 2]), np.array([0, 1]), np.array([[0], [1]]))
    assert HitGraph.from_awkward(bare.to_awkward()).equals(bare)
    assert bare.with_scores(np.array([0.5])).edge_score[0] == 0.5


@pytest.mark.parametrize("n", [0, 3])
def test_no_edges(n):
    empty = HitGraph(np.arange(n), np.zeros(n, dtype=int), np.zeros((2, 0), dtype=int), np.zeros(0))
    assert (len(empty), empty.n_edges) == (n, 0)
    assert HitGraph.from_awkward(empty.to_awkward()).equals(empty)
    assert HitGraph.from_arrays(empty.arrays()).equals(empty)
