"""Pictures of the image methods."""

import pytest

pytest.importorskip("matplotlib")

from mltrack_plugin.published.heptrkx.benchmark.image_pictures import draw_occupancy
from mltrack_plugin.published.heptrkx.benchmark.rows import Row
from mltrack_plugin.published.heptrkx.images import pictures


def test_occupancy_takes_the_rows_without_noise(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "mltrack_plugin.published.heptrkx.benchmark.image_pictures.draw_accuracy",
        lambda curves, path: drawn.update(curves) or pictures.draw_accuracy(curves, path),
    )
    rows = [
        Row("cnn", "accuracy of classified hits, 1 tracks, noise 0.2", "0.925", 0.97, 0.01, "toy-planes", 1),
        *(
            Row(
                "cnn",
                f"accuracy of classified hits, {n} tracks, noise 0",
                "-",
                1 - n / 20,
                0.01,
                "toy-planes",
                1,
            )
            for n in (1, 6)
        ),
        Row("vertex-cnn", "efficiency of all vertices, pile-up 0", "-", 0.9, 0.01, "heptrkx-vertex", 1),
    ]
    path = draw_occupancy(rows, tmp_path / "occupancy.png")
    assert path.stat().st_size > 5000
    assert drawn == {"cnn": ([1.0, 6.0], [0.95, 0.7], [0.01, 0.01])}
