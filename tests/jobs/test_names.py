"""Names: one for every algorithm, those of version 0.1.0 as aliases, and its jobs with the settings that they had."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import yaml

from mltrack_plugin import registry
from mltrack_plugin.algorithms.fit_mixture import FitMixture
from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.evaluation.summary import ScoreAccumulator
from mltrack_plugin.jobs.config import available_jobs, job_text, load_job, parse_job
from mltrack_plugin.registry import RENAMED, available, find, registered_name

OLD_JOBS = yaml.safe_load((Path(__file__).parent / "jobs_0_1_0.yaml").read_text(encoding="utf-8"))
#: What a detector knows now.
OF_DETECTOR = {"field_z", "thickness", "resolution", "volumes", "surfaces", "smearing"}
FIT_QUALITY = {"hit_chi2_cut": 40.0, "chi2_scale": 3.0}


def shipped(kind):
    return [p for p in available(kind).values() if p.value.startswith("mltrack_plugin.")]


@pytest.mark.parametrize("point", shipped("algorithm"), ids=lambda point: point.name)
def test_job_files_class_file_and_tables_call_an_algorithm_the_same(point):
    algorithm = find("algorithm", point.name)
    assert algorithm.__name__.lower() == point.name.replace("-", "")
    assert point.module.rpartition(".")[2] == point.name.replace("-", "_")
    assert registered_name(algorithm) == point.name


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_formats_are_called_what_they_are_registered_as(kind):
    for point in shipped(kind):
        assert registered_name(find(kind, point.name)) == point.name == find(kind, point.name).format_name


def test_a_class_that_is_not_registered_goes_by_its_own_name():
    class Mine(find("algorithm", "build-tracks")):
        pass

    assert Mine().name == "Mine"


class TestAliases:
    @pytest.fixture(autouse=True)
    def nothing_said_yet(self):
        registry._say_renamed.cache_clear()

    def test_old_names_lead_to_algorithms_of_today(self):
        for old, new in RENAMED["algorithm"].items():
            assert old not in available("algorithm")
            assert find("algorithm", old) is find("algorithm", new)

    def test_a_saved_job_is_read_with_one_notice(self, caplog):
        text = """
sequence: [fit-helix, {algorithm: refine-tracks, model: m}, refine-tracks]
tiny: {steps: {refine-tracks: {rounds: 1}}}
"""
        with caplog.at_level(logging.WARNING):
            job = parse_job(text, "saved")
            parse_job(text, "saved")
        assert [step.name for step in job.sequence] == ["fit-kalman", "refine-clusters", "refine-clusters"]
        assert job.tiny_job().sequence[1].settings == {"model": "m", "rounds": 1}
        assert caplog.messages == [
            "the algorithm fit-helix is now called fit-kalman",
            "the algorithm refine-tracks is now called refine-clusters",
        ]

    def test_an_algorithm_of_another_package_may_have_an_old_name(self, monkeypatch):
        points = available("algorithm")
        monkeypatch.setattr(
            registry, "available", lambda kind: {**points, "fit-helix": points["build-tracks"]}
        )
        assert registry.current_name("algorithm", "fit-helix") == "fit-helix"


@pytest.mark.parametrize("name", OLD_JOBS)
def test_jobs_of_version_0_1_0_do_what_they_did(name):
    old, job = OLD_JOBS[name], load_job(name)
    assert list(job.datasets) == old["datasets"]
    assert job.first_choice == old.get("first_choice", False)
    assert [writer.name for writer in job.writers] == [w["writer"] for w in old.get("writers", [])]
    algorithms = job.algorithms()
    steps = [dict(step) for step in old["sequence"]]
    names = [step.pop("algorithm") for step in steps]
    assert [a.name for a in algorithms] == [RENAMED["algorithm"].get(step, step) for step in names]
    if "fit-helix" in names:
        # The other fit, whose chi2 has longer tails.
        steps[names.index("track-quality")] |= FIT_QUALITY
    for algorithm, settings in zip(algorithms, steps, strict=True):
        given = {key: value for key, value in settings.items() if key not in OF_DETECTOR}
        expected = type(algorithm)(**given).config
        for key in given:
            assert getattr(algorithm.config, key) == getattr(expected, key), f"{algorithm.name}: {key}"
        if isinstance(algorithm, FitMixture):
            alone = FitMixture(shape="straight", surfaces=settings["surfaces"], smearing=settings["smearing"])
            assert algorithm._known[1:] == alone._known[1:]
        if isinstance(algorithm, SolenoidAlgorithm):
            solenoid = algorithm.solenoid
            assert solenoid.field_z == settings["field_z"]
            assert solenoid.thickness == settings.get("thickness", solenoid.thickness)
            for volume, sigma in settings["volumes"].items():
                found = solenoid.resolutions.sigmas(np.array([volume]), np.array([100.0]))[0]
                assert found.tolist() == [sigma["rphi"], sigma.get("r", 0.0), sigma.get("z", 0.0)], volume


def test_figures_are_metrics_of_known_data_sets_and_no_part_of_what_runs():
    known = set(ScoreAccumulator().result())
    measured = [load_job(name) for name in available_jobs() if load_job(name).figures]
    assert len(measured) > 20
    for job in measured:
        for figures in job.figures:
            assert figures.dataset in job.datasets
            assert set(figures.metrics) <= known
            assert all(0 <= value <= 1 for value in figures.metrics.values())
        assert "figures" not in job.model_dump()


def test_no_job_of_version_0_1_0_is_missing():
    assert set(OLD_JOBS) <= set(available_jobs())


class TestVariants:
    TEXT = """
