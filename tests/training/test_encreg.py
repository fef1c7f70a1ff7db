"""Training of EncReg on packed events, from the weights of another model, and with a choice of attention."""

import flash_stub
import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from mltrack_plugin.archives.checkpoint import export_checkpoint, load_checkpoint
from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.models.encreg import EncReg, EncRegConfig
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event
from mltrack_plugin.training.config import load_training_config, training_command
from mltrack_plugin.training.data import collate, events_by_hits, pack
from mltrack_plugin.training.encreg import FREE_SETTINGS, EncRegTask, RegressionTraining
from mltrack_plugin.training.run import train
from mltrack_plugin.training.warm_start import start_from

TARGETS = ("theta", "sin_phi", "cos_phi")
NETWORK = {"d_model": 16, "n_heads": 2, "d_ff": 32, "n_layers": 1}


def event(index):
    return redvid_event(RedvidConfig(tracks=(3, 8)), [1, index])


def config(**changes):
    return load_training_config("encreg-redvid-10-50-linear", tiny=True, **{"network": NETWORK, **changes})


def module(**changes):
    torch.manual_seed(1)
    constants = {"output_mean": (0.0,) * 3, "output_scale": (1.0,) * 3}
    return RegressionTraining(
        config(**changes), EncReg(EncRegConfig(**NETWORK, input_scale=(10.0,) * 3, **constants))
    )


