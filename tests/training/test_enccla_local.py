"""EncCla with local attention starts from an embedding: what it takes over, what it knows, what it refuses."""

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.clustering.class_groups import class_groups
from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.evaluation.matching import match_tracks
from mltrack_plugin.evaluation.scores import trackml_score
from mltrack_plugin.models.consensus import OUTPUTS
from mltrack_plugin.models.enccla_local import EncClaLocalConfig
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event
from mltrack_plugin.training.local_class_start import started_from_embedding
from mltrack_plugin.training.targets import hit_targets

SOURCE = "encemb-redvid-10-50-linear"
TARGETS = ("sin_phi", "cos_phi", "theta")


def event(index, tracks=(20, 30)):
    return redvid_event(RedvidConfig(tracks=tracks), [1, index])


@pytest.fixture(scope="module")
def embedding():
    return eager_network(SOURCE)


@pytest.fixture(scope="module")
def events():
    return [event(i) for i in range(40)]


@pytest.fixture(scope="module")
def bins(events):
    found = [hit_targets(e.particles, e.truth_links, ("phi", "theta"))[0] for e in events]
    return QuantileBins.measured(np.concatenate(found), {"phi": 24, "theta": 12})


@pytest.fixture(scope="module")
def started(embedding, events, bins):
    return started_from_embedding(settings(embedding), bins, SOURCE, events, TARGETS, width=0.4)


def settings(embedding):
    return {**embedding[1].hyperparameters, "parameters": 3, "consensus_rounds": 4}


def test_encoder_and_embedding_are_taken_over(embedding, started):
    theirs = embedding[0].state_dict()
    for name, value in started.state_dict().items():
        if name in theirs and not name.startswith("head."):
            torch.testing.assert_close(value, theirs[name])
    torch.testing.assert_close(started.head.weight[: started.embedding], theirs["head.weight"])
    torch.testing.assert_close(started.log_width.exp(), torch.full((started.embedding,), 0.4))


def test_the_start_finds_tracks(started):
    """Straight tracks of 24 x 12 bins, untrained as a classifier: bins that two tracks share are most of the loss."""
    found, possible = [], []
    for index in range(1000, 1006):
        test = event(index)
        _, row = hit_targets(test.particles, test.truth_links, ("phi",))
        values, _ = hit_targets(test.particles, test.truth_links, ("phi", "theta"))
        hits = torch.from_numpy(np.array(test.hits.positions, dtype=np.float32))[None]
        with torch.no_grad():
            output = started(hits, torch.ones(hits.shape[:2], dtype=torch.bool))[0].numpy()
        labels, _ = class_groups(output[:, 0::2].astype(np.int64), output[:, 1::2])
        ids = (row + 1).astype(np.uint64)
        found.append(trackml_score(match_tracks(labels, ids)).value)
        possible.append(trackml_score(match_tracks(started.bins.classes(values), ids)).value)
    assert np.mean(found) > 0.8 * np.mean(possible)


def test_it_goes_on_from_its_own_kind(embedding, started, events, bins, tmp_path):
    card = embedding[1].model_copy(
        update={
            "architecture": "enccla-local",
            "hyperparameters": EncClaLocalConfig.with_bins(settings(embedding), bins).model_dump(mode="json"),
            "outputs": OUTPUTS,
            "output_scales": (1.0,) * 4,
        }
    )
    path = str(save_torchscript(started, card, tmp_path / "started.pt"))
    again = started_from_embedding(settings(embedding), bins, path, events[:1], TARGETS)
    for name, value in started.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
    other = QuantileBins(("phi", "theta"), (bins.edges[0], bins.edges[1][::2]))
    with pytest.raises(ConfigurationError, match=r"bins \{'phi': 24, 'theta': 12\}, not"):
        started_from_embedding(settings(embedding), other, path, events[:1], TARGETS)


def test_other_starts_are_refused(embedding, events, bins):
    with pytest.raises(ConfigurationError, match="no EncEmb or EncClaLocal but encreg"):
        started_from_embedding(settings(embedding), bins, "encreg-redvid-10-50-linear", events, TARGETS)
    narrow = {**settings(embedding), "d_ff": 16}
    with pytest.raises(ConfigurationError, match=r"another encoder \(layers.0"):
        started_from_embedding(narrow, bins, SOURCE, events, TARGETS)
    flat = {**settings(embedding), "embedding": 3}
    with pytest.raises(ConfigurationError, match="in 8 dimensions, not in 3"):
        started_from_embedding(flat, bins, SOURCE, events, TARGETS)
    # All shapes agree: only the settings tell that hits would be sorted into other blocks.
    for other in ({"block_size": 64}, {"length_scale": 7.0}):
        with pytest.raises(ConfigurationError, match=rf"another encoder \({next(iter(other))} differs"):
            started_from_embedding({**settings(embedding), **other}, bins, SOURCE, events, TARGETS)
