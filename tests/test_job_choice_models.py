"""Which shipped job a model of one's own runs in, and which of several jobs for a data set comes first."""

from pathlib import Path

import pytest

from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.job import load_job
from mltrack_plugin.job_choice import Sample, _narrow, jobs_for_model
from mltrack_plugin.models.manifest import shipped_model


@pytest.mark.parametrize("name", ["encreg-trackml-10-50", "encemb-generic", "encreg-redvid-10-50-linear"])
def test_model_of_ones_own_runs_in_jobs_for_its_architecture_and_detector(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.pt"
    path.write_bytes(shipped_model(name)[0].read_bytes())
    assert jobs_for_model(name) == [name]
    found = jobs_for_model(str(path))
    assert name in found
    for other in found:
        assert set(load_job(other).detectors) & set(load_job(name).detectors)
        assert other.startswith(name.split("-")[0])


def test_models_that_no_job_can_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(shipped_model("lstm-hit-predictor")[0].read_bytes())
    with pytest.raises(ConfigurationError, match="'hit-predictor'"):
        jobs_for_model(str(path))
    path.write_bytes(b"")
    with pytest.raises(ModelError):
        jobs_for_model(str(path))


def test_a_job_for_everything_comes_before_those_for_single_data_sets() -> None:
    jobs = [load_job(name) for name in ("encreg-trackml-10-50", "encemb-generic")]
    narrowed = _narrow([(job.name, "", job) for job in jobs], Sample("generic", "trackml-10-50", ()))
    assert [name for name, _, _ in narrowed] == ["encemb-generic"]