@pytest.mark.parametrize("background", [0.0, 1.0])
def test_packed_and_padded_batches_have_the_same_losses(background):
    """As long as every hit is an anchor; beyond, the two choose different ones."""
    training = module(background=background, anchors=200)
    events = [event(i) for i in range(4)]
    padded = training.losses(collate(events, TARGETS))
    packed = training.losses(pack(events, TARGETS))
    for one, other in zip(padded[:2], packed[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(padded[2], packed[2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_background_makes_lone_tracks_compact():
    """With one track in an event nothing else asks for a distance scale: only the background has a gradient."""
    one = redvid_event(RedvidConfig(tracks=(1, 1)), [1, 1])
    losses = {b: module(background=b).losses(pack([one], TARGETS))[1] for b in (0.0, 10.0)}
    assert losses[10.0] > losses[0.0] + 0.5


def test_batches_by_hits_are_full_and_start_anywhere():
    stream = events_by_hits(event, 100, 0)
    first = [next(stream) for _ in range(3)]
    for events in first:
        counts = [len(e.hits) for e in events]
        assert sum(counts[:-1]) < 100 <= sum(counts)
    late = next(events_by_hits(event, 100, 2))
    for one, other in zip(first[2], late, strict=True):
        np.testing.assert_array_equal(one.hits.x, other.hits.x)


def test_packed_training_runs_and_says_so_in_its_card(tmp_path):
    last = train(config(batch_hits=60), tmp_path / "run", device="cpu", threads=1, progress=False)
    network, card = load_checkpoint(last)
    assert card.training_recipe["batch_size"] == "60 hits"
    assert isinstance(network, EncReg)


def test_validation_on_whole_events_sets_the_largest_event():
    """Training events may be small; the model is for those of the validation."""
    whole = {"dataset": "redvid-10-50-linear", "dataset_settings": {"tracks": [40, 50]}, "events": 3}
    task = EncRegTask(config(validation=whole))
    largest = max(len(e.hits) for e in task.validation_events)
    assert len(task.validation_events) == 3
    trained = task.module()
    assert task.card(trained)["validity"]["n_hits"][1] == 4 * largest
    assert largest > 5 * max(len(task.source("train")(i).hits) for i in range(20))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(config(), tmp_path_factory.mktemp("run") / "a", device="cpu", threads=1, progress=False)


def test_start_from_another_model_keeps_what_both_regress(finished):
    source, card = eager_network(finished)
    trained = EncRegTask(config(start_from=str(finished), targets=("q", "cos_phi", "theta"))).module()
    network = trained.network
    torch.testing.assert_close(network.blocks[0].qkv.weight, source.blocks[0].qkv.weight)
    features, mask = 5 * torch.randn(1, 9, 3), torch.ones(1, 9, dtype=torch.bool)
    with torch.no_grad():
        mine, theirs = network.eval()(features, mask), source(features, mask)
    torch.testing.assert_close(mine[..., 1], theirs[..., 2])
    torch.testing.assert_close(mine[..., 2], theirs[..., 0])
    scale = trained.log_scale.exp() * network.output_scale
    torch.testing.assert_close(
        scale[2].item(), card.output_scales[card.outputs.index("theta")], rtol=1e-4, atol=0
    )
    # A parameter that the other model does not have starts as it would without one.
    assert trained.log_scale[0].exp().item() == pytest.approx(0.1)


def test_start_from_a_network_of_other_sizes_is_refused(finished):
    settings = EncRegConfig(**NETWORK | {"d_ff": 48}, output_mean=(0.0,) * 3, output_scale=(1.0,) * 3)
    with pytest.raises(ConfigurationError, match=r"other sizes.*down\.weight \(16x48 here, 16x32 there\)"):
        start_from(EncReg(settings), str(finished), TARGETS, settings, FREE_SETTINGS)


def test_start_from_a_network_that_sees_hits_in_another_way_is_refused(finished):
    """Numbers of heads and frequencies show in no shape."""
    _, *others = EncRegConfig.model_fields["phi_frequencies"].default
    for name, value in (("n_heads", 4), ("phi_frequencies", [99, *others])):
        other = config(start_from=str(finished), network=NETWORK | {name: value})
        with pytest.raises(
            ConfigurationError, match=rf"another encoder \({name} differs: .* there, .* here\)"
        ):
            EncRegTask(other).module()


def test_size_of_the_detector_is_that_of_the_configuration_wherever_the_weights_come_from(finished):
    scale = eager_network(finished)[0].embedding.scale[0].item()
    task = EncRegTask(config(start_from=str(finished), length_scale=3 * scale))
    module = task.module()
    assert module.network.embedding.scale.tolist() == [3 * scale] * 3
    assert task.card(module)["hyperparameters"]["input_scale"] == [3 * scale] * 3


def test_weights_come_from_archives_and_checkpoints_only(tmp_path):
    network, card = eager_network("encreg-redvid-10-50-linear")
    from mltrack_plugin.archives.archive import load_model

    features = event(0).hits.positions.astype(np.float32)
    with torch.inference_mode():
        found = network(torch.from_numpy(features)[None], torch.ones(1, len(features), dtype=torch.bool))[0]
    np.testing.assert_allclose(
        found.numpy(), load_model("encreg-redvid-10-50-linear").predict(features), rtol=1e-6, atol=1e-6
    )
    assert card.name == "encreg-redvid-10-50-linear"
    with pytest.raises(ModelError, match="no shipped model"):
        eager_network("encreg-redvid-10-50-liner")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("paper-redvid-10-50-linear", 76_451),
        ("paper-redvid-10-50-helical", 201_283),
        ("paper-redvid-50-100-helical", 300_355),
        ("paper-trackml-10-50", 76_484),
        ("paper-trackml-200-500", 928_388),
    ],
)
def test_published_sizes(name, parameters):
    """76k, 201k, 300k, 76k and 928k in the paper; the first two and the fourth to the last digit in its files."""
    settings = load_training_config(f"encreg-{name}")
    constants = {
        "output_mean": (0.0,) * len(settings.targets),
        "output_scale": (1.0,) * len(settings.targets),
    }
    network = EncReg(EncRegConfig(**settings.network, **constants))
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_encreg_fa_has_the_published_blocks_and_backend():
    settings = load_training_config("encreg-fa-trackml-200-500")
    network = EncRegConfig(**settings.network)
    assert (network.n_layers, network.d_model, network.d_ff, network.n_heads) == (7, 128, 256, 4)
    assert network.dropout == 0.1
    assert settings.targets == ("sin_phi", "cos_phi", "theta", "q")
    assert (settings.attention, settings.precision) == ("flash", "bf16-mixed")
    assert settings.batch_hits is not None


def test_the_card_names_no_place_of_this_machine():
    bank = {"dataset": "trackml-200-500", "dataset_settings": {"bank_dir": "/x/bank"}, "events": 4}
    settings = load_training_config(
        "encreg-trackml-200-500", validation=bank, start_from="/x/run/best.ckpt", steps=5
    )
    assert training_command(settings) == (
        "mltrack train encreg-trackml-200-500 --set steps=5 --set start_from=best.ckpt"
    )


def test_flash_is_refused_before_anything_is_simulated(tmp_path, monkeypatch):
    def simulate(*args, **kwargs):
        raise AssertionError("simulated before the check")

    monkeypatch.setattr(EncRegTask, "source", simulate)
    with pytest.raises(ConfigurationError, match=r"needs a GPU.*half precision"):
        train(config(attention="flash"), tmp_path / "run", device="cpu", progress=False)


def test_encreg_fa_trains_packed_events_with_flash_and_exports_without(tmp_path, monkeypatch):
    """The GPU run in small, on a stand-in for flash-attn."""
    calls = flash_stub.install(monkeypatch)
    monkeypatch.setattr("mltrack_plugin.training.encreg.check_flash_ready", lambda device, half: None)
    redvid = {
        "dataset": "redvid-10-50-linear",
        "dataset_settings": {"tracks": [3, 6]},
        "detectors": ["redvid"],
    }
    settings = load_training_config(
        "encreg-fa-trackml-200-500",
        tiny=True,
        attention="flash",
        length_unit="redvid",
        length_scale=10.0,
        **redvid,
    )
    assert settings.precision == "bf16-mixed"
    last = train(settings, tmp_path / "run", device="cpu", threads=1, progress=False)
    assert len(calls) == settings.steps + 2 * settings.validation_events
    assert all(sum(lengths) >= settings.batch_hits for lengths in calls if len(lengths) > 1)
    n = len(calls)
    model = export_checkpoint(last, tmp_path / "model.pt")
    assert model.card.training_recipe["precision"] == "bf16-mixed"
    assert len(calls) == n
