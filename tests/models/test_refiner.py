"""Refiner: pulls of hits, what may change its answers and what may not, archives."""

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import load_model, pack, save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import ModelError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.hypotheses import Hypothesis
from mltrack_plugin.models.refiner import Planes, Refiner, RefinerConfig

SETTINGS = {
    "hypotheses": [{}, {"turning": 1}, {"bending": 0.3, "origin": 0.1}],
    "slots": 8,
    "d_model": 16,
    "n_heads": 2,
    "d_ff": 16,
    "passes": 2,
    "length_scale": 10.0,
    "output_mean": [0.5, -1.0],
    "output_scale": [2.0, 3.0],
}
NAMES = ("eta", "q")


@pytest.fixture
def network():
    torch.manual_seed(1)
    return Refiner(RefinerConfig(**SETTINGS)).eval()


def clusters(n=5, slots=8, hits=30, seed=1):
    """Positions, hits, memberships and mask of clusters of an event."""
    rng = np.random.default_rng(seed)
    event = rng.uniform(-8, 8, (hits, 3)).astype(np.float32)
    hit = np.stack([rng.permutation(hits)[:slots] for _ in range(n)])
    mask = np.arange(slots) < rng.integers(3, slots + 1, (n, 1))
    weight = rng.uniform(0, 1, (n, slots)).astype(np.float32) * (rng.uniform(size=(n, slots)) < 0.6)
    return [torch.from_numpy(a) for a in (event[hit], hit, weight.astype(np.float32) * mask, mask)]


def ask(network, inputs):
    with torch.inference_mode():
        return network(*inputs)


def test_outputs_are_probabilities_parameters_and_positive_uncertainties(network):
    inputs = clusters()
    output = ask(network, inputs)
    assert output.shape == (5, 8 + 1 + 4)
    membership, probability, sigma = output[:, :8], output[:, 8], output[:, -2:]
    assert (membership[~inputs[3]] == 0).all()
    assert ((membership > 0) == inputs[3]).all()
    assert ((probability > 0) & (probability < 1)).all()
    assert (sigma > 0).all()


def test_order_of_slots_and_clusters_does_not_matter(network):
    inputs = clusters()
    before = ask(network, inputs)
    slots, rows = torch.randperm(8), torch.randperm(5)
    after = ask(network, [a[rows][:, slots] for a in inputs])
    torch.testing.assert_close(after[:, :8], before[rows][:, slots], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[:, 8:], before[rows][:, 8:], rtol=1e-4, atol=1e-5)


def test_empty_slots_and_other_events_change_nothing(network):
    inputs = clusters()
    before = ask(network, inputs)
    wide = [torch.cat([a, torch.zeros_like(a[:, :3])], dim=1) for a in inputs]
    after = ask(network, wide)
    torch.testing.assert_close(after[:, :8], before[:, :8], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after[:, 11:], before[:, 8:], rtol=1e-4, atol=1e-5)
    other = clusters(seed=2)
    other[1] = other[1] + 30
    both = ask(network, [torch.cat(pair) for pair in zip(inputs, other, strict=True)])
    torch.testing.assert_close(both[:5], before, rtol=1e-4, atol=1e-5)


def test_claims_of_other_clusters_are_seen(network):
    inputs = clusters()
    # A copy of the first cluster claims all of its hits.
    output = ask(network, [torch.cat([a, a[:1]]) for a in inputs])
    alone = ask(network, inputs)
    assert (output[0] - alone[0]).abs().max() > 1e-3
    torch.testing.assert_close(output[0], output[5], rtol=1e-4, atol=1e-5)