detector: redvid
sequence:
  - preprocess-hits
  - {algorithm: encreg}
  - {algorithm: hdbscan, epsilon: 0.3}
  - build-tracks
variants:
  few: {description: Few tracks., steps: {encreg: {model: few.pt}}}
  many: {steps: {encreg: {model: many.pt}, hdbscan: {epsilon: 0.2}}, detector: generic}
"""

    def test_each_is_a_job_with_what_differs_in_it(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text(self.TEXT)
        few, many = (load_job(f"{path}:{name}") for name in ("few", "many"))
        assert (few.name, few.description, few.detector) == ("few", "Few tracks.", "redvid")
        assert (many.name, many.detector) == ("many", "generic")
        assert [job.sequence[1].settings["model"] for job in (few, many)] == ["few.pt", "many.pt"]
        assert [job.sequence[2].settings["epsilon"] for job in (few, many)] == [0.3, 0.2]

    def test_one_must_be_chosen_and_exist(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_text(self.TEXT)
        with pytest.raises(ConfigurationError, match=r"several jobs: few, many. Name one: .*mine.yaml:NAME"):
            load_job(path)
        with pytest.raises(ConfigurationError, match=r"no job 'fow'. Did you mean 'few'"):
            load_job(f"{path}:fow")

    @pytest.mark.parametrize(
        ("variants", "named"),
        [
            ("[a, b]", "'variants' is a mapping"),
            ("{}", "'variants' is a mapping"),
            ("{a: 3}", "variant 'a' is a mapping"),
            ("{a: {steps: {encrag: {model: m}}}}", "variant 'a': no step 'encrag'.* Did you mean 'encreg'"),
            ("{a: {steps: {encreg: 3}}}", "variant 'a': 'encreg' needs settings"),
            ("{a: {steps: [encreg]}}", "variant 'a': 'steps' is a mapping"),
        ],
    )
    def test_wrong_ones_are_named(self, variants, named):
        text = self.TEXT.partition("variants:")[0] + f"variants: {variants}\n"
        with pytest.raises(ConfigurationError, match=named):
            parse_job(text, "mine")

    @pytest.mark.parametrize("name", available_jobs())
    def test_a_printed_job_is_complete(self, name):
        assert parse_job(job_text(name), "printed") == load_job(name)
