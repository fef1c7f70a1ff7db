"""UNet: classes of hits, azimuth closes, hits of one pixel keep apart, padding and other events change nothing."""

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import load_model, pack, save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.unet import OUTPUTS, UNet, UNetConfig
from mltrack_plugin.training.config import load_training_config

PHI = {"name": "phi", "edges": np.linspace(-np.pi, np.pi, 7).tolist()}
THETA = {"name": "theta", "edges": [0.0, 0.5, 1.0, 2.0, 2.6, 3.1]}
CHARGE = {"name": "q", "edges": [-1.0, 0.0, 1.0]}
INVERSE = {"name": "inverse_p", "edges": [0.3, 0.45, 0.55, 0.7, 1.1]}
RADIAL = {"name": "pt", "edges": [0.0, 0.3, 0.6, 1.0, 2.0]}
PITCH = {"name": "pz", "edges": [-2.5, -1.0, 0.0, 1.0, 2.5]}
SIZES = {
    "direction": {"pixels": (64, 32), "bins": (PHI, THETA)},
    "helix": {"pixels": (32, 24), "extent": (0.3, 1.2), "bins": (CHARGE, THETA, INVERSE)},
    "cylindrical": {"pixels": (15, 16, 21), "extent": (7.0, 10.0), "bins": (CHARGE, RADIAL, PITCH)},
}


def make(image):
    torch.manual_seed(1)
    network = UNet(UNetConfig(image=image, widths=(8, 12, 16), length_scale=10.0, **SIZES[image])).eval()
    # Heads of untrained networks that start from the hit's place give 0.
    torch.nn.init.normal_(network.head.weight, std=0.3)
    return network


@pytest.fixture(params=sorted(SIZES))
def network(request):
    return make(request.param)


def random_hits(n, seed=1):
    rng = np.random.default_rng(seed)
    r, phi, z = rng.uniform(0.1, 7, n), rng.uniform(-np.pi, np.pi, n), rng.uniform(-10, 10, n)
    return torch.tensor(np.stack([r * np.cos(phi), r * np.sin(phi), z], 1), dtype=torch.float32)


def log_probabilities(network, hits):
    with torch.inference_mode():
        return network.log_probabilities(hits, torch.zeros(len(hits), dtype=torch.long))


def test_probabilities_sum_to_one(network):
    found = log_probabilities(network, random_hits(50)).exp()
    torch.testing.assert_close(found[:, :, 0].sum(1), torch.ones(50), rtol=0, atol=1e-5)
    first = 1
    for n in network.shape:
        part = found[:, :, first : first + n].sum(2)
        torch.testing.assert_close(part, torch.ones_like(part), rtol=0, atol=1e-4)
        first += n
    assert first == found.shape[2]


