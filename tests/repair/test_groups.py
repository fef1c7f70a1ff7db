"""Each step of the repair on a case made for it, and what holds for any event."""

import dataclasses

import numpy as np
import pytest
from layered_tracks import FIELD, SIGMA, crossings, finish, make, perigees

from mltrack_plugin import compiled as kernels
from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.following.settings import SeedPass
from mltrack_plugin.kalman.inputs import detector_layers
from mltrack_plugin.repair.core import MAX_GROUP
from mltrack_plugin.repair.groups import repair_groups
from mltrack_plugin.repair.settings import RepairSettings

THIN = 0.005


def repair(hits, labels, sigmas, thickness=THIN, **settings):
    groups = ProtoTracks.from_labels(np.asarray(labels))
    return repair_groups(
        hits, groups, sigmas, FIELD, thickness, RepairSettings(**{"seeds": None, **settings})
    )


def repaired(event, labels, **settings):
    return repair(event.hits, labels, event.sigmas, **settings)


def partition(tracks):
    return {frozenset(tracks.hits_of(i).tolist()) for i in range(len(tracks))}


def truth(event, least=4):
    return {p for p in partition(ProtoTracks.from_labels(event.owner)) if len(p) >= least}


@pytest.fixture(scope="module")
def event():
    """15 tracks of six or more hits through barrels and discs, and 25 noise hits."""
    long = [p for p in perigees(40, seed=7, eta=2.3) if len(crossings(p)[0]) >= 6]
    return make(long[:15], seed=8, noise=25)


@pytest.fixture
def labels(event):
    return event.owner.copy()


def test_true_groups_come_out_as_they_went_in(event, labels):
    tracks = repaired(event, labels)
    assert partition(tracks) == truth(event)
    assert tracks.membership.min() > 0.9


@pytest.mark.parametrize("step", [0, 3, -1])
def test_hits_left_out_are_attached(event, labels, step):
    """The first, one in the middle and the last hit of every track."""
    for track in range(15):
        last = event.step[event.owner == track].max()
        labels[(event.owner == track) & (event.step == (last if step < 0 else step))] = -1
    assert partition(repaired(event, labels)) == truth(event)


def test_hits_of_other_tracks_and_noise_are_taken_off(event, labels):
    for track in range(0, 14, 2):
        labels[(event.owner == track + 1) & (event.step == 2)] = track
    labels[event.owner < 0] = np.arange((event.owner < 0).sum()) % 15
    assert partition(repaired(event, labels)) == truth(event)


def test_fragments_are_merged(event, labels):
    outer = (event.owner >= 0) & (event.step >= 4)
    labels[outer] += 100
    assert partition(repaired(event, labels)) == truth(event)


def test_a_group_of_two_tracks_is_split(event, labels):
    labels[event.owner == 1] = 0
    labels[event.owner == 9] = 8
    assert partition(repaired(event, labels)) == truth(event)


def test_a_group_of_half_the_event_is_left_to_others():
    """Too many hits for a search of helices in it, whose time grows with their square."""
    event = make(perigees(60, seed=5, eta=0.9), seed=6)
    inside = event.owner < 50
    assert inside.sum() > MAX_GROUP
    labels = np.where(inside, 0, event.owner)
    rest = {p for p in truth(event) if event.owner[next(iter(p))] >= 50}
    assert partition(repaired(event, labels)) == rest
    assert partition(repaired(event, labels, seeds=SeedPass())) == truth(event)


def test_groups_of_noise_disappear(event, labels):
    noise = np.flatnonzero(event.owner < 0)
    labels[noise] = 50 + np.arange(len(noise)) // 6
    assert partition(repaired(event, labels)) == truth(event)


def test_tracks_without_a_group_are_built_from_what_is_left(event, labels):
    labels[np.isin(event.owner, [3, 4, 11])] = -1
    assert partition(repaired(event, labels, seeds=SeedPass())) == truth(event)
    without = repaired(event, labels)
    expected = {p for p in truth(event) if event.owner[next(iter(p))] not in (3, 4, 11)}
    assert partition(without) == expected


