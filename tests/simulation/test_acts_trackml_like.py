"""TrackML-like data sets: selection, splits, banks on disk, subsets of a real directory."""

import gzip

import numpy as np
import pytest

from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.io import open_events
from mltrack_plugin.simulation.datasets import make_dataset

SMALL = {"sources": 2, "pileup": 10, "tracks": (5, 20)}


def write_trackml_event(folder, number: int, n_particles: int, seed: int) -> None:
    """A TrackML event: four hits per particle, noise, 64-bit particle ids that need all their digits."""
    rng = np.random.default_rng(seed)
    stem = folder / f"event{number:09d}"
    particles, hits, truth = [], [], []
    for row in range(n_particles):
        particle_id = 4503599627370497 + 2 * row + number
        px, py, pz = rng.normal(size=3)
        particles.append(f"{particle_id},0,0,0,{px},{py},{pz},{1 if row % 2 else -1},4")
        for layer in range(4):
            x, y, z = 30.0 * (layer + 1) * np.array([px, py, pz])
            hits.append(f"{x},{y},{z},8,{2 * (layer + 1)},{row + 1}")
            truth.append(f"{particle_id},{x},{y},{z},{px},{py},{pz},0.001")
    for _ in range(10):
        hits.append("1.0,2.0,3.0,8,2,1")
        truth.append("0,1,2,3,0,0,0,0")
    order = rng.permutation(len(hits))
    header = "hit_id,x,y,z,volume_id,layer_id,module_id"
    truth_header = "hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight"
    tables = {
        "hits": [header, *(f"{i + 1},{hits[k]}" for i, k in enumerate(order))],
        "truth": [truth_header, *(f"{i + 1},{truth[k]}" for i, k in enumerate(order))],
        "particles": ["particle_id,vx,vy,vz,px,py,pz,q,nhits", *particles],
    }
    for name, lines in tables.items():
        (folder / f"{stem.name}-{name}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    pytest.importorskip("acts")
    pytest.importorskip("pythia8mc")
    folder = tmp_path_factory.mktemp("banks")
    dataset = make_dataset("trackml-10-50", {**SMALL, "bank_dir": folder})
    dataset.bank(1, "test")
    return dataset, folder


def test_particles_are_selected_as_in_the_published_subsets(simulated):
    dataset, _ = simulated
    assert dataset.detector == "generic"
    bank = dataset.bank(1, "test")
    assert bank.n_sources == 2
    assert bank.pt.min() >= 0.15
    assert np.abs(np.arcsinh(bank.momentum[:, 2] / bank.pt)).max() <= 4.0
    assert set(np.abs(bank.charge).tolist()) == {1.0}
    # Decays and conversions in the detector are among them.
    radius = np.hypot(*bank.vertex[:, :2].T)
    assert 0.05 < (radius > 1.0).mean() < 0.4
    assert np.median(radius) < 0.05
    assert 8 < bank.n_hits.mean() < 13


def test_events_of_the_dataset(simulated):
    dataset, _ = simulated
    numbers = []
    for event in dataset.events(30, seed=1, split="test"):
        event.truth_links.check_against(event.hits)
        assert (event.truth_links.particle_id > 0).all()
        np.testing.assert_array_equal(
            np.unique(event.truth_links.particle_id), np.sort(event.particles.particle_id)
        )
        numbers.append(len(event.particles))
    assert min(numbers) >= 5
    assert max(numbers) <= 20


def test_bank_on_disk_is_used_again_and_never_for_other_parameters(simulated):
    dataset, folder = simulated
    assert [p.name for p in folder.iterdir()] == ["particles-test-1.npz"]
    again = make_dataset("trackml-10-50", {**SMALL, "bank_dir": folder})
    event = dataset.event(3, seed=1, split="test")
    assert event.hits.equals(again.event(3, seed=1, split="test").hits)
    # The larger set shares the bank: what is composed from it is no part of it.
    larger = make_dataset("trackml-200-500", {**SMALL, "bank_dir": folder, "tracks": (50, 60)})
    assert len(larger.event(0, seed=1, split="test").particles) >= 50
    other = make_dataset("trackml-10-50", {**SMALL, "bank_dir": folder, "min_pt": 0.5})
    with pytest.raises(ConfigurationError, match="made with other parameters"):
        other.event(0, seed=1, split="test")


def test_simulation_is_repeated_exactly_and_splits_have_other_sources(simulated):
    dataset, _ = simulated
    fresh = make_dataset("trackml-10-50", SMALL)
    bank, again = dataset.bank(1, "test"), fresh.bank(1, "test")
    for name, values in vars(bank).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    other = fresh.bank(1, "validation")
    assert not set(map(bytes, bank.momentum)) & set(map(bytes, other.momentum))


def test_only_training_events_are_turned(tmp_path):
    write_trackml_event(tmp_path, 1000, 30, 1)
    turned = {"train": True, "test": False}
    for split, expected in turned.items():
        shares = (1.0, 0.0, 0.0) if split == "train" else (0.0, 0.0, 1.0)
        settings = {"from_dir": tmp_path, "shares": shares, "tracks": (20, 20)}
        event = make_dataset("trackml-10-50", settings).event(0, seed=1, split=split)
        plain = make_dataset("trackml-10-50", {**settings, "augment": "never"}).event(0, seed=1, split=split)
        assert event.hits.equals(plain.hits) is not expected


def test_subset_of_a_trackml_directory(tmp_path):
    for i, number in enumerate((1000, 1001, 1002, 1003, 1004)):
        write_trackml_event(tmp_path, number, 40, i)
    settings = {"from_dir": tmp_path, "shares": (0.6, 0.2, 0.2), "tracks": (10, 20), "augment": "never"}
    dataset = make_dataset("trackml-10-50", {**settings, "sources": 1, "train_sources": 3})
    assert dataset.detector == "trackml"
    owned = {}
    for split, n_sources in {"train": 3, "validation": 1, "test": 1}.items():
        bank = dataset.bank(1, split)
        assert bank.n_sources == n_sources
        owned[split] = set(map(bytes, bank.momentum))
    assert not owned["train"] & owned["test"]
    assert not owned["validation"] & owned["test"]
    for event in dataset.events(10, seed=1, split="test"):
        assert 10 <= len(event.particles) <= 20
        assert len(event.hits) == 4 * len(event.particles)
        for particle in range(len(event.particles)):
            mine = event.truth_links.particle_id == event.particles.particle_id[particle]
            x, y = event.hits.x[mine], event.hits.y[mine]
            layer = event.hits.layer_id[mine]
            np.testing.assert_allclose(x, 15.0 * layer * event.particles.px[particle], rtol=1e-4)
            np.testing.assert_allclose(y, 15.0 * layer * event.particles.py[particle], rtol=1e-4)


def test_command_line_cuts_a_subset_of_a_trackml_directory(tmp_path):
    source = tmp_path / "trackml"
    source.mkdir()
    for i in range(3):
        write_trackml_event(source, 1000 + i, 40, i)
    output = tmp_path / "subset.root"
    arguments = ["--from", source, "--shares", "0.34,0.33,0.33", "--split", "validation", "--events", 5]
    assert main(["simulate", "trackml-10-50", *map(str, arguments), "--output", str(output)]) == 0
    reader = open_events(str(output))
    reader.initialize()
    try:
        events = [event.collections for event in reader.events()]
    finally:
        reader.finalize()
    assert reader.detector == "trackml"
    own = make_dataset("trackml-10-50", {"from_dir": source, "shares": (0.34, 0.33, 0.33)}).bank(
        1, "validation"
    )
    momenta = set(map(bytes, own.momentum))
    for event in events:
        particles = event["particles"]
        assert 10 <= len(particles) <= 40
        assert set(map(bytes, np.stack([particles.px, particles.py, particles.pz], axis=1))) <= momenta
        assert event["truth_links"].weight.sum() == pytest.approx(1.0, abs=1e-5)


def test_directory_without_truth_or_without_events_for_the_split(tmp_path):
    write_trackml_event(tmp_path, 1000, 5, 1)
    for split, shares, advice in (("test", (1, 0, 0), "0,0,1"), ("train", (0, 0, 1), "1,0,0")):
        message = f"the {split} split owns none of the 1 events; give other --shares, e.g. {advice}"
        with pytest.raises(ConfigurationError, match=message):
            make_dataset("trackml-10-50", {"from_dir": tmp_path, "shares": shares}).event(
                0, seed=1, split=split
            )
    (tmp_path / "event000001000-truth.csv.gz").unlink()
    with pytest.raises(InputError, match="no truth_links"):
        make_dataset("trackml-10-50", {"from_dir": tmp_path, "shares": (0, 0, 1)}).event(
            0, seed=1, split="test"
        )
