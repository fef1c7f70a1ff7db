"""Tracks followed from pairs of hits: known tracks in, the same tracks out; nothing from noise."""

import numpy as np
import pytest
from layered_tracks import FIELD, crossings, make, perigees

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.following.passes import follow_seeds
from mltrack_plugin.following.settings import FollowSettings, SeedPass

THIN = 0.005
CLEAR_THEN_ALL = (SeedPass(significance=10.0, max_holes=0, direction=0.05), SeedPass(significance=0.0))


def follow(hits, sigmas, passes=CLEAR_THEN_ALL, selection=None):
    return follow_seeds(hits, sigmas, FIELD, THIN, FollowSettings(passes=passes), selection=selection)


def followed(event, passes=CLEAR_THEN_ALL, selection=None):
    return follow(event.hits, event.sigmas, passes, selection)


def partition(tracks):
    return {frozenset(tracks.hits_of(i).tolist()) for i in range(len(tracks))}


def truth(event):
    return partition(ProtoTracks.from_labels(event.owner))


@pytest.fixture(scope="module")
def event():
    """25 tracks of six or more hits through barrels and discs, and 40 noise hits."""
    long = [p for p in perigees(60, seed=5, eta=2.3) if len(crossings(p)[0]) >= 6]
    return make(long[:25], seed=6, noise=40)


def test_every_track_is_found_with_all_its_hits(event):
    tracks = followed(event)
    assert partition(tracks) == truth(event)
    assert tracks.membership.min() > 0.5


def test_the_order_of_the_hits_does_not_matter(event):
    order = np.random.default_rng(3).permutation(len(event.hits))
    other = follow(event.hits.take(order), event.sigmas[order])
    assert {frozenset(order[list(rows)].tolist()) for rows in partition(other)} == partition(followed(event))


def test_the_same_event_gives_the_same_bytes(event):
    assert followed(event).equals(followed(event))


def test_noise_gives_no_tracks():
    noise = make(perigees(1, seed=0), seed=1, noise=1500)
    rows = np.flatnonzero(noise.owner < 0)
    tracks = follow(noise.hits.take(rows), noise.sigmas[rows])
    assert len(tracks) == 0


def test_five_hits_are_a_track_where_chance_does_not_give_as_many():
    """Not a number of hits decides but how dense the event is."""
    parameters = perigees(30, seed=9, eta=0.5)[:10]
    for noise, found in ((0, 10), (30_000, 0)):
        event = make(parameters, seed=4, noise=noise)
        rows = np.flatnonzero((event.owner < 0) | (event.step < 5))
        owner = event.owner[rows]
        tracks = follow(event.hits.take(rows), event.sigmas[rows], (SeedPass(significance=16.0),))
        whole = {frozenset(np.flatnonzero(owner == k).tolist()) for k in range(10)}
        assert len(whole & partition(tracks)) == found


def test_soft_tracks_need_a_wide_window():
    soft = make(perigees(8, seed=2, eta=0.8, pt=(0.2, 0.25)), seed=3)
    narrow, wide = (followed(soft, (SeedPass(direction=angle),)) for angle in (0.02, 0.15))
    assert len(narrow) == 0
    assert len(truth(soft) & partition(wide)) >= 7


def test_tracks_from_far_along_the_beam_need_a_wide_window(event):
    near, far = (followed(event, (SeedPass(vertex=v),)) for v in (1.0, 225.0))
    assert len(near) < len(far) == 25


def test_hits_with_many_possible_partners_start_no_track(event):
    assert len(followed(event, (SeedPass(max_partners=1),))) < len(followed(event, (SeedPass(),)))
    assert len(followed(event, (SeedPass(max_partners=1000),))) == 25


def test_a_hit_with_enough_partners_is_not_paired_beyond_the_next_layer():
    """Tracks without a hit on the second layer, but with another particle's there."""
    whole = make([p for p in perigees(40, seed=8, eta=0.4) if len(crossings(p)[0]) == 8][:10], seed=5)
    kept = whole.step < 5
    hits, step, owner = whole.hits.take(kept), whole.step[kept], whole.owner[kept]
    turn = np.where(step == 1, 0.02, 0.0)
    x, y = hits.x * np.cos(turn) - hits.y * np.sin(turn), hits.y * np.cos(turn) + hits.x * np.sin(turn)
    turned = Hits(hits.hit_id, x, y, hits.z, volume_id=hits.volume_id, layer_id=hits.layer_id)
    tracks = {frozenset(np.flatnonzero((owner == k) & (step != 1)).tolist()) for k in range(10)}
    for enough, least, most in ((1, 0, 0), (2, 8, 10)):
        one = SeedPass(significance=0.0, min_hits=4, max_holes=1, enough_partners=enough)
        found = follow(turned, whole.sigmas[kept], (one,))
        assert least <= len(partition(found) & tracks) <= most


def test_hits_that_are_not_selected_take_no_part(event):
    rows = np.flatnonzero(event.owner != 7)
    selection = HitSelection(rows, np.array(["test"]), np.array([len(event.owner) - len(rows)]))
    tracks = followed(event, selection=selection)
    assert partition(tracks) == {p for p in truth(event) if event.owner[next(iter(p))] != 7}


def test_a_later_pass_leaves_found_tracks_alone(event):
    first = followed(event, CLEAR_THEN_ALL[:1])
    assert partition(first) <= partition(followed(event))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_events_with_almost_nothing(n):
    ones = np.ones(n, dtype=np.int32)
    hits = Hits(
        np.arange(n),
        40.0 * np.arange(1, n + 1),
        np.zeros(n),
        np.zeros(n),
        volume_id=ones,
        layer_id=np.arange(n),
    )
    assert len(follow(hits, np.full((n, 3), 0.1))) == 0


def test_bad_arguments_are_named(event):
    with pytest.raises(ValueError, match="solenoid field, got 0"):
        follow_seeds(event.hits, event.sigmas, 0.0, THIN, FollowSettings())
    with pytest.raises(EventDataError, match="sigmas must have shape"):
        follow(event.hits, event.sigmas[:-1])
