"""Which shipped job a model of one's own runs in, and which of several jobs for a data set comes first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mltrack_plugin.archives.manifest import shipped_model
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.framework.algorithm import Reader, ReadEvent
from mltrack_plugin.jobs.choice import choose_job, jobs_for_model
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent


@pytest.mark.parametrize("name", ["encreg-trackml-10-50", "encemb-generic", "encreg-redvid-10-50-linear"])
def test_model_of_ones_own_runs_in_jobs_for_its_architecture_and_detector(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.pt"
    path.write_bytes(shipped_model(name)[0].read_bytes())
    assert jobs_for_model(name) == [name]
    found = jobs_for_model(str(path))
    assert name in found
    for other in found:
        assert load_job(other).detector == load_job(name).detector
        assert other.startswith(name.split("-")[0])


def test_models_that_no_job_can_run_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(shipped_model("lstm-hit-predictor")[0].read_bytes())
    with pytest.raises(ConfigurationError, match="'hit-predictor'"):
        jobs_for_model(str(path))
    path.write_bytes(b"")
    with pytest.raises(ModelError):
        jobs_for_model(str(path))


class Events(Reader):
    """Hits from memory, of no known data set."""

    dataset, source, detector = None, "events.test", None

    def __init__(self, events: list[SimulatedEvent]) -> None:
        super().__init__()
        self.found = [event.hits for event in events]
        self.write_handle(Hits, "hits")

    def num_events(self) -> int:
        return len(self.found)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        for i, hits in enumerate(self.found[start:stop]):
            yield ReadEvent(i, i, {"hits": hits})


@pytest.mark.parametrize(
    ("dataset", "job"),
    [
        ("redvid-10-50-linear", "encemb-redvid-10-50-linear"),
        ("redvid-10-50-helical", "encemb-redvid-helical"),
        ("redvid-50-100-helical", "encemb-redvid-helical"),
        ("redvid-endcap", "encemb-redvid-helical"),
        ("toy-planes", "image-segmentation"),
    ],
)
def test_jobs_that_are_chosen_for_simulated_events(dataset: str, job: str) -> None:
    events = list(make_dataset(dataset).events(3, seed=1, split="validation"))
    name, reason = choose_job(Events(events))
    assert name == job
    assert "others fit as well" in reason


def test_a_model_of_ones_own_replaces_the_first_of_a_job_with_two(tmp_path: Path) -> None:
    job = load_job("encemb-redvid-10-50-linear")
    models = [
        a.config.model for a in job.algorithms(model="mine.pt") if "model" in type(a.config).model_fields
    ]
    assert models == ["mine.pt", "refiner-redvid-linear"]
    path = tmp_path / "mine.pt"
    path.write_bytes(shipped_model("refiner-redvid-linear")[0].read_bytes())
    with pytest.raises(ConfigurationError, match="'refiner'"):
        jobs_for_model(str(path))
