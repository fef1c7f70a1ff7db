"""The jobs on detector images from hits to tracks, scored as all other track finders; nothing was published of it."""

from __future__ import annotations

from typing import Any

from mltrack_plugin.evaluation.summary import ScoreAccumulator
from mltrack_plugin.event_data import Tracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.published.heptrkx.benchmark.events import unseen_events
from mltrack_plugin.published.heptrkx.benchmark.rows import Row

#: Job, data set, numbers of tracks per event, and further settings of the data set.
SAMPLES: tuple[tuple[str, str, tuple[int, ...], dict[str, Any]], ...] = (
    ("image-segmentation", "toy-planes", (1, 3, 6, 9), {}),
    ("image-segmentation", "toy-planes", (1, 3, 6, 9), {"noise": (0.1, 0.1)}),
    ("image-tracks", "toy-planes", (1, 3, 6), {}),
    ("image-segmentation-redvid", "redvid-endcap", (1, 3, 6), {}),
    ("image-tracks-redvid", "redvid-endcap", (1, 3, 6), {}),
    ("image-segmentation-barrel", "heptrkx-tracks", (1, 3, 6), {}),
)
#: Events of each row: some thousand images.
MOST_EVENTS = 50
METRICS = {"efficiency": "efficiency", "fake_rate": "fake rate", "trackml_score": "TrackML score"}


def job_rows(seed: int, events: int) -> list[Row]:
    """Efficiency, fake rate and TrackML score of the image jobs versus occupancy.

    Args:
        seed: of the test events.
        events: test events for each row, at most MOST_EVENTS.

    Raises:
        MissingExtraError: for the barrel, without pyacts.
    """
    rows = []
    for name, dataset, numbers, settings in SAMPLES:
        label = f"{dataset}, noise {settings['noise'][0]:g}" if settings else dataset
        label = f"{label}, {min(events, MOST_EVENTS)} events"
        for tracks in numbers:
            n = min(events, MOST_EVENTS)
            result = job_scores(name, dataset, {**settings, "tracks": (tracks, tracks)}, seed, n)
            for metric, text in METRICS.items():
                half = (result[f"{metric}_high"] - result[f"{metric}_low"]) / 2.0
                rows.append(
                    Row(
                        f"{name} (tracks)", f"{text}, {tracks} tracks", "-", result[metric], half, label, seed
                    )
                )
    return rows


def job_scores(name: str, dataset: str, settings: dict[str, Any], seed: int, events: int) -> dict[str, float]:
    """All metrics of the tracks of a shipped job."""
    job = load_job(name)
    steps = job.algorithms(device="cpu")
    accumulator = ScoreAccumulator(detector=job.detector_name)
    for step in steps:
        step.initialize()
    for index, event in enumerate(unseen_events(dataset, settings, seed, events)):
        store = EventStore(index, "benchmark")
        store.add("hits", event.hits)
        for step in steps:
            step.execute(store)
        accumulator.add(event.hits, event.truth_links, store.get("tracks", Tracks), event.particles)
    for step in steps:
        step.finalize()
    return accumulator.result()
