"""The picture of the weights of segments."""

import numpy as np
import pytest

from mltrack_plugin.errors import OutputError
from mltrack_plugin.published.heptrkx.graphs.picture import draw_evolution

pytest.importorskip("matplotlib")

NODES = np.array([[32.0, 3.1, 10.0], [72.0, -3.1, 20.0], [116.0, -3.0, 30.0]])
EDGES = np.array([[0, 1], [1, 2]])
WEIGHTS = np.array([[0.5, 0.4], [0.9, 0.01]])


@pytest.mark.parametrize("target", [None, np.array([True, False])])
def test_picture_is_written(tmp_path, target):
    path = draw_evolution(NODES, EDGES, WEIGHTS, target, tmp_path / "evolution.png", "three hits")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_graph_without_edges_shows_its_hits(tmp_path):
    nothing = np.zeros((2, 0))
    path = draw_evolution(NODES, nothing.astype(int), nothing, None, tmp_path / "hits.png")
    assert path.stat().st_size > 1000


def test_unknown_format_is_refused(tmp_path):
    with pytest.raises(OutputError, match="no picture format"):
        draw_evolution(NODES, EDGES, WEIGHTS, None, tmp_path / "evolution.nonsense")
