"""Training of the recurrent networks: tiny runs end to end, constants measured, batches by their number."""

import numpy as np
import pytest
import torch
from barrel_events import RADII, event, lines
from click.testing import CliRunner

pytest.importorskip("lightning")
pytest.importorskip("acts")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.cli.main import cli
from mltrack_plugin.errors import MltrackError
from mltrack_plugin.models.hit_predictor import HitPredictorConfig, StraightLine
from mltrack_plugin.published.heptrkx.sequences.barrel import particle_sequences
from mltrack_plugin.published.heptrkx.training.gru_assignment import collate, sample
from mltrack_plugin.published.heptrkx.training.hit_predictor import measure_constants
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task

NAMES = ("lstm-hit-predictor", "gaussian-hit-predictor", "gru-assignment")


@pytest.mark.parametrize("name", NAMES)
def test_tiny_training_becomes_a_model(name, tmp_path):
    config = load_training_config(name, tiny=True)
    checkpoint = train(config, tmp_path, device="cpu", threads=1, progress=False)
    archive = tmp_path / "model.pt"
    result = CliRunner().invoke(cli, ["export", str(checkpoint), "--output", str(archive)])
    assert result.exit_code == 0, result.output
    model = load_model(archive)
    assert model.card.name == name
    assert model.card.kind == "sequence"
    assert model.card.features == ("r", "phi", "z")
    assert np.isfinite(model.card.metrics["val_score"])
    assert model.card.validity["r"][1] > 1020


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_depends_on_its_number_alone(name):
    task = make_task(load_training_config(name, tiny=True))
    stream = task.training_batches(0)
    batches = [next(stream) for _ in range(4)]
    late = next(task.training_batches(3))
    for mine, theirs in zip(batches[3], late, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert batches[2][0].shape != late[0].shape or not torch.equal(batches[2][0], late[0])


def test_constants_are_radii_and_spreads_of_the_training_tracks():
    tracks = lines(500)
    rng = np.random.default_rng(6)
    tracks[:, :, 0] += 0.5
    tracks[:, 6, 2] += rng.normal(0.0, 2.0, 500)
    present = np.ones((500, 10), dtype=bool)
    present[:, 9] = False
    sequences = particle_sequences(*event(tracks, present))
    found = measure_constants(sequences, HitPredictorConfig())
    np.testing.assert_allclose(found.radii[:9], RADII[:9] + 0.5, atol=1e-3)
    # No track reaches the last layer: its constants stay.
    assert found.radii[9] == RADII[9]
    assert found.output_scale[8] == (1.0, 1.0)
    assert found.output_scale[5][1] == pytest.approx(2.0, rel=0.1)
    assert found.input_scale[6][2] == pytest.approx(2.0, rel=0.1)
    deviations, _ = StraightLine(found)(torch.from_numpy(sequences.hits[:, :8]))
    assert deviations[:, 6, 2].square().mean() == pytest.approx(1.0, rel=1e-3)


def test_samples_hold_ordered_hits_with_their_slots():
    hits, truth = event(lines(4, turn=1e-4))
    ordered, slot, particle_id = sample(SimulatedEvent(hits, truth, None), 3)
    assert (np.diff(ordered[:, 1]) >= 0).all()
    assert np.bincount(slot).tolist() == [10, 10, 10, 10]
    assert sorted(np.unique(particle_id).tolist()) == [1, 2, 3, 4]
    short = (ordered[:5], slot[:5], particle_id[:5])
    batch = collate([(ordered, slot, particle_id), short])
    assert [tuple(part.shape) for part in batch] == [(2, 40, 3), (2, 40), (2, 40), (2, 40)]
    assert batch[1].sum(1).tolist() == [40, 5]
    assert (batch[0][1, 5:] == 0).all()


@pytest.mark.parametrize("name", ["gaussian-hit-predictor", "gru-assignment"])
def test_data_without_barrel_tracks_are_refused(name):
    config = load_training_config(name, tiny=True, dataset="redvid-10-50-linear", dataset_settings={})
    with pytest.raises(MltrackError, match="barrel"):
        next(make_task(config).training_batches(0))
