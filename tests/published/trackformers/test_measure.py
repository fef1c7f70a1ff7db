"""Which jobs stand for which design, and that a job is measured as mltrack evaluate would."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import ConfigurationError, EventError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.jobs.config import JobConfig, load_job
from mltrack_plugin.published.trackformers import designs
from mltrack_plugin.published.trackformers import measure as measuring
from mltrack_plugin.published.trackformers.designs import OWN, shipped_designs
from mltrack_plugin.published.trackformers.measure import measure
from mltrack_plugin.published.trackformers.published import (
    DATASETS,
    DESIGNS,
    EFFICIENCIES,
    FIT_ACCURACY,
    TIMES,
)
from mltrack_plugin.simulation.datasets import make_dataset

NAME = "encreg-redvid-10-50-linear"


@pytest.fixture
def tiny_job(tmp_path):
    """EncReg's job with an untrained network of a few weights."""
    pytest.importorskip("lightning")
    from mltrack_plugin.training.config import load_training_config
    from mltrack_plugin.training.tasks import make_task

    task = make_task(load_training_config(NAME, tiny=True))
    torch.manual_seed(1)
    module = task.module()
    card = ModelCard.from_mapping(task.card(module), NAME)
    archive = save_torchscript(module.network.eval(), card, tmp_path / "tiny.pt")
    job = load_job(NAME)
    steps = [
        step.model_copy(update={"settings": {**step.settings, "model": str(archive)}})
        if "model" in step.settings
        else step
        for step in job.sequence
    ]
    return job.model_copy(update={"sequence": tuple(steps)})


def few_tracks(n=4):
    return make_dataset("redvid-10-50-linear", {"tracks": (n, n)})


def test_published_tables_hold_the_designs_and_data_sets_of_the_paper():
    assert len(FIT_ACCURACY) == 18
    assert len(EFFICIENCIES) == 6
    assert len(TIMES) == 11
    for table in (FIT_ACCURACY, EFFICIENCIES, TIMES):
        assert {dataset for dataset, _ in table} == set(DATASETS)
        assert {design for _, design in table} <= set(DESIGNS)


def test_shipped_jobs_are_found_by_architecture_and_data_set():
    found = shipped_designs()
    assert found["redvid-10-50-linear", "EncReg"].name == "encreg-redvid-10-50-linear"
    assert found["trackml-10-50", "EncReg"].name == "encreg-trackml-10-50"
    assert found["trackml-200-500", OWN].name == "encemb-generic"
    for dataset, design in found:
        assert dataset in DATASETS
        assert design in (*DESIGNS, OWN)


def test_the_job_named_after_architecture_and_data_set_stands_for_the_design(monkeypatch):
    models = {
        "encreg-paper-redvid-10-50-linear": "encreg",
        "encreg-redvid-10-50-linear": "encreg",
        "encreg-fa-cpu-trackml-200-500": "encreg",
        "encreg-fa-trackml-200-500": "encreg",
        "unet-small-redvid-50-100-helical": "unet",
        "encemb-redvid-helical": "encemb",
        "gnn-hits": "gnn-hits",
    }

    def job(name):
        datasets = [known for known in DATASETS if name.endswith(known)] or ["redvid-10-50-helical"]
        step = {"algorithm": "encreg", "model": name}
        return JobConfig.model_validate({"name": name, "datasets": datasets, "sequence": [step]})

    monkeypatch.setattr(
        designs, "available_models", lambda: {k: SimpleNamespace(architecture=v) for k, v in models.items()}
    )
    monkeypatch.setattr(designs, "available_jobs", lambda: sorted(models))
    monkeypatch.setattr(designs, "load_job", job)
    assert {key: job.name for key, job in shipped_designs().items()} == {
        ("redvid-10-50-linear", "EncReg"): "encreg-redvid-10-50-linear",
        ("trackml-200-500", "EncReg-FA"): "encreg-fa-trackml-200-500",
        ("redvid-50-100-helical", "U-Net"): "unet-small-redvid-50-100-helical",
        ("redvid-10-50-helical", OWN): "encemb-redvid-helical",
    }


def test_measured_scores_are_those_of_mltrack_evaluate(tmp_path):
    events, report = tmp_path / "events.root", tmp_path / "report.json"
    arguments = ["simulate", "redvid-10-50-linear", "--events", "4", "--seed", "9", "--output", str(events)]
    assert main(arguments) == 0
    assert main(["evaluate", "--input", str(events), "--config", NAME, "--json", str(report)]) == 0
    wanted = json.loads(report.read_text())
    found = measure(load_job(NAME), make_dataset("redvid-10-50-linear"), 4, 9, "cpu")
    assert found.events == 4
    for name, figure in found.scores.items():
        assert figure.value == pytest.approx(wanted[name], abs=1e-12)
        assert figure.uncertainty == pytest.approx((wanted[f"{name}_high"] - wanted[f"{name}_low"]) / 2)