def test_short_tracks_are_kept_or_dropped_by_their_hits(event, labels):
    short = make([perigees(15, seed=7, eta=2.3)[0]], seed=1)
    owner = np.where(short.step < 5, 0, -1)
    kept = np.flatnonzero(owner == 0)
    few = type(event)(hits=short.hits.take(kept), sigmas=short.sigmas[kept], owner=owner[kept])
    assert partition(repaired(few, few.owner)) == {frozenset(range(5))}
    assert len(repaired(few, few.owner, min_hits=6, seeds=SeedPass(min_hits=6))) == 0


@pytest.fixture
def overlap():
    """A track with a second hit on two layers: two modules, 2 mm one behind the other."""
    parameters = perigees(1, seed=3, eta=0.5)[0]
    position, layer = crossings(parameters)
    from mltrack_plugin.helix import helix_positions

    s = np.linspace(0, 1500, 150_001)
    points = helix_positions(np.repeat([parameters], len(s), axis=0), FIELD, s)
    r = np.hypot(points[:, 0], points[:, 1])
    second = [points[np.argmax(r > radius + 2.0)] for radius in (72.0, 260.0)]
    position, layer = np.concatenate([position, second]), np.concatenate([layer, [1, 4]])
    n = len(layer)
    rng = np.random.default_rng(2)
    return finish(position, layer, np.zeros(n, int), np.arange(n), np.arange(n), rng)


def test_both_hits_of_overlapping_modules_belong_to_the_track(overlap):
    n = len(overlap.hits)
    assert partition(repaired(overlap, np.zeros(n, int))) == {frozenset(range(n))}
    labels = np.zeros(n, int)
    labels[-2:] = -1
    assert partition(repaired(overlap, labels)) == {frozenset(range(n))}


def test_two_hits_of_one_module_do_not(overlap):
    columns = overlap.hits.arrays()
    module = np.arange(len(overlap.hits))
    module[-2] = module[np.flatnonzero(overlap.layer == 1)[0]]
    hits = Hits(**columns, module_id=module)
    labels = np.zeros(len(hits), int)
    labels[-2:] = -1
    tracks = repair(hits, labels, overlap.sigmas)
    assert partition(tracks) == {frozenset(range(len(hits))) - {len(hits) - 2}}


def test_of_two_hits_on_a_layer_the_one_on_the_track_is_kept(event, labels):
    position, layer = crossings(perigees(1, seed=3, eta=0.5)[0])
    beside = position[3:4] + np.array([1.5, 1.5, 3.0])
    position, layer = np.concatenate([position, beside]), np.append(layer, layer[3])
    n = len(layer)
    case = finish(position, layer, np.zeros(n, int), np.arange(n), np.arange(n), np.random.default_rng(0))
    assert partition(repaired(case, np.zeros(n, int))) == {frozenset(range(n - 1))}


def test_opposite_tracks_stay_two_tracks():
    """Back to back, they are one straight line through the beam axis."""
    theta, qop = 0.25, 0.01
    pair = make([[0, 0, 0.3, theta, qop], [0, 0, 0.3 - np.pi, np.pi - theta, -qop]], seed=3)
    assert len(partition(repaired(pair, pair.owner))) == 2
    assert partition(repaired(pair, pair.owner)) == truth(pair)


@pytest.mark.parametrize("pt", [0.17, 0.25])
def test_soft_tracks_turn_and_are_kept(pt):
    theta = 1.3
    event = make([[0.0, 5.0, 1.0, theta, np.sin(theta) / pt]], seed=2)
    # The helices of the toy detector lose no energy, which would matter here.
    assert partition(repaired(event, event.owner, thickness=1e-4)) == truth(event)


def test_a_consistent_group_that_is_no_helix_stays_as_it_is():
    """Deflections at every layer, far beyond what scattering of this material explains."""
    smeared = make([[0.0, 5.0, 1.0, 1.3, np.sin(1.3) / 0.4]], seed=2, smear=0.6)
    group = {frozenset(range(len(smeared.hits)))}
    assert partition(repaired(smeared, smeared.owner, scattering_factor=10.0)) == group
    assert partition(repaired(smeared, smeared.owner, scattering_factor=1.0)) != group


