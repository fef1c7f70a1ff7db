"""Published checkpoints become archives with the outputs of the original architecture."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.trackformers import load_trackformers
from mltrack_plugin.cli.main import cli, main
from mltrack_plugin.clustering import cluster_hdbscan
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.training.targets import hit_targets
from mltrack_plugin.training.validation import ValidationScores

SAMPLES = (
    Path(os.environ.get("MLTRACK_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "trackformers"
)
REAL = {
    "redvid_10to50_linear_best": ("redvid-linear", 32, 4),
    "redvid_10to50_helical_best": ("redvid-helical", 64, 8),
    "10to50_tml_best": ("trackml", 32, 4),
}
MEAN, SCALE = (0.1, -0.2, 3.0), (100.0, 120.0, 500.0)


class Original(nn.Module):
    """The published architecture as its text describes it, from torch's own layers."""

    def __init__(self, d_model, n_heads, n_outputs):
        super().__init__()
        self.input_layer = nn.Linear(3, d_model)
        layer = nn.TransformerEncoderLayer(d_model, n_heads, 128, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.decoder = nn.Linear(d_model, n_outputs)

    def forward(self, x, mask):
        return self.decoder(self.encoder(self.input_layer(x), src_key_padding_mask=~mask))


def checkpoint(path, d_model=32, n_heads=4, n_outputs=3):
    torch.manual_seed(3)
    original = Original(d_model, n_heads, n_outputs).eval()
    state = {"model_state_dict": original.state_dict(), "epoch": 3}
    torch.save(state, path)
    return original


def check_equal(original, network, kind):
    """Hits in Cartesian coordinates here, and as the original wants them there.

    In double precision: the TrackML checkpoint amplifies the rounding of single precision to some 1e-4.
    """
    network, original = network.double(), original.double()
    rng = np.random.default_rng(1)
    r, azimuth, z = (
        rng.uniform(1, 6, (2, 40)),
        rng.uniform(0, 2 * np.pi, (2, 40)),
        rng.uniform(-6, 6, (2, 40)),
    )
    hits = torch.tensor(np.stack([r * np.cos(azimuth), r * np.sin(azimuth), z], axis=2), dtype=torch.float64)
    theirs = torch.tensor(np.stack([r, azimuth, z], axis=2), dtype=torch.float64)
    if kind == "trackml":
        hits = hits * 30
        theirs = (hits - network.embedding.mean) / network.embedding.scale
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 25:] = False
    with torch.no_grad():
        torch.testing.assert_close(
            network(hits, mask)[mask], original(theirs, mask)[mask], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize(("kind", "d_model", "heads"), [*REAL.values()])
def test_outputs_of_the_original_architecture(kind, d_model, heads, tmp_path):
    original = checkpoint(tmp_path / "best", d_model, heads, 4 if kind == "trackml" else 3)
    network, card = (
        load_trackformers(tmp_path / "best", kind, input_mean=MEAN, input_scale=SCALE)
        if (kind == "trackml")
        else load_trackformers(tmp_path / "best", kind)
    )
    check_equal(original, network, kind)
    assert card.hyperparameters["n_heads"] == heads
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in original.parameters())


@pytest.mark.parametrize(
    ("kind", "d_model", "outputs", "constants", "message"),
    [
        (
            "trackml",
            32,
            4,
            {"input_mean": MEAN, "input_scale": (300.0, 300.0, 0.0)},
            "three positive numbers",
        ),
        ("redvid-linear", 32, 3, {"input_mean": MEAN}, "as they are; leave input_mean and input_scale out"),
        (
            "redvid-helical",
            64,
            3,
            {"input_scale": SCALE},
            "as they are; leave input_mean and input_scale out",
        ),
    ],
)
def test_constants_of_the_inputs_that_make_no_sense(kind, d_model, outputs, constants, message, tmp_path):
    checkpoint(tmp_path / "best", d_model, 4, outputs)
    with pytest.raises(ConfigurationError, match=message):
        load_trackformers(tmp_path / "best", kind, **constants)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the published checkpoints are not here")