def test_pulls_of_gaussian_hits_have_unit_width_and_do_not_see_themselves(network):
    """Azimuths with a known spread around directions near the seam; one hit is far off."""
    torch.manual_seed(3)
    centre = torch.linspace(3.0, 3.3, 500)[:, None, None]
    sigma = torch.tensor([0.02, 0.02, 0.05, 0.05, 0.1, 0.1, 0.1, 0.1])[None, :, None]
    coordinates = centre + sigma * torch.randn(500, 8, 6)
    coordinates = torch.where(network.planes.wraps, torch.remainder(coordinates, 2 * torch.pi), coordinates)
    log_precision = -2.0 * sigma.log().expand(500, 8, 6)
    weight = torch.ones(500, 8)
    pulls, log_chi2, found = network.comparison(coordinates, log_precision, weight)
    assert pulls.std().item() == pytest.approx(1.0, abs=0.03)
    assert pulls.std(dim=(0, 2)).sub(1).abs().max() < 0.1
    assert log_chi2.exp().mean().item() - 1 == pytest.approx(1.0, abs=0.1)
    error = network.planes.wrapped(found - centre[:, 0])
    assert error.std().item() == pytest.approx(float((1 / sigma.square()).sum() ** -0.5), rel=0.1)
    moved = coordinates.clone()
    moved[:, 3] += 0.2
    again, _, _ = network.comparison(moved, log_precision, weight)
    # sigma 0.05 and the others' 0.013: less than 4 standard deviations if the hit pulled the centre towards itself.
    torch.testing.assert_close(
        again[:, 3] - pulls[:, 3], torch.full((500, 6), 0.2 / 0.0518), rtol=0.01, atol=0.01
    )


def test_members_alone_make_the_centre(network):
    coordinates = torch.zeros(1, 4, 6)
    coordinates[0, 3] = 1.0
    weight = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    _, log_chi2, centre = network.comparison(coordinates, torch.full((1, 4, 6), 4.0), weight)
    assert centre.abs().max() < 1e-6
    assert log_chi2.abs().max() < 1e-6


def test_planes_are_those_of_the_hypotheses():
    planes = Planes(RefinerConfig(**SETTINGS))
    assert planes.wraps.tolist() == [False, True, False, False, False, True]
    hit = torch.tensor([[3.0, 4.0, 12.0]])
    eta, phi, _, length, eta_up, bent = planes(hit)[0].tolist()
    angle = np.arctan2(4, 3)
    assert (eta, phi) == pytest.approx((np.arcsinh(12 / 5), angle))
    # At z = 12 helices have turned by more than 12 / 2.6, so by one turn more.
    assert length == pytest.approx(np.log(13 / (angle + 2 * np.pi)))
    assert (eta_up, bent) == pytest.approx((np.arcsinh(11 / 5), angle + 0.03 * 5))
    turned = planes.wrapped(torch.tensor([6.0] * 6))
    assert turned.tolist() == pytest.approx([6.0, 6.0 - 2 * np.pi, 6.0, 6.0, 6.0, 6.0 - 2 * np.pi])


def card():
    return ModelCard(
        name="tiny-refiner",
        kind="clusters",
        architecture="refiner",
        hyperparameters=RefinerConfig(**SETTINGS).model_dump(mode="json"),
        features=("x", "y", "z"),
        units={**dict.fromkeys("xyz", "redvid"), **dict.fromkeys(NAMES, "1")},
        coordinate_system="cartesian",
        detectors=("redvid",),
        outputs=("membership", "track", *NAMES, *(f"sigma_{name}" for name in NAMES)),
    )


def test_archive_gives_the_same_answers(network, tmp_path):
    model = load_model(save_torchscript(network, card(), tmp_path / "tiny.pt"))
    for inputs in (clusters(), clusters(n=1, hits=8), [a[:0] for a in clusters()]):
        np.testing.assert_allclose(
            model.apply(*(a.numpy() for a in inputs)), ask(network, inputs).numpy(), rtol=1e-4, atol=1e-5
        )
    again = build_network(model.card.architecture, model.card.hyperparameters)
    again.load_state_dict(network.state_dict())
    assert RefinerConfig(**model.card.hyperparameters).hypotheses[1] == Hypothesis(turning=1)


def test_other_formats_and_sizes_are_refused(network):
    with pytest.raises(ModelError, match="clusters of hits"):
        card().check_kind("hits", "encemb")
    with pytest.raises(ModelError, match=r"only the format \.pt"):
        pack(network, card(), ".onnx")
    with pytest.raises(ValueError, match="multiple"):
        Refiner(RefinerConfig(**{**SETTINGS, "n_heads": 3}))