def test_displaced_tracks_are_kept():
    event = make([[60.0, 20.0, 1.0, 1.3, 0.8], [-35.0, -40.0, -2.0, 1.8, -0.5]], seed=2)
    assert partition(repaired(event, event.owner)) == truth(event)


def test_a_hit_belongs_to_the_track_it_fits_better():
    """Two tracks of the same azimuth whose hits were swapped on two layers."""
    event = make([[0, 0, 0.3, 1.2, 0.3], [0, 10.0, 0.31, 1.2, -0.3]], seed=6)
    labels = event.owner.copy()
    for step in (3, 5):
        here = event.step == step
        labels[here] = 1 - labels[here]
    assert partition(repaired(event, labels)) == truth(event)


def corrupted(event, seed):
    rng = np.random.default_rng(seed)
    labels = event.owner.copy()
    swapped = rng.random(len(labels)) < 0.08
    labels[swapped] = rng.integers(-1, 15, swapped.sum())
    return labels


@pytest.mark.parametrize("seed", range(4))
def test_broken_groups_become_the_tracks(event, seed):
    tracks = repaired(event, corrupted(event, seed))
    assert len(partition(tracks) & truth(event)) >= 14
    assert len(np.unique(tracks.hit_indices)) == len(tracks.hit_indices)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_hits_does_not_matter(event, seed):
    labels = corrupted(event, seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = type(event)(hits=event.hits.take(order), sigmas=event.sigmas[order])
    expected = partition(repaired(event, labels))
    found = {frozenset(order[list(p)].tolist()) for p in partition(repaired(shuffled, labels[order]))}
    assert found == expected


def test_a_second_repair_changes_nothing(event):
    once = repaired(event, corrupted(event, 1))
    again = repaired(event, once.labels(len(event.hits)))
    assert partition(again) == partition(once)


def test_the_same_event_gives_the_same_bytes(event):
    assert repaired(event, corrupted(event, 2)).equals(repaired(event, corrupted(event, 2)))


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
    assert len(repair(hits, np.zeros(n, dtype=np.int64), np.full((n, 3), 0.1))) == 0


def test_noise_alone_gives_no_tracks():
    event = make(perigees(1, seed=0), seed=1, noise=200)
    noise = np.flatnonzero(event.owner < 0)
    case = type(event)(hits=event.hits.take(noise), sigmas=event.sigmas[noise])
    for labels in (np.full(len(noise), -1), np.arange(len(noise)) // 5):
        assert len(repaired(case, labels, seeds=SeedPass())) == 0


def test_groups_that_chance_may_have_made_are_dropped():
    """The same four hits say much in an empty event and nothing among thousands of others."""
    event = make([perigees(40, seed=7, eta=0.5)[3]], seed=2, noise=30_000)
    four = (event.owner == 0) & (event.step < 4)
    rows = np.flatnonzero(four | (event.owner < 0))
    dense = type(event)(hits=event.hits.take(rows), sigmas=event.sigmas[rows])
    empty = type(event)(hits=event.hits.take(four), sigmas=event.sigmas[four])
    for case, labels, kept in ((empty, np.zeros(4, int), 1), (dense, np.where(four[rows], 0, -1), 0)):
        tracks = repaired(case, labels, significance=16.0, attach_chi2=1e-3)
        assert len(tracks) == kept


def six_hits():
    """Six hits of a track among 300 noise hits; which hits are the track's."""
    event = make([perigees(40, seed=7, eta=0.5)[3]], seed=2, noise=300)
    rows = np.flatnonzero(((event.owner == 0) & (event.step < 6)) | (event.owner < 0))
    return type(event)(hits=event.hits.take(rows), sigmas=event.sigmas[rows]), event.owner[rows] == 0


def largest_significance(case, labels):
    """The largest one that may be asked for before the track is dropped."""
    low, high = 0.0, 100.0
    while high - low > 0.01:
        middle = 0.5 * (low + high)
        found = len(repaired(case, labels, significance=middle, attach_chi2=1e-3))
        low, high = (middle, high) if found else (low, middle)
    assert 10 < low < 90
    return low


def test_every_group_is_a_chance():
    """A track must be clearer, by the logarithm of their number, where there are more groups."""
    case, true = six_hits()
    alone = largest_significance(case, np.where(true, 0, -1))
    among = largest_significance(case, np.where(true, 0, np.cumsum(~true)))
    assert alone - among == pytest.approx(np.log(301), abs=0.05)


def test_hits_that_fit_badly_make_a_track_less_clear():
    """By half of what they add to chi2: at most half the square of the shift in units of the error."""
    case, true = six_hits()
    labels = np.where(true, 0, -1)
    row = np.flatnonzero(true)[3]
    hits = case.hits
    shift = 3 * case.sigmas[row, 0] / np.hypot(hits.x[row], hits.y[row])
    x, y = hits.x.copy(), hits.y.copy()
    x[row], y[row] = hits.x[row] - shift * hits.y[row], hits.y[row] + shift * hits.x[row]
    off = type(case)(hits=dataclasses.replace(hits, x=x, y=y), sigmas=case.sigmas)
    lost = largest_significance(case, labels) - largest_significance(off, labels)
    assert 0.2 < lost < 6.0


def test_hits_on_the_beam_axis_do_no_harm():
    ones, rows = np.ones(6, dtype=np.int32), np.arange(6)
    hits = Hits(rows, np.zeros(6), np.zeros(6), rows, volume_id=ones, layer_id=rows)
    assert len(repair(hits, np.zeros(6, int), np.full((6, 3), 0.1))) == 0


def test_space_points_of_a_detector_without_volumes(event):
    """Errors in all directions, layers from ACTS geometry ids alone."""
    columns = {name: getattr(event.hits, name) for name in ("hit_id", "x", "y", "z")}
    geometry = (event.hits.volume_id.astype(np.uint64) << np.uint64(56)) | (
        event.hits.layer_id.astype(np.uint64) << np.uint64(36)
    )
    geometry |= np.arange(len(event.hits), dtype=np.uint64) << np.uint64(8)
    hits = Hits(**columns, geometry_id=geometry)
    tracks = repair(hits, corrupted(event, 0), np.full((len(hits), 3), SIGMA))
    assert len(partition(tracks) & truth(event)) >= 14


def test_layers_and_modules_come_from_the_columns_that_are_there(event):
    layer, module = detector_layers(event.hits)
    assert (np.diff(np.unique(layer)) == 1).all()
    assert (module == -1).all()
    by_number = {number: set(layer[event.layer == number].tolist()) for number in set(event.layer.tolist())}
    assert all(len(found) == 1 for found in by_number.values())
    assert len(set.union(*by_number.values())) == len(by_number)


@pytest.mark.parametrize(("columns", "named"), [({}, "volume_id"), ({"volume_id": [1, 1]}, "layer_id")])
def test_hits_without_layers_are_refused(columns, named):
    hits = Hits([0, 1], [1, 2], [1, 2], [0, 0], **columns)
    with pytest.raises(EventDataError, match=f"no {named} and no geometry_id"):
        repair(hits, [0, 0], np.full((2, 3), 0.1))


def test_bad_arguments_are_named(event, labels):
    groups, settings = ProtoTracks.from_labels(labels), RepairSettings()
    with pytest.raises(ValueError, match="solenoid field, got 0"):
        repair_groups(event.hits, groups, event.sigmas, 0.0, THIN, settings)
    with pytest.raises(EventDataError, match="sigmas must have shape"):
        repair(event.hits, labels, event.sigmas[:-1])
    with pytest.raises(EventDataError, match="larger than 0"):
        repair(event.hits, labels, np.zeros_like(event.sigmas))
    with pytest.raises(EventDataError, match="finite"):
        repair(event.hits, labels, np.full_like(event.sigmas, np.nan))
    with pytest.raises(EventDataError, match="the event has"):
        repair_groups(event.hits, ProtoTracks([0, 1], [len(labels)]), event.sigmas, FIELD, THIN, settings)


def test_kernels_compile_where_nothing_can_be_kept_on_disk(monkeypatch):
    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("compiled", function, options)

    monkeypatch.setattr(kernels, "njit", njit)
    compiled, function, options = kernels.kernel(len)
    assert (compiled, function) == ("compiled", len)
    assert "cache" not in options