def test_choices_are_the_best_four_of_all_classes(network):
    found = log_probabilities(network, random_hits(40))
    total = found[:, :, 0]
    first = 1
    for n in network.shape:
        total = total[..., None] + found[:, :, first : first + n].view(
            40, network.views, *[1] * (total.dim() - 2), n
        )
        first += n
    assert total[0].numel() == network.bins.n_classes
    best, number = total.flatten(1).topk(4, dim=1)
    choices = network.choices(found)
    assert (choices[:, 0::2] == number).all()
    torch.testing.assert_close(choices[:, 1::2], best.exp(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("image", ["direction", "helix"])
def test_an_untrained_network_gives_each_hit_the_bin_that_it_lies_in(image):
    """Along an ideal track every hit has the track's class; for the helix in the view of its direction of turning."""
    torch.manual_seed(1)
    network = UNet(UNetConfig(image=image, widths=(8, 12), **SIZES[image])).eval()
    t = torch.linspace(1.0, 4.0, 10)
    if image == "direction":
        track = [-2.5, 2.3]
        r, phi, z = t, torch.full((10,), -2.5), t / np.tan(2.3)
    else:
        track = [-1.0, np.arctan2(0.8, -1.5), 1.0 / np.hypot(0.8, 1.5)]
        r, phi, z = 0.8 * t, -t, -1.5 * t
    hits = torch.stack([r * torch.cos(phi), r * torch.sin(phi), z], dim=1)
    # The direction of turning is not to be seen on a hit alone: only the view of the true one is looked at.
    found = torch.zeros_like(log_probabilities(network, hits))
    found[:, 1:, 0] = -50.0
    found[:, :, 1:] = log_probabilities(network, hits)[:, :, 1:]
    assert (network.choices(found)[:, 0] == network.bins.classes(np.array([track]))[0]).all()


def test_azimuth_closes():
    """Turning an event by whole pixels and bins turns the classes; a hit sees across the border of the image."""
    network = make("direction")
    # The inputs that tell the azimuth: as a number, and its sines and cosines.
    network.embed.weight.data[:, [2, 3, 7, 8, 9, 13, 14, 15]] = 0.0
    hits = random_hits(80)
    # A sixth of a turn is no whole number of 64 pixels; half a turn is 32 pixels and three bins.
    turned = hits * torch.tensor([-1.0, -1.0, 1.0])
    before, after = log_probabilities(network, hits), log_probabilities(network, turned)
    rolled = torch.cat([before[..., :1], before[..., 1:7].roll(3, dims=2), before[..., 7:]], dim=2)
    torch.testing.assert_close(after, rolled, rtol=1e-3, atol=1e-3)


def test_hits_of_one_pixel_keep_their_own_classes():
    network = make("direction")
    # The same pixel, another radius.
    hits = torch.cat([random_hits(20), torch.tensor([[1.0, 1.0, 2.0], [3.0, 3.006, 6.0]])])
    found = log_probabilities(network, hits)
    assert (found[20] - found[21]).abs().max() > 1e-4
    without = log_probabilities(network, hits[:21])
    # The other hit of the pixel counts.
    assert (found[20] - without[20]).abs().max() > 1e-4


@pytest.mark.parametrize("n", [1, 5, 150])
def test_padding_and_other_events_change_nothing(network, n):
    features = torch.zeros(3, 200, 3)
    mask = torch.zeros(3, 200, dtype=torch.bool)
    features[0], mask[0] = random_hits(200, seed=2), True
    features[1, :n], mask[1, :n] = random_hits(n), True
    event = torch.nonzero(mask)[:, 0]
    with torch.inference_mode():
        together = network.log_probabilities(features[mask], event)
        batch = network(features, mask)
    torch.testing.assert_close(
        together[event == 1], log_probabilities(network, random_hits(n)), rtol=1e-4, atol=1e-4
    )
    assert batch.shape == (3, 200, 8)
    assert (batch[1, n:] == 0).all()
    assert (batch[2] == 0).all()
    with torch.inference_mode():
        assert network(features[:, :0], mask[:, :0]).shape == (3, 0, 8)


def test_order_of_hits_does_not_matter(network):
    hits = random_hits(150)
    order = torch.from_numpy(np.random.default_rng(3).permutation(150))
    torch.testing.assert_close(
        log_probabilities(network, hits)[order], log_probabilities(network, hits[order]), rtol=1e-4, atol=1e-4
    )


def test_gradients_reach_every_weight():
    network = make("helix")
    network.log_probabilities(random_hits(60), torch.zeros(60, dtype=torch.long)).square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad.abs().max() > 0, name


def card(network, image):
    return ModelCard(
        name="tiny-unet",
        architecture="unet",
        hyperparameters=UNetConfig(
            image=image, widths=(8, 12, 16), length_scale=10.0, **SIZES[image]
        ).model_dump(mode="json"),
        features=("x", "y", "z"),
        units=dict.fromkeys("xyz", "redvid"),
        coordinate_system="cartesian",
        detectors=("redvid",),
        outputs=OUTPUTS,
        output_scales=(1.0,) * 8,
    )


@pytest.mark.parametrize("image", ["helix", "cylindrical"])
def test_archive_gives_the_same_classes(image, tmp_path):
    network = make(image)
    model = load_model(save_torchscript(network, card(network, image), tmp_path / "tiny.pt"))
    hits = random_hits(150)
    with torch.inference_mode():
        wanted = network(hits[None], torch.ones(1, 150, dtype=torch.bool))[0].numpy()
    found = model.predict(hits.numpy())
    np.testing.assert_array_equal(found[:, 0::2], wanted[:, 0::2])
    np.testing.assert_allclose(found[:, 1::2], wanted[:, 1::2], rtol=1e-5, atol=1e-6)
    assert model.predict(np.zeros((0, 3), dtype=np.float32)).shape == (0, 8)
    again = build_network(model.card.architecture, model.card.hyperparameters)
    again.load_state_dict(network.state_dict())


def test_pixels_by_value_cannot_be_exported_as_a_graph():
    network = make("direction")
    with pytest.raises(ModelError, match="cannot be exported"):
        pack(network, card(network, "direction"), ".pt2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": (64, 32, 8)}, "2 axes"),
        ({"pixels": (66, 32)}, "halved"),
        ({"bins": (THETA, PHI)}, "phi, theta"),
        (
            {"bins": ({"name": "phi", "edges": (-3.2, 3.2)}, {"name": "theta", "edges": (0.0, 3.2)})},
            "4 classes",
        ),
        ({"image": "helix", "bins": (RADIAL, PITCH)}, "q, theta, inverse_p"),
    ],
)
def test_wrong_sizes_are_named(changes, message):
    settings = {"image": "direction", "widths": (8, 12, 16), **SIZES["direction"], **changes}
    with pytest.raises(ConfigurationError, match=message):
        build_network("unet", settings)


def test_published_sizes():
    """Four scales of 32, 64, 128 and 128 channels over voxels, 900 classes."""
    config = load_training_config("unet-paper-redvid-50-100-helical")
    assert config.network["widths"] == [32, 64, 128, 128]
    assert np.prod(list(config.bins.values())) == 900
    bins = tuple({"name": name, "edges": np.linspace(0, 1, n + 1)} for name, n in config.bins.items())
    network = build_network("unet", {**config.network, "bins": bins})
    assert network.stem.weight.shape == (27, 32, 32)
