"""Events from HepMC3 files: what is read, pile-up, who owns which collision, damaged files."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.hepmc import count_collisions

SAMPLE = Path(os.environ.get("MLTRACK_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "hepmc"


def write_hepmc(path: Path, momenta: list[float]) -> Path:
    """One collision per momentum p: two opposite muons with px = pz = +-p."""
    lines = ["HepMC::Version 3.02.05", "HepMC::Asciiv3-START_EVENT_LISTING"]
    for number, p in enumerate(momenta):
        energy = np.hypot(2**0.5 * p, 0.10566)
        lines += [f"E {number} 1 4", "U GEV MM"]
        lines += [f"P {i + 1} 0 2212 0 0 {sign * 7000} 7000 0.938 4" for i, sign in enumerate((1, -1))]
        lines += ["V -1 0 [1,2]"]
        lines += [
            f"P {i + 3} -1 {-13 * sign} {sign * p} 0 {sign * p} {energy} 0.10566 1"
            for i, sign in enumerate((1, -1))
        ]
    text = "\n".join([*lines, "HepMC::Asciiv3-END_EVENT_LISTING", ""])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    # The transverse momentum tells the collision: 1.0, 1.5, ... 5.5 GeV.
    folder = tmp_path_factory.mktemp("hepmc")
    return write_hepmc(folder / "hard.hepmc3", [1.0 + 0.5 * i for i in range(10)])


def collisions(event) -> list[float]:
    return np.unique(np.round(event.particles.px[event.particles.q > 0], 3)).tolist()


def test_number_of_collisions(hard, tmp_path):
    assert count_collisions(hard) == 10
    assert count_collisions(write_hepmc(tmp_path / "a.hepmc3.gz", [1.0, 2.0])) == 2


def test_every_collision_belongs_to_one_split(hard):
    pytest.importorskip("acts")
    dataset = make_dataset("acts-hepmc", {"hepmc": hard, "shares": (0.6, 0.2, 0.2)})
    got = {
        split: [collisions(event) for event in dataset.events(n, seed=1, split=split)]
        for split, n in {"train": 6, "validation": 2, "test": 2}.items()
    }
    assert got["train"] == [[1.0 + 0.5 * i] for i in range(6)]
    assert got["validation"] == [[4.0], [4.5]]
    assert got["test"] == [[5.0], [5.5]]


def test_event_content_and_determinism(hard):
    pytest.importorskip("acts")
    dataset = make_dataset("acts-hepmc", {"hepmc": hard, "noise": 0.5})
    first, second = dataset.events(2, seed=4, split="train")
    assert second.hits.equals(dataset.event(1, seed=4, split="train").hits)
    assert not second.hits.equals(dataset.event(1, seed=5, split="train").hits)
    np.testing.assert_allclose(first.particles.pt, 1.0, rtol=1e-3)
    assert sorted(first.particles.q.tolist()) == [-1.0, 1.0]
    # The whole collision was moved to one vertex in the beam spot.
    assert len(np.unique(first.particles.vz)) == 1
    assert 0 < np.abs(first.particles.vz[0]) < 300
    assert first.particles.vz[0] != second.particles.vz[0]
    truth = first.truth_links.particle_id
    assert (truth == 0).sum() == round(0.5 * (truth > 0).sum())
    assert first.truth_links.weight.sum() == pytest.approx(1.0, abs=1e-4)


def test_pileup_is_mixed_in_from_its_own_file(hard, tmp_path):
    pytest.importorskip("acts")
    soft = write_hepmc(tmp_path / "soft.hepmc3.gz", [10.0 + i for i in range(30)])
    settings = {"hepmc": hard, "pileup_hepmc": soft, "pileup": 3, "shares": (0.5, 0.0, 0.5)}
    dataset = make_dataset("acts-hepmc", settings)
    train = [collisions(event) for event in dataset.events(5, seed=1, split="train")]
    test = [collisions(event) for event in dataset.events(5, seed=1, split="test")]
    assert train[0] == [1.0, 10.0, 11.0, 12.0]
    assert test[0] == [3.5, 25.0, 26.0, 27.0]
    used = [value for event in train + test for value in event]
    assert len(set(used)) == len(used) == 40


def test_more_events_than_the_split_owns(hard):
    pytest.importorskip("acts")
    dataset = make_dataset("acts-hepmc", {"hepmc": hard})
    with pytest.raises(ConfigurationError, match=r"test split owns 1 events, 2 are asked for.*10 in .*hard"):
        list(dataset.events(2, seed=1, split="test"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give a HepMC3 file"),
        ({"hepmc": "a", "pileup": 2}, "pileup and pileup_hepmc belong together"),
        ({"hepmc": "a", "shares": (0.9, 0.9, 0.0)}, "sum up to at most 1"),
    ],
)
def test_incomplete_settings(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        make_dataset("acts-hepmc", settings)


def test_missing_foreign_empty_and_truncated_files(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the HepMC3 file .*nothing"):
        count_collisions(tmp_path / "nothing.hepmc3")
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(InputError, match="not a HepMC3 ascii file"):
        count_collisions(tmp_path / "text")
    with pytest.raises(InputError, match="holds no collisions"):
        count_collisions(write_hepmc(tmp_path / "empty.hepmc3", []))
    cut = write_hepmc(tmp_path / "cut.hepmc3.gz", [1.0 + i for i in range(500)])
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot read the HepMC3 file"):
        count_collisions(cut)


def test_damaged_collisions(tmp_path):
    path = write_hepmc(tmp_path / "a.hepmc3", [1.0, 2.0, 3.0])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-3]))
    with pytest.raises(InputError, match=r"collision 2 is damaged or cut off.* 4 particles, 2 follow"):
        count_collisions(path)
    pytest.importorskip("acts")
    lines[5] = "P garbage"
    damaged = tmp_path / "b.hepmc3"
    damaged.write_text("\n".join(lines))
    dataset = make_dataset("acts-hepmc", {"hepmc": damaged, "shares": (1, 0, 0)})
    with pytest.raises(InputError, match=r"a collision in .*b\.hepmc3 cannot be read"):
        dataset.event(0, seed=1, split="train")


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no sample data (MLTRACK_SAMPLE_DATA)")
def test_real_collisions_with_pileup():
    pytest.importorskip("acts")
    settings = {
        "hepmc": SAMPLE / "ttbar_14TeV_20ev.hepmc3.gz",
        "pileup_hepmc": SAMPLE / "minbias_14TeV_200ev.hepmc3.gz",
        "pileup": 10,
    }
    events = list(make_dataset("acts-hepmc", settings).events(2, seed=1, split="train"))
    for event in events:
        assert 300 < len(event.particles) < 5000
        primary = np.hypot(event.particles.vx, event.particles.vy) < 0.1
        assert len(np.unique(np.round(event.particles.vz[primary], 1))) > 5
        assert 5 < event.particles.nhits.mean() < 14
