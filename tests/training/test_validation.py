"""The scores of validation during a training are those that mltrack evaluate gives."""

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from mltrack_plugin.clustering import cluster_hdbscan
from mltrack_plugin.evaluation.summary import ScoreAccumulator
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.metrics_file import read_metrics
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task
from mltrack_plugin.training.validation import METRIC_NAMES, ValidationScores, event_weights

LINEAR = make_dataset("redvid-10-50-linear", {"tracks": (4, 9), "noise": 0.1})


def events(n):
    return list(LINEAR.events(n, seed=1, split="validation"))


def rows_of(event):
    """(n_hits,) row of each hit's particle, -1 = noise: particles are numbered from 1."""
    return event.truth_links.particle_id.astype(np.int64) - 1


def clustered(event, rng):
    """Tracks that are mostly right: true groups, one hit in twelve moved to other tracks or to none."""
    labels = rows_of(event)
    moved = rng.random(len(labels)) < 0.08
    return np.where(moved, rng.integers(-1, labels.max() + 1, len(labels)), labels)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_the_accumulator(weighted):
    rng = np.random.default_rng(1)
    scores, wanted = ValidationScores(), ScoreAccumulator(detector="redvid")
    for event in events(6):
        links = event.truth_links
        if weighted:
            links = type(links)(links.particle_id, rng.uniform(0.1, 1.0, len(links)).astype(np.float32))
        labels = clustered(event, rng)
        tracks = ProtoTracks.from_labels(labels)
        wanted.add(event.hits, links, tracks, event.particles)
        scores.add(labels, rows_of(event), links.weight)
    result, found = wanted.result(), scores.result("_0")
    assert found["val_score_0"] == pytest.approx(result["trackml_score"])
    for name in METRIC_NAMES:
        assert found[f"val_{name}_0"] == pytest.approx(result[name])
    assert 0 < found["val_perfect_match_efficiency_0"] < found["val_double_majority_efficiency_0"]
    scores.clear()
    assert scores.result() == {}


def test_nothing_found_counts_as_zero():
    scores = ValidationScores()
    scores.add([-1, -1, -1], [-1, -1, -1])
    assert set(scores.result().values()) == {0.0}


def test_weights_are_those_of_mltrack_evaluate():
    event = redvid_event(RedvidConfig(track_type="helical"), [1])
    assert event_weights(event, "redvid") is None
    recipe = event_weights(event, "generic")
    assert recipe.sum() == pytest.approx(1.0)
    assert recipe.std() > 0


@pytest.mark.parametrize("name", ["encreg-redvid-10-50-linear", "encemb-generic"])
def test_logged_validation_is_a_clustering_of_whole_events(name, tmp_path, monkeypatch):
    """With weights that differ from hit to hit, so that the logged score shows they belong to their hits."""
    rng = np.random.default_rng(3)
    known = {}

    def weights(event, detector):
        key = event.hits.x.tobytes()
        if key not in known:
            known[key] = rng.uniform(0.1, 1.0, len(event.hits))
        return known[key]

    module_name = "encreg" if name.startswith("encreg") else "encemb"
    monkeypatch.setattr(f"mltrack_plugin.training.{module_name}.event_weights", weights)
    redvid = {
        "dataset": "redvid-10-50-linear",
        "dataset_settings": {"tracks": [6, 12]},
        "detectors": ["redvid"],
    }
    if module_name == "encemb":
        network = load_training_config(name, tiny=True).network
        redvid |= {"network": {**network, "length_scale": 10.0}, "clustering": {"epsilon": 0.0}}
    config = load_training_config(
        name,
        tiny=True,
        **redvid,
        length_unit="redvid",
        precision="32-true",
        steps=3,
        validation_events=7,
        oversized_events="leave-out",
    )
    last = train(config, tmp_path, device="cpu", threads=1, progress=False)
    logged = next(row for row in read_metrics(tmp_path / "metrics.csv") if "val_score" in row)

    task = make_task(config)
    module = task.module()
    module.load_state_dict(torch.load(last, weights_only=True)["state_dict"])
    module.eval()
    scores = ValidationScores()
    for index in range(7):
        event = task.dataset.event(index, seed=config.seed, split="validation")
        positions = torch.from_numpy(np.array(event.hits.positions))
        with torch.no_grad():
            if module_name == "encreg":
                points = module.network.normalised(
                    positions[None], torch.ones(1, len(positions), dtype=torch.bool)
                )[0]
                points = points / module.log_scale.exp()
            else:
                count = torch.tensor([len(positions)])
                points = module.network.head(
                    module.network.features(positions, torch.zeros(count, dtype=int), count)
                )
        chosen = config.clustering
        labels, _ = cluster_hdbscan(
            points.numpy(),
            min_cluster_size=chosen.min_cluster_size,
            min_samples=chosen.min_samples,
            epsilon=chosen.epsilon,
            **({} if module_name == "encreg" else {"backend": "knn"}),
        )
        scores.add(labels, rows_of(event), known[event.hits.x.tobytes()])
    for metric, value in scores.result().items():
        # Padding and batches change the last digits of the points, which may move single hits.
        assert logged[metric] == pytest.approx(value, abs=0.02)
    assert logged["val_score"] > 0
