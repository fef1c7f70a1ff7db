"""Wrong names, models, chains and geometries: refused before the run, naming what would be right."""

import numpy as np
import pytest

acts = pytest.importorskip("acts")

import acts.examples as examples  # noqa: E402
from acts_sequences import Grouping, Put, geometry, simulated, space_points_of  # noqa: E402

from mltrack_plugin.acts import TransformerTrackFinding  # noqa: E402
from mltrack_plugin.acts.checks import detector_of, sensitive_ids, sensitive_volumes  # noqa: E402
from mltrack_plugin.algorithms.build_tracks import BuildTracks  # noqa: E402
from mltrack_plugin.algorithms.encreg import EncReg  # noqa: E402
from mltrack_plugin.algorithms.hdbscan import HDBSCAN  # noqa: E402
from mltrack_plugin.algorithms.preprocess_hits import PreprocessHits  # noqa: E402
from mltrack_plugin.archives.manifest import shipped_model  # noqa: E402
from mltrack_plugin.errors import ConfigurationError, EventError, ModelError  # noqa: E402
from mltrack_plugin.jobs.chains import ChainRunner, resolve_chain  # noqa: E402
from mltrack_plugin.jobs.config import job_text, load_job  # noqa: E402

NAME = "encreg-trackml-10-50"


def nothing(store, hits):
    return np.full(len(hits), -1)


def names(algorithms):
    return [algorithm.name for algorithm in algorithms]


def test_chain_by_name_file_model_or_list(tmp_path):
    expected = names(load_job(NAME).algorithms())
    path = tmp_path / "mine.yaml"
    path.write_text(job_text(NAME))
    assert names(resolve_chain()) == names(load_job("encemb-generic").algorithms())
    assert names(resolve_chain(NAME)) == expected
    assert names(resolve_chain(path)) == expected
    assert names(resolve_chain(model=NAME)) == expected
    algorithms = [EncReg(model=NAME), HDBSCAN(), BuildTracks()]
    assert resolve_chain(algorithms) == algorithms


@pytest.mark.parametrize("shipped", [NAME, "encemb-generic"])
def test_model_of_ones_own_runs_in_a_job_for_its_architecture(shipped, tmp_path):
    path = tmp_path / "mine.pt"
    path.write_bytes(shipped_model(shipped)[0].read_bytes())
    chain = resolve_chain(model=path)
    assert names(chain) == names(load_job(shipped).algorithms())
    assert [a.config.model for a in chain if hasattr(a.config, "model")] == [str(path)]


def test_model_replaces_that_of_a_list():
    algorithms = [EncReg(model="other"), HDBSCAN()]
    changed = resolve_chain(algorithms, model=NAME)
    assert changed[0].config.model == NAME
    assert changed[1] is algorithms[1]
    assert algorithms[0].config.model == "other"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"model": "encreg-trackml-10-5"},
            ModelError,
            r"no shipped model.*Did you mean 'encreg-trackml-10-50'",
        ),
        ({"chain": "encreg-trakml-10-50"}, ConfigurationError, r"Did you mean 'encreg-trackml-10-50'"),
        ({"chain": "missing.yaml"}, ConfigurationError, r"missing.yaml: no such job configuration file"),
        ({"chain": []}, ConfigurationError, "the chain is empty"),
        ({"chain": ["hdbscan"]}, ConfigurationError, "got a str in the list"),
        (
            {"chain": [PreprocessHits()]},
            ConfigurationError,
            r"preprocess-hits\) writes neither proto tracks nor",
        ),
        (
            {"chain": [HDBSCAN()]},
            ConfigurationError,
            "needs 'hit_parameters', which nothing before it writes",
        ),
        (
            {"chain": [Grouping(nothing)], "model": NAME},
            ConfigurationError,
            "no algorithm of the chain takes a model",
        ),
        (
            {"tracks": "candidate_track"},
            ConfigurationError,
            r"writes tracks 'candidate_track'. Did you mean 'cand",
        ),
        ({"onError": "ignore"}, ConfigurationError, "onError must be 'fail' or 'skip'"),
        ({"threads": 0}, ConfigurationError, "threads must be at least 1"),
        ({"inputSpacePoints": ""}, ConfigurationError, "inputSpacePoints must not be empty"),
        (
            {"detector": "redvid"},
            ConfigurationError,
            "set up for the detector generic, but the events are of redvid",
        ),
        (
            {"model": "encreg-redvid-10-50-linear", "detector": "generic"},
            ConfigurationError,
            "set up for the detector redvid, but the events are of generic",
        ),
    ],
)
def test_wrong_settings_are_refused_at_once(arguments, error, message):
    with pytest.raises(error, match=message):
        TransformerTrackFinding(**arguments)


