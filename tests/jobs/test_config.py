"""Job configurations: shipped ones are complete, wrong ones are refused with the nearest names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltrack_plugin.algorithms.encreg import EncReg
from mltrack_plugin.detectors import load_detector
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.framework.chain import check_chain
from mltrack_plugin.jobs.config import available_jobs, job_text, load_job, parse_job
from mltrack_plugin.registry import available, find

MINIMAL = "sequence: [{algorithm: hdbscan, min_cluster_size: 6}, build-tracks]"


@pytest.mark.parametrize("name", available_jobs())
class TestShippedJobs:
    def test_can_run(self, name):
        """Algorithms exist, settings are valid, the chain from hits to the output is closed."""
        job = load_job(name)
        reader = find("reader", "root-events")(path="unused.root")
        writers = job.make_writers("unused", overwrite=False) or [
            find("writer", "root-tracks")(path="unused")
        ]
        check_chain([reader, *job.algorithms(), *writers])

    def test_is_named_like_its_file_and_described(self, name):
        job = load_job(name)
        assert job.name == name
        assert job.description
        assert load_detector(job.detector).name == job.detector
        assert set(job.datasets) <= set(available("data set"))


def test_there_is_a_job_for_each_published_data_set():
    covered = {dataset for name in available_jobs() for dataset in load_job(name).datasets}
    assert {"redvid-10-50-linear", "redvid-10-50-helical", "trackml-10-50"} <= covered


def test_printed_configuration_loads_as_a_file(tmp_path):
    name = "encreg-redvid-10-50-linear"
    path = tmp_path / "mine.yaml"
    path.write_text(job_text(name))
    assert load_job(path) == load_job(name)


def test_name_defaults_to_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    assert load_job(str(path)).name == "mine"


def test_steps_may_be_bare_names():
    steps = parse_job(MINIMAL, "mine").sequence
    assert [(s.name, s.settings) for s in steps] == [
        ("hdbscan", {"min_cluster_size": 6}),
        ("build-tracks", {}),
    ]


def test_unknown_names_give_the_nearest():
    with pytest.raises(ConfigurationError, match=r"Did you mean 'encreg-redvid-10-50-linear' or"):
        load_job("encreg-redvid-linear")
    with pytest.raises(ConfigurationError, match="no shipped job configuration 'encreg'"):
        job_text("encreg")
    with pytest.raises(ConfigurationError, match=r"missing.yaml: no such job configuration file"):
        load_job("missing.yaml")
    with pytest.raises(ConfigurationError, match=r"job 'j', step 1 \(hdbscn\): .*Did you mean 'hdbscan'"):
        parse_job("sequence: [hdbscn]", "j").algorithms()
    with pytest.raises(ConfigurationError, match=r"step 1 \(hdbscan\): .*Did you mean 'min_samples'"):
        parse_job("sequence: [{algorithm: hdbscan, min_sample: 2}]", "j").algorithms()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequence: [", "mine: no valid YAML"),
        ("- a\n- b", "mine: a job configuration is a mapping"),
        ("name: x", "mine: sequence: Field required"),
        ("sequence: []", "sequence: Tuple should have at least 1 item"),
        ("sequence: hdbscan", "sequence: .*must be a list"),
        ("sequence: [{step: hdbscan}]", "write '- algorithm: NAME'"),
        (MINIMAL + "\nwriter: root", r"no setting 'writer'. Did you mean 'writers'"),
        (
            MINIMAL + "\ntiny: {steps: {hdbscn: {}}}",
            r"no step 'hdbscn' in the sequence. Did you mean 'hdbscan'",
        ),
    ],
)
def test_wrong_configurations_say_what_is_wrong(text, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_job(text, "mine")


def test_file_that_is_no_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read as text"):
        load_job(path)


def test_model_device_and_detector_reach_the_algorithms_that_have_them():
    job = load_job("encreg-redvid-10-50-linear")
    (encreg,) = [
        a for a in job.algorithms(model="m.pt", device="cpu", detector=None) if isinstance(a, EncReg)
    ]
    assert (encreg.config.model, encreg.config.device, encreg.config.detector) == ("m.pt", "cpu", "redvid")


def test_the_detector_given_replaces_that_of_the_job():
    steps = load_job("encreg-redvid-10-50-linear").algorithms(detector="mine.yaml")
    assert {a.config.detector for a in steps if hasattr(a.config, "detector")} == {"mine.yaml"}


def test_model_for_a_job_without_one_is_refused():
    with pytest.raises(ConfigurationError, match="no algorithm that takes a model"):
        parse_job(MINIMAL, "mine").algorithms(model="m.pt")


def test_tiny_steps_replace_settings():
    job = parse_job(MINIMAL + "\ntiny: {steps: {hdbscan: {min_samples: 1}}}", "mine").tiny_job()
    assert job.sequence[0].settings == {"min_cluster_size": 6, "min_samples": 1}


def test_writers_get_their_paths():
    text = MINIMAL + '\nwriters: [root-tracks, {writer: trackml-submission, path: "{stem}.csv"}]'
    writers = parse_job(text, "mine").make_writers(Path("out/t.root"), overwrite=True)
    assert [w.config.path for w in writers] == ["out/t.root", "out/t.csv"]
    assert all(w.config.overwrite for w in writers)


def test_second_writer_needs_a_path():
    job = parse_job(MINIMAL + "\nwriters: [root-tracks, trackml-submission]", "mine")
    with pytest.raises(ConfigurationError, match=r"writer 2 \(trackml-submission\): needs a path"):
        job.make_writers("t.root", overwrite=False)


@pytest.mark.parametrize(
    ("stated", "detector"),
    [("[trackml, generic]", "generic"), ("[redvid]", "redvid"), ("[mine]", None), ("redvid", "redvid")],
)
def test_the_detectors_of_version_0_1_0_are_read_with_a_notice(caplog, stated, detector):
    job = parse_job(f"detectors: {stated}\nsequence: [preprocess-hits]", "old.yaml")
    assert job.detector == detector
    assert "'detectors' is now 'detector" in caplog.text
