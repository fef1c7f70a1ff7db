"""Training on own files: splits by event, lazy reading, what is refused, and the documented three commands."""

import numpy as np
import pytest

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.files import FilesDataset, thinned, training_dataset, turned
from mltrack_plugin.training.run import train

LINEAR = make_dataset("redvid-10-50-linear", {"tracks": (5, 8), "noise": 0.1, "multiplicity": "uniform"})


def write(path, events, detector="mydetector", truth=True):
    writer = RootEventsWriter(path=str(path), detector=detector)
    writer.initialize()
    for number, event in enumerate(events):
        store = EventStore(number, source="test")
        store.add("hits", event.hits)
        if truth:
            store.add("truth_links", event.truth_links)
            store.add("particles", event.particles)
        writer.write(store)
    writer.finalize()
    return path


def scaled(event, factor):
    """The event in another unit of length."""
    hits = event.hits.arrays()
    return SimulatedEvent(
        Hits(**{name: factor * v if name in "xyz" else v for name, v in hits.items()}),
        event.truth_links,
        event.particles,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """100 events of a detector that no shipped model knows, in mm: reach 100 to 1000 mm."""
    events = [scaled(event, 100.0) for event in LINEAR.events(100, seed=1, split="train")]
    return write(tmp_path_factory.mktemp("own") / "events.root", events), events


@pytest.fixture
def dataset(own):
    made = FilesDataset({"path": str(own[0])})
    yield made
    made.close()


def same(event, other):
    return event.hits.equals(other.hits) and event.truth_links.equals(other.truth_links)


def test_splits_are_blocks_of_events_and_share_none(dataset, own):
    _, events = own
    assert dataset.detector == "mydetector"
    assert dataset.available == 100
    train_events = [dataset.event(i, seed=1, split="train") for i in range(80)]
    found = [next(k for k, event in enumerate(events) if same(event, other)) for other in train_events]
    assert sorted(found) == list(range(80))
    assert found != list(range(80))
    for split, first in (("validation", 80), ("test", 90)):
        for i in range(10):
            assert same(dataset.event(i, seed=1, split=split), events[first + i])


def test_each_pass_has_its_own_order_that_seed_and_pass_alone_decide(dataset, own):
    def order(data, seed, number):
        return [data.event(80 * number + i, seed=seed, split="train").hits.x[0] for i in range(80)]

    first = order(dataset, 1, 0)
    again = FilesDataset({"path": str(own[0])})
    assert order(again, 1, 1) == order(dataset, 1, 1)
    again.close()
    assert sorted(first) == sorted(order(dataset, 1, 1)) == sorted(order(dataset, 2, 0))
    assert first != order(dataset, 1, 1)
    assert first != order(dataset, 2, 0)


def test_events_are_read_in_blocks_and_only_when_needed(own, monkeypatch):
    read = []
    original = FilesDataset._read_block

    def counted(self, block):
        read.append(block)
        return original(self, block)

    monkeypatch.setattr(FilesDataset, "_read_block", counted)
    dataset = FilesDataset({"path": str(own[0])})
    assert dataset.detector == "mydetector"
    assert read == []
    for i in range(160):
        dataset.event(i, seed=1, split="train")
    # 80 events lie in three blocks of 32; each is read once a pass, the last one of a pass perhaps kept for the next.
    assert 4 <= len(read) <= 6
    assert set(read) == {0, 1, 2}
    dataset.close()


def test_large_events_are_read_a_few_at_a_time(own, monkeypatch):
    path, events = own
    n_hits = len(events[0].hits)
    monkeypatch.setattr("mltrack_plugin.training.files._BLOCK_HITS", 5 * n_hits)
    read = []
    original = FilesDataset._read_block
    monkeypatch.setattr(
        FilesDataset, "_read_block", lambda self, block: read.append(block) or original(self, block)
    )
    dataset = FilesDataset({"path": str(path)})
    found = [dataset.event(i, seed=1, split="train").hits for i in range(80)]
    assert sorted(read) == list(range(16))
    assert len(original(dataset, 0)) == 5
    assert {hits.x[0] for hits in found} == {event.hits.x[0] for event in events[:80]}
    assert same(dataset.event(3, seed=1, split="validation"), events[83])
    dataset.close()


def test_several_inputs_are_one_data_set(own, tmp_path):
    _, events = own
    paths = [write(tmp_path / f"{i}.root", events[30 * i : 30 * i + 30]) for i in range(2)]
    dataset = FilesDataset({"path": [str(path) for path in paths], "shares": (0.5, 0.25, 0.25)})
    assert dataset.available == 60
    for i in range(15):
        assert same(dataset.event(i, seed=1, split="validation"), events[30 + i])
        assert same(dataset.event(i, seed=1, split="test"), events[45 + i])
    dataset.close()


def test_training_events_are_turned_and_thinned_others_are_not(own):
    path, events = own
    settings = {"path": str(path), "augment": "train", "keep_particles": (0.3, 0.6)}
    dataset = FilesDataset(settings)
    plain = FilesDataset({"path": str(path)})
    for i in range(10):
        event, source = (data.event(i, seed=1, split="train") for data in (dataset, plain))
        assert 1 <= len(event.particles) < len(source.particles)
        assert len(event.hits) < len(source.hits)
        assert event.hits.equals(dataset.event(i, seed=1, split="train").hits)
        assert same(dataset.event(i, seed=1, split="validation"), events[80 + i])
    other_pass = dataset.event(80, seed=1, split="train")
    assert not any(same(other_pass, dataset.event(i, seed=1, split="train")) for i in range(80))
    dataset.close()
    plain.close()


def test_turned_event_keeps_radii_momenta_and_directions():
    event = next(LINEAR.events(1, seed=2, split="train"))
    other = turned(event, 0.7, mirror=True)
    np.testing.assert_allclose(other.hits.r, event.hits.r, rtol=1e-5)
    np.testing.assert_allclose(other.hits.z, -event.hits.z)
    np.testing.assert_allclose(other.particles.pt, event.particles.pt, rtol=1e-5)
    np.testing.assert_allclose(other.particles.pz, -event.particles.pz)
    for mine, theirs in ((other.hits.phi, event.hits.phi), (other.particles.phi, event.particles.phi)):
        np.testing.assert_allclose(np.angle(np.exp(1j * (mine - theirs))), 0.7, atol=1e-4)
    assert other.truth_links is event.truth_links


def test_thinned_event_keeps_whole_particles_and_a_share_of_the_noise():
    event = next(
        make_dataset("redvid-10-50-linear", {"tracks": (200, 200), "noise": 1.0}).events(1, 3, "train")
    )
    other = thinned(event, 0.25, np.random.default_rng(1))
    assert len(other.particles) == 50
    truth = other.truth_links.particle_id
    assert set(truth[truth > 0].tolist()) == set(other.particles.particle_id.tolist())
    counts = dict(zip(event.particles.particle_id.tolist(), event.particles.nhits.tolist(), strict=True))
    for particle in other.particles.particle_id.tolist():
        assert (truth == particle).sum() == counts[particle]
    noise = (truth == 0).sum() / (event.truth_links.particle_id == 0).sum()
    assert noise == pytest.approx(0.25, abs=0.05)


def test_a_file_without_truth_is_refused(own, tmp_path):
    path = write(tmp_path / "bare.root", own[1][:10], truth=False)
    dataset = FilesDataset({"path": str(path)})
    with pytest.raises(InputError, match=r"bare\.root: event \d+ has no truth links .* and no particles"):
        dataset.event(0, seed=1, split="train")
    dataset.close()


def test_mixed_detectors_and_units_are_refused(own, tmp_path):
    path, _ = own
    redvid = write(tmp_path / "redvid.root", LINEAR.events(10, 1, "train"), detector="redvid")
    dataset = FilesDataset({"path": [str(path), str(redvid)]})
    with pytest.raises(
        ConfigurationError, match=r"different detectors .*: mydetector, .*redvid\.root: redvid"
    ):
        _ = dataset.detector
    dataset.close()
    metres = write(tmp_path / "metres.root", [scaled(event, 0.1) for event in LINEAR.events(10, 1, "train")])
    mixed = FilesDataset({"path": [str(path), str(metres)], "shares": (0.5, 0.5, 0.0)})
    mixed.event(0, seed=1, split="validation")
    with pytest.raises(InputError, match=r"reaches .* mm, but .* mm: the inputs mix units of length"):
        mixed.event(50, seed=1, split="validation")
    mixed.close()


def test_a_file_that_names_no_detector_needs_one(own, tmp_path):
    path = write(tmp_path / "nameless.root", own[1][:5], detector=None)
    nameless = FilesDataset({"path": str(path)})
    with pytest.raises(
        ConfigurationError, match=r"does not name its detector; give .*reader: \{detector: NAME\}"
    ):
        _ = nameless.detector
    nameless.close()
    named = FilesDataset({"path": str(path), "reader": {"detector": "mine"}})
    assert named.detector == "mine"
    named.close()


def test_too_few_events_and_wrong_settings(own, dataset):
    message = (
        r"the validation split has 10 of the 100 events, so there is no event 10; set validation_events: 10"
    )
    with pytest.raises(ConfigurationError, match=message):
        dataset.event(10, seed=1, split="validation")
    empty = FilesDataset({"path": str(own[0]), "shares": (1.0, 0.0, 0.0)})
    with pytest.raises(ConfigurationError, match="the test split has 0 of the 100 events"):
        empty.event(0, seed=1, split="test")
    empty.close()
    with pytest.raises(ConfigurationError, match=r"no setting 'paht'.*'path'"):
        FilesDataset({"paht": "x"})
    with pytest.raises(ConfigurationError, match="two rising shares"):
        FilesDataset({"path": "x", "keep_particles": (0.9, 0.1)})
    with pytest.raises(ConfigurationError, match="shares must not be negative and sum up to at most 1"):
        FilesDataset({"path": "x", "shares": (0.9, 0.9, 0.1)})
    with pytest.raises(ConfigurationError, match="own events are read with  dataset: files"):
        training_dataset("file", {})
    with pytest.raises(ConfigurationError, match="redvid-10-50-linear"):
        training_dataset("redvid-10-50-linea", {})
    missing = FilesDataset({"path": "nowhere.root"})
    with pytest.raises(InputError, match=r"nowhere\.root"):
        _ = missing.detector


@pytest.mark.parametrize("name", ["encreg-redvid-10-50-linear", "encemb-generic"])
def test_networks_train_on_own_files(name, own, tmp_path):
    changes = (
        {"length_scale": 1000.0, "targets": ["theta", "sin_phi", "cos_phi"]}
        if name.startswith("encreg")
        else {}
    )
    config = load_training_config(
        name,
        tiny=True,
        name="mine",
        dataset="files",
        dataset_settings={"path": str(own[0])},
        detectors=["mydetector"],
        length_unit="mm",
        **changes,
    )
    last = train(config, tmp_path / "run", device="cpu", threads=1, progress=False)
    archive = tmp_path / "mine.pt"
    assert main(["export", str(last), "--output", str(archive)]) == 0
    card = load_model(archive).card
    assert card.detectors == ("mydetector",)
    assert card.training_data["settings"] == {"path": "events.root"}
    assert card.training_recipe["command"] == "mltrack train mine.yaml"


def test_embedding_starts_from_the_weights_of_another_model(own, tmp_path):
    import torch

    from mltrack_plugin.training.tasks import make_task

    changes = {
        "dataset": "files",
        "dataset_settings": {"path": str(own[0])},
        "detectors": ["mydetector"],
        "steps": 3,
    }
    first = load_training_config("encemb-generic", tiny=True, **changes)
    last = train(first, tmp_path / "run", device="cpu", threads=1, progress=False)
    archive = tmp_path / "first.pt"
    assert main(["export", str(last), "--output", str(archive)]) == 0
    second = load_training_config("encemb-generic", tiny=True, **changes, start_from=str(archive))
    task = make_task(second)
    module = task.module()
    saved = torch.load(last, weights_only=True)["state_dict"]
    for name, value in module.network.state_dict().items():
        torch.testing.assert_close(value, saved[f"network.{name}"], rtol=0, atol=0)
    assert task.card(module)["training_recipe"]["started_from"] == "encemb-generic"
    task.close()
    other = load_training_config("encemb-generic", **changes, start_from=str(archive))
    with pytest.raises(ConfigurationError, match="is a network of other sizes"):
        make_task(other).module()


def test_resumed_training_on_files_goes_on_in_the_same_order(own, tmp_path):
    import torch
    from lightning.pytorch.callbacks import Callback

    class Cut(Callback):
        def on_train_batch_end(self, trainer, *arguments):
            if trainer.global_step == 4:
                raise RuntimeError("power cut")

    config = load_training_config(
        "encemb-generic",
        tiny=True,
        dataset="files",
        dataset_settings={"path": str(own[0]), "augment": "train"},
        detectors=["mydetector"],
    )
    options = {"device": "cpu", "threads": 1, "progress": False}
    whole = train(config, tmp_path / "whole", **options)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, tmp_path / "half", callbacks=[Cut()], **options)
    half = train(config, tmp_path / "half", resume=True, **options)
    mine, theirs = (torch.load(path, weights_only=True)["state_dict"] for path in (half, whole))
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=0)


def test_particles_that_the_file_does_not_list_count_as_noise():
    event = SimulatedEvent(
        Hits(hit_id=[1, 2, 3], x=[1.0, 2.0, 3.0], y=[0.0] * 3, z=[0.0] * 3),
        TruthLinks(np.array([7, 7, 99], dtype=np.uint64)),
        Particles(
            particle_id=np.array([7], dtype=np.uint64),
            **{name: np.ones(1) for name in ("vx", "vy", "vz", "px", "py", "pz", "q")},
            nhits=np.array([2]),
        ),
    )
    kept = thinned(event, 1e-9, np.random.default_rng(1))
    assert kept.truth_links.particle_id.tolist() == [7, 7]
