"""Every shipped job runs end to end in its tiny variant: few particles, an untrained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import MissingExtraError
from mltrack_plugin.event_data import Particles, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.io import open_events
from mltrack_plugin.io.root_tracks import read_tracks
from mltrack_plugin.io.root_vertices import read_vertices
from mltrack_plugin.jobs.config import JobConfig, available_jobs, load_job
from mltrack_plugin.registry import find
from mltrack_plugin.simulation.datasets import make_dataset


def write_events(job: JobConfig, path: Path) -> None:
    """Test events of the job's data set in its tiny variant."""
    dataset = make_dataset(job.datasets[0], job.tiny.dataset)
    writer = find("writer", "root-events")(path=str(path), detector=job.detector_name)
    writer.initialize()
    for index in range(job.tiny.events):
        event = dataset.event(index, seed=1, split="test")
        store = EventStore(index, "test")
        store.add("hits", event.hits)
        store.add("truth_links", event.truth_links)
        store.add("particles", event.particles)
        writer.write(store)
    writer.finalize()


def save_models(job: JobConfig, folder: Path) -> dict[str, str]:
    """Untrained networks with the sizes of the tiny training, as archives, by the name of the model they stand for."""
    pytest.importorskip("lightning")
    from mltrack_plugin.training.config import load_training_config
    from mltrack_plugin.training.tasks import make_task

    found = {}
    for step in job.sequence:
        name = step.settings.get("model")
        if name is None or name in found:
            continue
        task = make_task(load_training_config(name, tiny=True))
        torch.manual_seed(1)
        module = task.module()
        card = ModelCard.from_mapping(task.card(module), name)
        found[name] = str(save_torchscript(module.network.eval(), card, folder / f"{name}.pt"))
    return found


def with_model(settings: dict[str, object], models: dict[str, str]) -> dict[str, object]:
    """The settings with the tiny model in place of the trained one."""
    return {**settings, "model": models[str(settings["model"])]} if "model" in settings else settings


@pytest.mark.parametrize("name", available_jobs())
def test_tiny_variant_runs_from_hits_to_its_output(name, tmp_path):
    job = load_job(name).tiny_job()
    try:
        write_events(job, tmp_path / "events.root")
    except MissingExtraError as error:
        pytest.skip(str(error))
    models = save_models(job, tmp_path)
    steps = [step.model_copy(update={"settings": with_model(step.settings, models)}) for step in job.sequence]
    job = job.model_copy(update={"sequence": tuple(steps)})
    reader = open_events(str(tmp_path / "events.root"))
    sequencer = Sequencer().add_reader(reader)
    for algorithm in job.algorithms(device="cpu", detector=job.detector_name):
        sequencer.add_algorithm(algorithm)
    output = tmp_path / "output.root"
    for writer in job.make_writers(output, overwrite=False) or [
        find("writer", "root-tracks")(path=str(output))
    ]:
        sequencer.add_writer(writer)
    summary = sequencer.run()

    assert summary.events == job.tiny.events
    assert {handle.kind for handle in reader.outputs} >= {TruthLinks, Particles}
    if [step.name for step in job.writers] == ["root-vertices"]:
        assert [len(vertices) > 0 for _, vertices in read_vertices(output)] == [True] * job.tiny.events
        return
    found = dict(read_tracks(output))
    assert len(found) == job.tiny.events
    assert sum(len(tracks) for tracks in found.values()) == summary.tracks
    fits = any(step.name in ("fit-kalman", "regress-image-tracks") for step in job.sequence)
    for tracks in found.values():
        assert (np.diff(tracks.hit_indices[tracks.offsets[:-1]]) > 0).all()
        assert ((tracks.quality >= 0) & (tracks.quality <= 1)).all()
        assert fits or not tracks.fitted.any()
