"""Pictures are drawn for full and for empty events."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from mltrack_plugin.event_data import Vertices
from mltrack_plugin.published.heptrkx.images.pictures import (
    draw_accuracy,
    draw_lines,
    draw_pulls,
    draw_segmentation,
    draw_vertices,
)


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_segmentation(tmp_path):
    image = np.eye(8)
    truth = np.where(image > 0, 0, -1)
    assert is_png(draw_segmentation(image, truth, np.full((8, 8), -1), tmp_path / "segmentation.png"))


@pytest.mark.parametrize("columns", [2, 5])
@pytest.mark.parametrize("n", [0, 2])
def test_lines(tmp_path, n, columns):
    lines = np.tile([1.0, 0.5, 0.2, 0.01, -0.5], (n, 1))[:, :columns]
    assert is_png(draw_lines(np.eye(8), lines, lines[:, :2], tmp_path / "lines.png"))


def test_accuracy_and_pulls(tmp_path):
    curve = ([1, 2, 3], [0.99, 0.95, 0.9], [0.01, 0.01, 0.01])
    assert is_png(draw_accuracy({"CNN": curve}, tmp_path / "accuracy.png"))
    pulls = {"intercept": np.random.default_rng(1).normal(size=100), "slope": np.array([0.0, 99.0])}
    assert is_png(draw_pulls(pulls, tmp_path / "pulls.png"))


@pytest.mark.parametrize("n", [0, 3])
def test_vertices(tmp_path, n):
    found = Vertices(np.zeros(n), np.ones(n), np.ones(n))
    probabilities = np.full((2, 6), 1 / 6)
    assert is_png(
        draw_vertices(np.zeros((3, 4, 10)), probabilities, 5.0, found, found, tmp_path / "vertices.png")
    )