def test_job_for_another_detector_is_refused_by_the_geometry():
    with pytest.raises(
        ConfigurationError, match="set up for the detector redvid, but the events are of generic"
    ):
        TransformerTrackFinding(model="encreg-redvid-10-50-linear", trackingGeometry=geometry())


def test_hits_outside_the_ranges_of_a_model_are_an_error_of_the_event():
    s = simulated()
    s.addAlgorithm(TransformerTrackFinding(model="encreg-redvid-10-50-linear"))
    with pytest.raises(EventError, match=r"event 0: encreg: "):
        s.run()


def test_the_generic_detector_is_recognised_by_its_volumes():
    telescope = examples.TelescopeDetector().trackingGeometry()
    assert detector_of(geometry()) == "generic"
    assert detector_of(telescope) is None
    assert sensitive_volumes(geometry()) == [7, 8, 9, 12, 13, 14, 16, 17, 18]
    assert sensitive_volumes(telescope) == [1]
    assert len(sensitive_ids(geometry())) == 18728


def test_measurements_on_modules_that_the_geometry_lacks_are_refused():
    telescope = examples.TelescopeDetector().trackingGeometry()
    s = simulated()
    s.addAlgorithm(TransformerTrackFinding([Grouping(nothing)], trackingGeometry=telescope))
    with pytest.raises(
        ConfigurationError, match=r"\d+ of \d+ measurements lie on modules .* first on volume \d+"
    ):
        s.run()


def test_modules_that_lie_elsewhere_are_refused():
    s = simulated()
    s.addAlgorithm(
        Put(
            lambda source: space_points_of(source, [[i] for i in range(len(source))], shift=5.0),
            acts.SpacePointContainer,
            "spacepoints",
            "moved",
        )
    )
    finder = TransformerTrackFinding(
        [Grouping(nothing)], inputSpacePoints="moved", trackingGeometry=geometry()
    )
    s.addAlgorithm(finder)
    with pytest.raises(ConfigurationError, match=r"space points lie 5 mm \(median\) from where"):
        s.run()


def test_measurements_of_another_container_are_refused():
    s = simulated()
    s.addAlgorithm(
        Put(lambda source: examples.MeasurementContainer(), examples.MeasurementContainer, None, "none")
    )
    s.addAlgorithm(TransformerTrackFinding([Grouping(nothing)], inputMeasurements="none"))
    with pytest.raises(EventError, match="there are only 0; inputMeasurements must be the container"):
        s.run()


def test_without_measurements_hits_have_positions_only():
    s, stores = simulated(), []
    finder = TransformerTrackFinding([Grouping(nothing)], inputMeasurements=None, onEvent=stores.append)
    s.addAlgorithm(finder)
    s.run()
    hits = stores[0].get("hits", object)
    assert len(hits)
    assert hits.geometry_id is None
    assert hits.volume_id is None


def test_a_runner_can_be_used_for_a_second_run():
    calls = []

    class Counting(Grouping):
        def initialize(self):
            calls.append("initialize")

        def finalize(self):
            calls.append("finalize")

    runner = ChainRunner([Counting(nothing)])
    for _ in range(2):
        runner.initialize()
        runner.initialize()
        runner.finalize()
    assert calls == ["initialize", "finalize"] * 2
