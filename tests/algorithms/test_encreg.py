"""encreg: what the network sees, what is refused and why, what goes to the metadata."""

from pathlib import Path

import numpy as np
import pytest

from mltrack_plugin.algorithms.encreg import EncReg
from mltrack_plugin.archives.archive import TrackModel
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import ConfigurationError, EventError, ModelError
from mltrack_plugin.event_data import HitParameters, Hits, HitSelection

CARD = ModelCard(
    name="test-model",
    architecture="encreg",
    features=("x", "y", "z"),
    units={"x": "mm", "y": "mm", "z": "mm"},
    coordinate_system="cartesian",
    detectors=("generic",),
    outputs=("sum", "z"),
    output_scales=(0.5, 2.0),
    validity={"r": (20, 1100), "z": (-3000, 3000), "n_hits": (1, 200)},
)


class Engine:
    """Stands for a network: (x + y + z, z) of each hit; remembers how many hits it saw."""

    parameters = 0

    def __init__(self):
        self.seen = []

    def __call__(self, features, mask):
        self.seen.append(int(mask.sum()))
        return np.stack([features.sum(axis=2), features[:, :, 2]], axis=2)


@pytest.fixture
def engine(monkeypatch):
    """The engine behind every model that is loaded during the test."""
    engine = Engine()

    def load(name, device="cpu"):
        return TrackModel(card=CARD, sha256="0" * 64, path=Path(name), device="cpu", engine=engine)

    monkeypatch.setattr("mltrack_plugin.archives.archive.load_model", load)
    return engine


def make_hits(n=50, factor=1.0):
    rng = np.random.default_rng(2)
    phi, r, z = rng.uniform(-3, 3, n), rng.uniform(30, 1050, n), rng.uniform(-2900, 2900, n)
    return Hits(np.arange(n), r * np.cos(phi) * factor, r * np.sin(phi) * factor, z * factor)


def parameters(run, hits, selection=None, **settings):
    collections = {"hits": hits} | ({} if selection is None else {"selected_hits": selection})
    return run(EncReg(model="test-model", **settings), **collections).get("hit_parameters", HitParameters)


def test_each_hit_gets_the_outputs_of_the_card(engine, run):
    hits = make_hits()
    result = parameters(run, hits)
    assert result.names.tolist() == ["sum", "z"]
    assert result.values[:, 0] == pytest.approx(hits.x + hits.y + hits.z, abs=1e-3)
    assert result.scaled[:, 1] == pytest.approx(hits.z / 2)
    assert result.rows is None


def test_event_without_hits(engine, run):
    result = parameters(run, Hits(np.zeros(0, dtype=np.uint64), [], [], []))
    assert result.values.shape == (0, 2)
    assert engine.seen == []


def test_only_selected_hits_reach_the_network(engine, run):
    hits = make_hits()
    rows = np.arange(3, 40, 2)
    result = parameters(run, hits, HitSelection(rows, np.array(["r"]), np.array([len(hits) - len(rows)])))
    assert engine.seen == [len(rows)]
    assert result.hit_rows.tolist() == rows.tolist()
    assert result.values[:, 1] == pytest.approx(hits.z[rows])


def test_few_hits_outside_the_ranges_are_left_out_and_reported(engine, run, caplog):
    hits = make_hits()
    z = hits.z.copy()
    z[[7, 30]] = 5000.0
    result = parameters(run, Hits(hits.hit_id, hits.x, hits.y, z))
    assert np.setdiff1d(np.arange(50), result.hit_rows).tolist() == [7, 30]
    assert "2 hits lie outside the ranges of model 'test-model'" in caplog.text


def test_rows_stay_those_of_the_input_when_selected_hits_lie_outside(engine, run):
    hits = make_hits()
    z = hits.z.copy()
    z[7] = 5000.0
    rows = np.arange(3, 40, 2)
    selection = HitSelection(rows, np.array(["r"]), np.array([len(hits) - len(rows)]))
    result = parameters(run, Hits(hits.hit_id, hits.x, hits.y, z), selection)
    assert result.hit_rows.tolist() == [row for row in rows if row != 7]


def test_the_share_of_hits_outside_is_that_of_all_hits(engine, run):
    hits = make_hits()
    z = hits.z.copy()
    z[7] = 5000.0
    left_over = HitSelection(np.array([7]), np.array(["r"]), np.array([len(hits) - 1]))
    result = parameters(run, Hits(hits.hit_id, hits.x, hits.y, z), left_over)
    assert result.values.shape == (0, 2)


def test_no_hit_outside_is_tolerated_if_so_configured(engine, run):
    hits = make_hits()
    z = hits.z.copy()
    z[7] = 5000.0
    with pytest.raises(EventError, match=r"1 of 50 hits have z outside \[-3000, 3000\].*row 7: z = 5000"):
        parameters(run, Hits(hits.hit_id, hits.x, hits.y, z), min_valid_fraction=1.0)


def test_hits_in_metres_are_refused_with_the_reason(engine, run):
    with pytest.raises(EventError, match="look like metres"):
        parameters(run, make_hits(factor=1e-3))
    assert engine.seen == []


def test_too_many_hits_are_refused(engine, run):
    with pytest.raises(EventError, match=r"201 hits.*at most 200"):
        parameters(run, make_hits(201))


def test_another_detector_is_refused_before_the_first_event(engine):
    algorithm = EncReg(model="test-model", detector="redvid")
    with pytest.raises(ModelError, match=r"trained for generic.*'redvid'"):
        algorithm.initialize()


@pytest.mark.parametrize("detector", [None, "generic"])
def test_known_or_unstated_detector_is_accepted(engine, detector):
    EncReg(model="test-model", detector=detector).initialize()


def test_metadata_name_the_model(engine):
    algorithm = EncReg(model="test-model")
    algorithm.initialize()
    assert algorithm.describe() == {
        "model": "test-model",
        "model_version": "1",
        "model_sha256": "0" * 64,
        "model_device": "cpu",
        "model_attention": "sdpa",
        "model_precision": "float32",
    }


def test_use_before_initialize_is_an_error():
    with pytest.raises(ModelError, match="initialize"):
        EncReg(model="test-model").describe()


def test_missing_model_file_is_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"none\.pt"):
        EncReg(model=str(tmp_path / "none.pt")).initialize()


def test_a_model_must_be_named():
    with pytest.raises(ConfigurationError, match="model"):
        EncReg()


def test_handles_say_what_flows():
    algorithm = EncReg(model="m", hits="raw")
    assert [(h.key, h.optional) for h in algorithm.inputs] == [("raw", False), ("selected_hits", True)]
    assert [h.key for h in algorithm.outputs] == ["hit_parameters"]
