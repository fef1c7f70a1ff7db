"""Training on what a job's first steps leave: which hits, how events are made of them, and what is refused."""

import math

import numpy as np
import pytest

pytest.importorskip("lightning")

import torch

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.encemb import pack
from mltrack_plugin.training.left_over import LeftOverConfig, LeftOverDataset, steps_before
from mltrack_plugin.training.losses import anchor_loss

RADII = np.array([32.0, 72.0, 116.0, 172.0, 260.0, 360.0, 500.0, 660.0])
VOLUMES = np.array([8, 8, 8, 8, 13, 13, 13, 13])
LAYERS = np.array([2, 4, 6, 8, 2, 4, 6, 8])


class Straight(Dataset):
    """Straight tracks from the beam axis through the barrel, and as many stray hits as they have."""

    def __init__(self, n=12):
        super().__init__("straight", 999, {})
        self.n = n

    @property
    def detector(self):
        return "generic"

    def event(self, index, *, seed, split):
        rng = np.random.default_rng(self.entropy(index, seed, split))
        phi = np.repeat(rng.uniform(-np.pi, np.pi, self.n), len(RADII))
        phi = np.append(phi, rng.uniform(-np.pi, np.pi, len(phi)))
        z = np.append(np.zeros(len(phi) // 2), rng.uniform(-400, 400, len(phi) // 2))
        radius = np.tile(RADII, 2 * self.n)
        particle = np.append(np.repeat(np.arange(1, self.n + 1), len(RADII)), np.zeros(len(phi) // 2, int))
        hits = Hits(
            hit_id=np.arange(1, len(phi) + 1),
            x=radius * np.cos(phi),
            y=radius * np.sin(phi),
            z=z,
            volume_id=np.tile(VOLUMES, 2 * self.n),
            layer_id=np.tile(LAYERS, 2 * self.n),
        )
        direction = phi[: len(phi) // 2 : len(RADII)]
        zeros = np.zeros(self.n)
        particles = Particles(
            particle_id=np.arange(1, self.n + 1, dtype=np.uint64),
            vx=zeros,
            vy=zeros,
            vz=zeros,
            px=1e4 * np.cos(direction),
            py=1e4 * np.sin(direction),
            pz=zeros,
            q=zeros + 1,
        )
        weight = np.arange(1.0, len(phi) + 1)
        return SimulatedEvent(hits, TruthLinks(particle.astype(np.uint64), weight / weight.sum()), particles)


def settings(**changes):
    return LeftOverConfig(job="encemb-generic", **changes)


def test_what_is_followed_is_gone_and_the_rest_keeps_its_truth():
    source = Straight()
    whole = source.event(3, seed=1, split="validation")
    left = LeftOverDataset(source, settings(), "encemb").event(3, seed=1, split="validation")
    stray = np.flatnonzero(whole.truth_links.particle_id == 0)
    # Straight tracks of eight hits are clear: stray hits alone remain, but for some that fit onto a track.
    assert (left.truth_links.particle_id == 0).all()
    assert len(stray) - 5 <= len(left.hits) <= len(stray)
    rows = np.searchsorted(whole.hits.x[stray], left.hits.x, sorter=np.argsort(whole.hits.x[stray]))
    chosen = stray[np.argsort(whole.hits.x[stray])][rows]
    np.testing.assert_array_equal(left.hits.positions, whole.hits.positions[chosen])
    np.testing.assert_array_equal(left.truth_links.weight, whole.truth_links.weight[chosen])
    assert len(left.particles) == source.n


def test_training_events_are_few_turned_and_cut_out():
    source = Straight(40)
    data = LeftOverDataset(source, settings(events=2, window=60), "encemb")
    drawn = [data.event(i, seed=1, split="train") for i in range(12)]
    again = LeftOverDataset(source, settings(events=2, window=60), "encemb")
    for i in (5, 11):
        np.testing.assert_array_equal(
            again.event(i, seed=1, split="train").hits.positions, drawn[i].hits.positions
        )
    assert all(30 <= len(event.hits) <= 90 for event in drawn)
    # Turned and mirrored: radii are those of the detector, positions new each time.
    radius = np.hypot(drawn[0].hits.x, drawn[0].hits.y)
    assert np.abs(radius[:, None] - RADII).min(axis=1).max() < 0.01
    assert len({event.hits.x[0] for event in drawn}) == len(drawn)
    # Two events are behind all of them: their stray hits have only so many values of |z|.
    known = np.concatenate([source.event(i, seed=1, split="train").hits.z for i in range(2)])
    assert np.isin(np.abs(np.concatenate([event.hits.z for event in drawn])), np.abs(known)).all()


def test_thinned_training_events_keep_a_share_of_particles():
    data = LeftOverDataset(Straight(40), settings(events=4, keep_particles=(0.25, 0.25)), "encemb")
    assert {len(data.event(i, seed=1, split="train").particles) for i in range(8)} == {10}
    assert len(data.event(0, seed=1, split="validation").particles) == 40


@pytest.mark.parametrize(
    ("job", "algorithm", "message"),
    [
        ("encemb-generic", "encreg", "no step 'encreg'"),
        ("gnn-hits", "gnn-hits", "writes 'selected_hits'"),
        ("no-such-job", "encemb", "no-such-job"),
    ],
)
def test_jobs_that_leave_nothing_to_the_network_are_refused(job, algorithm, message):
    with pytest.raises(ConfigurationError, match=message):
        steps_before(job, algorithm, "generic")


def test_job_for_another_detector_is_refused():
    with pytest.raises(ConfigurationError, match=r"'encemb-generic' is for generic, but .* 'redvid'"):
        steps_before("encemb-generic", "encemb", "redvid")


@pytest.mark.parametrize("shares", [(0.0, 1.0), (0.5, 0.2), (0.5, 1.5)])
def test_shares_that_are_none(shares):
    with pytest.raises(ValueError, match="two rising shares"):
        settings(keep_particles=shares)


def test_soft_particles_are_no_anchors_but_what_others_are_told_apart_from():
    event = Straight(2).event(0, seed=1, split="train")
    slow = {name: event.particles.arrays()[name].copy() for name in event.particles.arrays()}
    for name in ("px", "py"):
        slow[name][1] *= 1e-5
    packed = pack([SimulatedEvent(event.hits, event.truth_links, Particles(**slow))], {"eta": 1.0}, 0.3)
    np.testing.assert_array_equal(packed.anchors.numpy(), event.truth_links.particle_id == 1)
    # Two hits of one particle at 0, two of another at 0 and 2; the first two alone are anchors.
    points, particle = torch.tensor([[0.0], [0.0], [0.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    total, n = anchor_loss(points, particle, 4, chosen=torch.tensor([True, True, False, False]))
    assert n == 2
    assert total.item() == pytest.approx(2 * math.log(2 + math.exp(-2.0)), rel=1e-6)
