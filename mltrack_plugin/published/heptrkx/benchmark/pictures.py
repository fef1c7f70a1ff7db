"""The pictures beside the table of ``mltrack benchmark heptrkx``. Needs the extra ``[plot]``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mltrack_plugin.published.heptrkx.benchmark.rows import Row

#: Events whose tracks fill the figure of the hit predictors.
_TRACK_EVENTS = 100


def draw_all(folder: Path, rows: Sequence[Row], seed: int, families: Sequence[str]) -> list[Path]:
    """The picture of each system that the original showed one of.

    Args:
        folder: where they go; it exists.
        rows: of the table, from which the accuracy against occupancy is drawn.
        seed: of the test events.
        families: "graphs", "sequences", "images": those that are drawn.

    Returns:
        the files.

    Raises:
        MissingExtraError: without matplotlib, or pyacts and pythia8mc where events are simulated.
        OutputError: if a picture cannot be written.
    """
    drawn: list[Path] = []
    if "graphs" in families:
        from mltrack_plugin.published.heptrkx.benchmark.graphs import draw_edge_evolution

        drawn.append(draw_edge_evolution(folder / "gnn-edge-weights.png", seed))
    if "sequences" in families:
        drawn.append(_draw_predictor(folder / "hit-predictor-pulls.png", seed))
    if "images" in families:
        from mltrack_plugin.published.heptrkx.benchmark.image_pictures import (
            draw_occupancy,
            draw_toy_pictures,
            draw_vertex_event,
        )

        drawn += draw_toy_pictures(folder, seed)
        drawn.append(draw_occupancy(rows, folder / "image-occupancy.png"))
        drawn.append(draw_vertex_event(folder / "vertex-cnn.png", seed))
    return drawn


def _draw_predictor(path: Path, seed: int) -> Path:
    """Residuals per layer and pulls of the Gaussian hit predictor."""
    from mltrack_plugin.archives.archive import load_model
    from mltrack_plugin.published.heptrkx.benchmark.sequences import single_tracks
    from mltrack_plugin.published.heptrkx.sequences.picture import draw_residuals
    from mltrack_plugin.published.heptrkx.sequences.residuals import predict_residuals

    tracks = single_tracks(seed, _TRACK_EVENTS)
    return draw_residuals(predict_residuals(tracks, load_model("gaussian-hit-predictor").apply), path)