@pytest.mark.parametrize("file", REAL)
def test_real_checkpoints(file):
    kind, d_model, heads = REAL[file]
    constants = {"input_mean": MEAN, "input_scale": SCALE} if kind == "trackml" else {}
    network, card = load_trackformers(SAMPLES / file, kind, **constants)
    original = Original(d_model, heads, len(card.outputs)).eval()
    original.load_state_dict(
        torch.load(SAMPLES / file, map_location="cpu", weights_only=True)["model_state_dict"]
    )
    check_equal(original, network, kind)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the published checkpoints are not here")
@pytest.mark.parametrize("file", REAL)
def test_real_checkpoints_become_archives(file, tmp_path):
    """Equal within a thousandth of their scale, which single precision allows."""
    kind, _, _ = REAL[file]
    arguments = ["export", "--from-trackformers", str(SAMPLES / file), "--kind", kind]
    for name, values in (("--input-mean", MEAN), ("--input-scale", SCALE)) if kind == "trackml" else ():
        arguments += [name, *map(str, values)]
    assert main([*arguments, "--output", str(tmp_path / "real.pt")]) == 0


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the published checkpoints are not here")
def test_published_network_finds_tracks_in_the_shipped_job(tmp_path):
    """Its outputs have another scale than those that the epsilon of the job was tuned to."""
    archive = tmp_path / "linear.pt"
    arguments = ["export", "--from-trackformers", str(SAMPLES / "redvid_10to50_linear_best"), "--kind"]
    assert main([*arguments, "redvid-linear", "--output", str(archive)]) == 0
    model = load_model(archive)
    job = load_job("encreg-redvid-10-50-linear")
    (settings,) = (step.settings for step in job.sequence if step.name == "hdbscan")
    scores = ValidationScores()
    for event in make_dataset("redvid-10-50-linear", {}).events(5, seed=1, split="validation"):
        points = model.predict_hits(event.hits) / np.asarray(model.card.output_scales)
        _, row = hit_targets(event.particles, event.truth_links, ("q",))
        scores.add(cluster_hdbscan(points, **settings)[0], row)
    assert scores.result()["val_score"] > 0.9


def test_command_line_writes_an_archive(tmp_path):
    checkpoint(tmp_path / "best")
    archive = tmp_path / "published.pt"
    arguments = ["export", "--from-trackformers", str(tmp_path / "best"), "--output", str(archive)]
    result = CliRunner().invoke(cli, [*arguments, "--kind", "redvid-linear", "--name", "published"])
    assert result.exit_code == 0, result.output
    card = load_model(archive).card
    assert card.name == "published"
    assert card.license == "MIT"
    assert card.outputs == ("theta", "sin_phi", "cos_phi")
    result = CliRunner().invoke(cli, [*arguments, "--overwrite"])
    assert "redvid-helical" in str(result.exception or result.output)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("redvid-liner", {}, "'redvid-linear'"),
        ("trackml", {}, "3 outputs"),
        ("redvid-helical", {"d_model": 48}, "heads"),
    ],
)
def test_what_cannot_be_known_is_asked_for(kind, settings, message, tmp_path):
    checkpoint(tmp_path / "best", **settings)
    with pytest.raises(ConfigurationError, match=message):
        load_trackformers(tmp_path / "best", kind)


def test_constants_of_trackml_are_asked_for(tmp_path):
    checkpoint(tmp_path / "best", n_outputs=4)
    with pytest.raises(ConfigurationError, match="input_mean"):
        load_trackformers(tmp_path / "best", "trackml")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "best"
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="model_state_dict"):
        load_trackformers(path, "redvid-linear")
    torch.save({"model_state_dict": Path("x")}, path)
    with pytest.raises(ModelError, match="more than tensors"):
        load_trackformers(path, "redvid-linear")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ModelError):
        load_trackformers(path, "redvid-linear")