def test_times_are_those_of_the_network_and_of_the_rest_without_the_first_event(tiny_job, monkeypatch):
    """Every step takes as many seconds as its number in the sequence, in the first event a hundred times as long."""
    clock = [0.0]
    monkeypatch.setattr(measuring.time, "process_time", lambda: clock[0])
    original = JobConfig.algorithms

    def algorithms(self, **overrides):
        made = original(self, **overrides)
        for number, step in enumerate(made, start=1):

            def execute(store, number=number, plain=step.execute):
                clock[0] += number * (100.0 if store.event_number == 0 else 1.0)
                return plain(store)

            step.execute = execute
        return made

    monkeypatch.setattr(JobConfig, "algorithms", algorithms)
    names = [step.name for step in tiny_job.sequence]
    assert names == ["preprocess-hits", "encreg", "hdbscan", "build-tracks", "track-quality"]
    found = measure(tiny_job, few_tracks(), 5, 1, "cpu")
    assert found.network_ms.value == pytest.approx(2000.0)
    # Steps 1, 3 and 4; the quality behind them is no part of the published times.
    assert found.rest_ms.value == pytest.approx(8000.0)
    assert found.rest_ms.uncertainty == 0.0


def test_progress_and_the_same_result_again(tiny_job):
    seen = []
    first, again = (measure(tiny_job, few_tracks(), 3, 1, "cpu", lambda: seen.append(1)) for _ in range(2))
    assert first.scores == again.scores
    assert len(seen) == 6


class GivesUp(Algorithm):
    """An algorithm that has no tracks to offer."""

    def __init__(self, config=None, **settings):
        super().__init__(config, **settings)
        self.read_handle(Hits, "hits")
        self.write_handle(ProtoTracks, "proto_tracks")

    def execute(self, event_store):
        return ProcessCode.ABORT


def test_an_event_that_a_step_gives_up_is_named(tiny_job, monkeypatch):
    monkeypatch.setattr(JobConfig, "algorithms", lambda self, **overrides: [GivesUp()])
    job = tiny_job.model_copy(update={"sequence": tiny_job.sequence[:1]})
    with pytest.raises(EventError, match="preprocess-hits gave up event 0 of redvid-10-50-linear"):
        measure(job, few_tracks(), 2, 1, "cpu")


class Halves(Algorithm):
    """Takes each seed and the next hits of its particle from a table, up to half of the particle, seed included."""

    def __init__(self, known):
        super().__init__()
        self.known = known
        self._hits = self.read_handle(Hits, "hits")
        self._seeds = self.read_handle(ProtoTracks, "seeds")
        self._tracks = self.write_handle(ProtoTracks, "proto_tracks")

    def execute(self, event_store):
        hits, seeds = self._hits(event_store), self._seeds(event_store)
        rows = self.known[hits.x.tobytes()]
        labels = np.full(len(hits), -1)
        for track, seed in enumerate(seeds.hit_indices):
            mine = np.flatnonzero(rows == rows[seed])
            mine = mine[np.argsort(np.linalg.norm(hits.positions[mine], axis=1))]
            assert mine[0] == seed
            labels[mine[: len(mine) // 2 + 1]] = track
        self._tracks(event_store, ProtoTracks.from_labels(labels))
        return ProcessCode.SUCCESS


def test_seeds_of_encdec_are_true_and_their_hits_do_not_count(tiny_job, monkeypatch):
    dataset = make_dataset("redvid-10-50-linear", {"tracks": (6, 6), "sigma_theta": 0.0})
    events = list(dataset.events(3, seed=1, split="test"))
    known = {event.hits.x.tobytes(): event.truth_links.particle_id for event in events}
    monkeypatch.setattr(JobConfig, "algorithms", lambda self, **overrides: [Halves(known)])
    step = tiny_job.sequence[1].model_copy(update={"name": "encdec"})
    found = measure(tiny_job.model_copy(update={"sequence": (step,)}), dataset, 3, 1, "cpu")
    counts = np.concatenate([event.particles.nhits for event in events])
    # Of n hits, n // 2 + 1 are on the track: more than half of the particle. The seed counts in neither sum.
    assert found.scores["trackml_score"].value == pytest.approx((counts // 2).sum() / (counts - 1).sum())


def test_a_job_without_tracks_is_refused(tiny_job):
    job = tiny_job.model_copy(update={"sequence": tiny_job.sequence[:2]})
    with pytest.raises(ConfigurationError, match="makes no tracks"):
        measure(job, few_tracks(), 2, 1, "cpu")


def test_events_of_the_benchmark_are_those_of_the_test_split(tiny_job, monkeypatch):
    asked = []
    dataset = few_tracks()
    plain = dataset.event

    def event(index, *, seed, split):
        asked.append((index, seed, split))
        return plain(index, seed=seed, split=split)

    monkeypatch.setattr(dataset, "event", event)
    measure(tiny_job, dataset, 2, 2026, "cpu")
    assert asked == [(0, 2026, "test"), (1, 2026, "test")]
