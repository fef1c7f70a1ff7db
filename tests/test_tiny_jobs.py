"""Every shipped job runs end to end in its tiny variant: few particles, an untrained network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mltrack_plugin.errors import MissingExtraError
from mltrack_plugin.event_data import Particles, TruthLinks
from mltrack_plugin.event_store import EventStore
from mltrack_plugin.io import open_events
from mltrack_plugin.io.root_tracks import read_tracks
from mltrack_plugin.job import JobConfig, available_jobs, load_job
from mltrack_plugin.models.archive import save_torchscript
from mltrack_plugin.models.card import ModelCard
from mltrack_plugin.models.encreg import EncReg, EncRegConfig
from mltrack_plugin.registry import find
from mltrack_plugin.sequencer import Sequencer
from mltrack_plugin.simulation.datasets import make_dataset

OUTPUTS = {"theta": "rad", "sin_phi": "1", "cos_phi": "1"}


def write_events(job: JobConfig, path: Path) -> None:
    """Test events of the job's data set in its tiny variant."""
    dataset = make_dataset(job.datasets[0], job.tiny.dataset)
    writer = find("writer", "root-events")(path=str(path), detector=job.detectors[0])
    writer.initialize()
    for index in range(job.tiny.events):
        event = dataset.event(index, seed=1, split="test")
        store = EventStore(index, "test")
        store.add("hits", event.hits)
        store.add("truth_links", event.truth_links)
        store.add("particles", event.particles)
        writer.write(store)
    writer.finalize()


def save_model(job: JobConfig, path: Path) -> Path:
    """An untrained network with the sizes of the tiny variant, as an archive for the job's detectors."""
    torch.manual_seed(1)
    sizes = {**job.tiny.network, "output_mean": [0.0] * len(OUTPUTS), "output_scale": [1.0] * len(OUTPUTS)}
    unit = "redvid" if "redvid" in job.detectors else "mm"
    card = ModelCard(
        name="tiny",
        architecture="encreg",
        hyperparameters=sizes,
        features=("x", "y", "z"),
        units={**dict.fromkeys("xyz", unit), **OUTPUTS},
        coordinate_system="cartesian",
        detectors=job.detectors,
        outputs=tuple(OUTPUTS),
        output_scales=(0.1,) * len(OUTPUTS),
    )
    return save_torchscript(EncReg(EncRegConfig(**sizes)).eval(), card, path)


@pytest.mark.parametrize("name", available_jobs())
def test_tiny_variant_runs_from_hits_to_tracks(name, tmp_path):
    job = load_job(name).tiny_job()
    try:
        write_events(job, tmp_path / "events.root")
    except MissingExtraError as error:
        pytest.skip(str(error))
    model = save_model(job, tmp_path / "tiny.pt")
    reader = open_events(str(tmp_path / "events.root"))
    sequencer = Sequencer().add_reader(reader)
    for algorithm in job.algorithms(model=str(model), device="cpu", detector=job.detectors[0]):
        sequencer.add_algorithm(algorithm)
    sequencer.add_writer(find("writer", "root-tracks")(path=str(tmp_path / "tracks.root")))
    summary = sequencer.run()

    assert summary.events == job.tiny.events
    assert {handle.kind for handle in reader.outputs} >= {TruthLinks, Particles}
    found = dict(read_tracks(tmp_path / "tracks.root"))
    assert len(found) == job.tiny.events
    assert sum(len(tracks) for tracks in found.values()) == summary.tracks
    fits = "fit-helix" in [step.name for step in job.sequence]
    for tracks in found.values():
        assert (np.diff(tracks.hit_indices[tracks.offsets[:-1]]) > 0).all()
        assert ((tracks.quality >= 0) & (tracks.quality <= 1)).all()
        assert fits or not tracks.fitted.any()
