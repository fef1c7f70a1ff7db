"""Models as eager networks: the same numbers with every backend and precision, and clear refusals."""

import shutil

import numpy as np
import pytest
from model_fixtures import features, make_card, make_network, write_checkpoint

from mltrack_plugin.algorithms.encreg import EncReg
from mltrack_plugin.archives.archive import load_model, save_exported, save_torchscript
from mltrack_plugin.archives.eager import eager_network, with_backend
from mltrack_plugin.errors import ConfigurationError, ModelError


@pytest.fixture
def archive(tmp_path):
    return save_torchscript(make_network(), make_card(), tmp_path / "model.pt")


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_eager_network_gives_the_numbers_of_its_archive(archive, backend):
    model = load_model(archive)
    other = with_backend(model, backend, "float32")
    assert other.card == model.card
    events = [features(n) for n in (5, 40)]
    for one, two in zip(model.predict_batch(events), other.predict_batch(events), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_but_not_the_same(archive, precision):
    model = load_model(archive)
    one, two = (m.predict(features(40)) for m in (model, with_backend(model, "math", precision)))
    assert two.dtype == np.float32
    np.testing.assert_allclose(two, one, rtol=0.05, atol=0.1)
    assert not np.array_equal(one, two)


def test_local_attention_has_half_precision_but_no_backends():
    model = load_model("encemb-generic")
    hits = features(60)
    np.testing.assert_allclose(
        with_backend(model, "sdpa", "bfloat16").predict(hits), model.predict(hits), rtol=0.1, atol=0.2
    )
    with pytest.raises(ConfigurationError, match="EncEmb has no encoder blocks"):
        with_backend(model, "math", "float32")


def test_flash_on_a_cpu_is_refused_when_the_job_starts(archive):
    algorithm = EncReg(
        model=str(archive), device="cpu", attention="flash", precision="bfloat16", detector="generic"
    )
    with pytest.raises(ConfigurationError, match="'flash' needs a GPU"):
        algorithm.initialize()


def test_the_algorithm_says_what_it_computed_with(archive):
    algorithm = EncReg(model=str(archive), device="cpu", attention="math", precision="bfloat16")
    algorithm.initialize()
    described = algorithm.describe()
    assert (described["model_attention"], described["model_precision"]) == ("math", "bfloat16")
    assert described["model_sha256"] == load_model(archive).sha256


def test_only_files_that_hold_weights_by_name(archive, tmp_path):
    exported = load_model(save_exported(make_network(), make_card(), tmp_path / "model.pt2"))
    with pytest.raises(ModelError, match=r"only \.pt archives.*\.pt2"):
        with_backend(exported, "math", "float32")
    network, card = eager_network(write_checkpoint(tmp_path / "best.ckpt"))
    assert card.architecture == "encreg"
    assert not network.training


def test_a_file_that_changed_since_it_was_loaded_is_refused(archive, tmp_path):
    model = load_model(archive)
    shutil.copy(save_torchscript(make_network(seed=1), make_card(), tmp_path / "other.pt"), archive)
    with pytest.raises(ModelError, match="sha256"):
        with_backend(model, "math", "float32")
