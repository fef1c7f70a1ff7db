"""The network of small events in compiled code, against the network itself."""

import dataclasses

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.encemb_small import SmallEventEngine, can_run, with_small_events
from mltrack_plugin.models.encemb import EncEmb, EncEmbConfig

PATCHES = ({}, {"bending": 0.4, "shift": 0.5}, {"origin": 0.06, "bending": -0.15, "aspect": 2.0})
SIZES = {"d_model": 24, "n_heads": 3, "d_ff": 40, "block_size": 32, "embedding": 4, "patches": PATCHES}


def network(**changes):
    torch.manual_seed(1)
    made = EncEmb(EncEmbConfig(**SIZES | changes)).eval()
    with torch.no_grad():
        # Norms and biases that are not those of the start.
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


def random_hits(n, seed=1):
    rng = np.random.default_rng(seed)
    r, phi, eta = rng.uniform(30, 1000, n), rng.uniform(-np.pi, np.pi, n), rng.uniform(-3, 3, n)
    return np.stack([r * np.cos(phi), r * np.sin(phi), r * np.sinh(eta)], 1).astype(np.float32)


def by_torch(made):
    def run(features, mask):
        with torch.inference_mode():
            return made(torch.from_numpy(features), torch.from_numpy(mask)).numpy()

    return run


@pytest.mark.parametrize("n", [1, 2, 7, 32])
def test_an_event_of_one_block_has_the_embedding_of_the_network(n):
    def refuse(*inputs):
        raise AssertionError("the other engine was asked")

    made = network()
    for seed in range(3):
        features, mask = random_hits(n, seed)[None], np.ones((1, n), dtype=np.bool_)
        small = SmallEventEngine(made, refuse)(features, mask)
        reference = by_torch(made)(features, mask)
        assert small.shape == reference.shape
        assert small.dtype == np.float32
        assert np.abs(small - reference).max() < 1e-5


def test_extreme_hits_have_the_embedding_of_the_network():
    """On the beam axis, beyond the range of pseudorapidity."""
    hits = np.array([[0, 0, 0], [0, 0, 500], [1e-3, 0, -3000], [1, 2, 3000], [-900, 0, 0]], dtype=np.float32)
    made, mask = network(), np.ones((1, len(hits)), dtype=np.bool_)
    small = SmallEventEngine(made, by_torch(made))(hits[None], mask)
    assert np.abs(small - by_torch(made)(hits[None], mask)).max() < 1e-4


@pytest.mark.parametrize("shape", [(1, 33), (2, 10), (1, 0)])
def test_larger_events_and_batches_go_to_the_other_engine(shape):
    asked = []

    def engine(features, mask):
        asked.append(features.shape)
        return np.zeros((*mask.shape, 4), dtype=np.float32)

    result = SmallEventEngine(network(), engine)(
        np.ones((*shape, 3), dtype=np.float32), np.ones(shape, dtype=np.bool_)
    )
    assert asked == [(*shape, 3)]
    assert result.shape == (*shape, 4)


def test_networks_with_other_parts_are_left_alone():
    assert can_run(network())
    assert not can_run(network(patches=(*PATCHES, {"turning": 1})))
    assert not can_run(network(surfaces={"discs": (600.0,), "disc_distance": 5.0}))
    model = load_model("encemb-redvid-helical")
    assert with_small_events(model) is model


def test_the_shipped_model_gives_the_same_numbers():
    model = load_model("encemb-generic")
    small = with_small_events(model)
    assert isinstance(small.engine, SmallEventEngine)
    assert dataclasses.replace(small, engine=model.engine) == model
    for n in (3, 128, 129):
        hits = random_hits(n, seed=n)
        assert small.predict(hits) == pytest.approx(model.predict(hits), abs=3e-5)
