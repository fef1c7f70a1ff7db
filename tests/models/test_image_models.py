"""Networks on images: shapes, published sizes, exact conversions, and the same numbers through TorchScript."""

import numpy as np
import pytest
import torch

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.plane_images import gaussian_nll, line_parameters
from mltrack_plugin.models.vertex_cnn import VertexCNN, VertexCNNConfig

SMALL = {"planes": 13, "pixels": 10}
NETWORKS = {
    "lstm": ("image-segmentation", {**SMALL, "core": "lstm", "hidden": 6}, (3, 13, 10)),
    "convolutional lstm": ("image-segmentation", {**SMALL, "hidden": 4, "kernel": 3}, (3, 13, 10)),
    "cnn": ("image-segmentation", {**SMALL, "core": "cnn", "channels": [2, 3, 4]}, (3, 13, 10)),
    "line": (
        "track-regression-cnn",
        {**SMALL, "channels": [2, 3], "features": 5, "uncertainties": False},
        (3, 1, 2),
    ),
    "gauss": ("track-regression-cnn", {**SMALL, "channels": [2, 3], "features": 5}, (3, 1, 5)),
    "sequence": (
        "track-sequence-cnn",
        {**SMALL, "channels": [2, 3], "features": 5, "hidden": 4, "slots": 4},
        (3, 4, 6),
    ),
    "vertex": ("vertex-cnn", {"n_phi": 4, "bins": 8, "reach": 6, "filters": 5, "channels": 3}, (2, 2, 8)),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    architecture, settings, shape = NETWORKS[request.param]
    torch.manual_seed(1)
    return build_network(architecture, settings).eval(), shape


def test_shape_and_torchscript(network):
    module, shape = network
    inputs = module.example_inputs()
    with torch.inference_mode():
        wanted = module(*inputs)
        with pytest.warns(DeprecationWarning, match=r"deprecated|not supported"):
            scripted = torch.jit.script(module)
        found = scripted(*inputs)
    assert wanted.shape == shape
    assert torch.isfinite(wanted).all()
    torch.testing.assert_close(found, wanted)


def test_an_image_of_another_size_is_refused(network):
    module, _ = network
    (image,) = module.example_inputs()
    with pytest.raises(RuntimeError, match="must have shape"):
        module(image[..., :-1])


@pytest.mark.parametrize("core", ["lstm", "convolutional lstm", "cnn"])
def test_probabilities_of_a_plane_sum_up_to_one(core):
    module = build_network(*NETWORKS[core][:2])
    with torch.inference_mode():
        probability = module(*module.example_inputs())
    torch.testing.assert_close(probability.sum(dim=2), torch.ones(3, 13))


def test_published_lstm_has_its_size():
    # HEP.TrkX's network for background tracks: LSTM(50 -> 100) and a dense layer back to 50 pixels; torch keeps two
    # bias vectors per gate where Keras has one.
    module = build_network("image-segmentation", {"hidden": 100})
    published = 4 * 100 * (50 + 100 + 1) + 50 * (100 + 1)
    assert sum(p.numel() for p in module.parameters()) == published + 4 * 100


@pytest.mark.parametrize("kernel", [0, 3])
def test_lstm_reads_planes_in_order(kernel):
    """A change behind a plane does not change what the network says of it."""
    module = build_network("image-segmentation", {**SMALL, "hidden": 6, "kernel": kernel})
    (image,) = module.example_inputs()
    changed = image.clone()
    changed[:, 7:] = 1 - changed[:, 7:]
    with torch.inference_mode():
        before, after = module(image), module(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_convolutional_lstm_treats_all_pixels_alike():
    """An image moved by a pixel gives the same scores, moved, away from the edges."""
    torch.manual_seed(1)
    module = build_network("image-segmentation", {"planes": 4, "pixels": 30, "hidden": 5, "kernel": 3})
    image = torch.zeros(1, 4, 30)
    image[0, [0, 1, 2, 3], [14, 15, 15, 16]] = 1.0
    with torch.inference_mode():
        scores, moved = module.scores(image), module.scores(image.roll(1, dims=2))
    torch.testing.assert_close(moved[..., 8:24], scores[..., 7:23])


def test_lines_in_physical_units():
    # Entry in the middle, exit at the upper edge of 20 pixels of 0.5 mm; 10 planes every 2 mm.
    raw = torch.tensor([0.0, 1.0, np.log(0.2), np.log(0.1), 0.0])
    intercept, slope, sigma_b, sigma_m, rho = line_parameters(raw, 10, 20, 0.5, 2.0).tolist()
    assert intercept == pytest.approx(5.0)
    assert slope == pytest.approx(5.0 / 20.0)
    assert sigma_b == pytest.approx(1.0)
    assert sigma_m == pytest.approx(np.hypot(1.0, 0.5) / 20.0)
    # cov(b, m) = -var(b) / length without a correlation of entry and exit.
    assert rho * sigma_b * sigma_m == pytest.approx(-1.0 / 20.0)


def test_uncertainties_are_those_of_the_linear_map():
    raw = torch.tensor([0.1, -0.4, -2.0, -1.5, 0.8], dtype=torch.float64)
    line = line_parameters(raw, 50, 50, 1.0, 1.0)
    half, length = 25.0, 50.0
    sigma = np.exp([-2.0, -1.5]) * half
    rho = 0.99 * np.tanh(0.8)
    cov = np.array([[sigma[0] ** 2, rho * sigma.prod()], [rho * sigma.prod(), sigma[1] ** 2]])
    jacobian = np.array([[1.0, 0.0], [-1.0 / length, 1.0 / length]])
    wanted = jacobian @ cov @ jacobian.T
    found = line.numpy()
    np.testing.assert_allclose(found[2:4] ** 2, np.diag(wanted))
    np.testing.assert_allclose(found[4] * found[2] * found[3], wanted[0, 1])


def test_likelihood_is_that_of_a_two_dimensional_gaussian():
    raw = torch.tensor([0.1, -0.4, -2.0, -1.5, 0.8], dtype=torch.float64)
    target = torch.tensor([0.2, -0.3], dtype=torch.float64)
    sigma, rho = np.exp([-2.0, -1.5]), 0.99 * np.tanh(0.8)
    cov = np.array([[sigma[0] ** 2, rho * sigma.prod()], [rho * sigma.prod(), sigma[1] ** 2]])
    gaussian = torch.distributions.MultivariateNormal(raw[:2], torch.from_numpy(cov))
    expected = -gaussian.log_prob(target) - np.log(2 * np.pi)
    assert float(gaussian_nll(raw, target)) == pytest.approx(float(expected))


def test_untrained_vertex_finder_already_points_at_the_vertex():
    """The kernels start as a Hough transform: three tracks light up the bin of their common origin."""
    config = VertexCNNConfig(n_phi=8, filters=32, max_cot_theta=2.0)
    torch.manual_seed(1)
    network = VertexCNN(config)
    image = torch.zeros(1, 3, 8, config.columns)
    vertex = 37.5
    for phi, cot_theta in ((0, -1.0), (3, 0.2), (6, 1.5)):
        for layer, radius in enumerate(config.radii):
            column = int((vertex + radius * cot_theta + config.z_max) / config.bin_width)
            image[0, layer, phi, column] = 1.0
    with torch.inference_mode():
        lines = torch.relu(network.inclinations(image)).sum(dim=(1, 2))[0]
    centre = (torch.arange(config.bins) - 0.5 * (config.bins - 1)) * config.bin_width
    assert abs(float(centre[lines.argmax()]) - vertex) <= config.bin_width


def test_soft_tracks_are_seen_in_wide_rows_alone():
    """Three hits in neighbouring narrow rows are a line where the rows are merged, and none before."""
    config = VertexCNNConfig(n_phi=8, coarsen=4, filters=32, max_cot_theta=2.0)
    torch.manual_seed(1)
    network = VertexCNN(config)
    seen = []
    network.head.register_forward_pre_hook(lambda head, inputs: seen.append(inputs[0]))
    for rows in ((1, 1, 1), (1, 2, 3)):
        image = torch.zeros(1, 3, 8, config.columns)
        for layer, (row, radius) in enumerate(zip(rows, config.radii, strict=True)):
            image[0, layer, row, int((2.5 + 0.2 * radius + config.z_max) / config.bin_width)] = 1.0
        with torch.inference_mode():
            network.scores(image)
    narrow, wide = torch.cat(seen).chunk(2, dim=1)
    narrow, wide = narrow.amax(dim=(1, 2)), wide.amax(dim=(1, 2))
    assert wide[0] == wide[1]
    assert narrow[0] == wide[0]
    assert narrow[1] < 0.5 * narrow[0]


@pytest.mark.parametrize(
    ("architecture", "settings", "words"),
    [
        ("vertex-cnn", {"radii": [30.0, 70.0]}, "radii"),
        ("vertex-cnn", {"n_phi": 32, "coarsen": 5}, "merged by 5"),
        ("image-segmentation", {"core": "gru"}, "core"),
        ("image-segmentation", {"kernel": 2}, "odd"),
        ("track-sequence-cnn", {"slot": 3}, "slots"),
        ("image-segmentatio", {}, "image-segmentation"),
    ],
)
def test_wrong_settings_are_refused(architecture, settings, words):
    with pytest.raises(ConfigurationError, match=words):
        build_network(architecture, settings)
