"""Collections hold what they promise: types, ids, canonical order, exact conversion to and from awkward."""

from __future__ import annotations

import dataclasses

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import HitParameters, Hits, Particles, ProtoTracks, Tracks, TruthLinks

#: Collapses into its neighbours if it passes through a 64-bit float.
BIG = 2**63 + 1


def hits(n: int = 3, **changes) -> Hits:
    columns = {
        "hit_id": np.arange(n),
        "x": np.arange(n) * 3.0,
        "y": np.arange(n) * 4.0,
        "z": np.arange(n) * 12.0,
    }
    return Hits(**{**columns, **changes})


def particles(**changes) -> Particles:
    columns = {"particle_id": np.array([BIG, BIG + 1], np.uint64), "q": [1, -1]}
    columns |= {"vx": [0, 1], "vy": [0, 2], "vz": [0, 3], "px": [3, 0], "py": [4, 1], "pz": [0, 1]}
    return Particles(**{**columns, **changes})


def tracks(**changes) -> Tracks:
    columns = {
        "offsets": [0, 3, 5],
        "hit_indices": [0, 2, 4, 1, 3],
        "d0": [0.1, -0.2],
        "z0": [1.0, 2.0],
        "phi": [0.5, -3.0],
        "theta": [np.pi / 2, np.pi / 4],
        "qop": [1.0, -0.5],
    }
    return Tracks(**{**columns, **changes})


def full_tracks() -> Tracks:
    rng = np.random.default_rng(0)
    return tracks(
        covariance=rng.normal(size=(2, 5, 5)),
        chi2=[3.5, np.nan],
        ndf=[4, 0],
        quality=[0.9, 0.1],
        membership=rng.random(5),
        hit_chi2=rng.random(5),
    )


# ---- hits -----------------------------------------------------------------------------------


def test_hits_have_the_stated_types_and_cannot_be_changed():
    full = hits(
        time=[0, 1, 2], volume_id=[8, 8, 9], layer_id=[2, 4, 2], module_id=[1, 2, 3], geometry_id=[1, 2, 3]
    )
    kinds = {name: values.dtype.name for name, values in full.arrays().items()}
    assert kinds == {
        "hit_id": "uint64",
        **dict.fromkeys(("x", "y", "z", "time"), "float32"),
        **dict.fromkeys(("volume_id", "layer_id", "module_id"), "int32"),
        "geometry_id": "uint64",
    }
    with pytest.raises(ValueError, match="read-only"):
        full.x[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        full.x = np.zeros(3)


def test_writing_to_the_source_array_through_hits_is_impossible():
    source = np.zeros(3, np.float32)
    assert not hits(x=source).x.flags.writeable
    assert source.flags.writeable


def test_cylindrical_coordinates():
    h = hits(2)
    np.testing.assert_allclose(h.r, [0, 5])
    np.testing.assert_allclose(h.phi, [0, np.arctan2(4, 3)])
    assert h.positions.tolist() == [[0, 0, 0], [3, 4, 12]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": [0.0, np.nan, np.inf]}, r"2 of 3 hits have a non-finite x \(first at row 1: nan\)"),
        ({"z": [0.0, 1e39, 1.0]}, "non-finite z"),
        ({"hit_id": [4, 4, 5]}, r"1 hit ids are repeated \(hit_id 4 occurs 2 times\)"),
        ({"hit_id": [0.0, 1.0, 2.0]}, "'hit_id' must hold integers, got float64"),
        ({"hit_id": [-1, 0, 1]}, "'hit_id' must not be negative, smallest is -1"),
        ({"y": [0.0, 1.0]}, r"'y' must have shape \(3\), got \(2,\)"),
        ({"x": [[0.0, 1.0, 2.0]]}, r"'x' must have shape \(n\), got \(1, 3\)"),
        ({"layer_id": [1.5, 2.0, 3.0]}, "'layer_id' must hold integers"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_bad_hits_are_refused(changes, message):
    with pytest.raises(EventDataError, match=message):
        hits(**changes)


def test_no_hits_are_hits():
    assert len(hits(0)) == 0
    assert hits(0).positions.shape == (0, 3)


def test_take_keeps_all_columns():
    chosen = hits(time=[0, 1, 2]).take(np.array([2, 0]))
    assert chosen.hit_id.tolist() == [2, 0]
    assert chosen.time.tolist() == [2, 0]


# ---- truth ----------------------------------------------------------------------------------


def test_truth_links_fit_their_hits():
    links = TruthLinks(np.array([BIG, 0, BIG + 1], np.uint64), weight=[0.5, 0, 0.5])
    links.check_against(hits(3))
    assert links.particle_id.tolist() == [BIG, 0, BIG + 1]
    with pytest.raises(EventDataError, match="3 truth links for 4 hits"):
        links.check_against(hits(4))


@pytest.mark.parametrize("weight", [[-0.1], [np.nan], [np.inf]])
def test_weights_are_finite_and_not_negative(weight):
    with pytest.raises(EventDataError, match="weights must be finite and not negative"):
        TruthLinks([1], weight=weight)


def test_particle_kinematics():
    p = particles()
    np.testing.assert_allclose(p.pt, [5, 1])
    np.testing.assert_allclose(p.eta, [0, np.arcsinh(1)], rtol=1e-6)
    np.testing.assert_allclose(p.phi, [np.arctan2(4, 3), np.pi / 2], rtol=1e-6)


def test_particle_along_the_beam_has_infinite_eta():
    p = particles(px=[0, 0], py=[0, 0], pz=[1, -2])
    assert p.eta.tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize(
    ("ids", "message"),
    [([0, 1], "particle_id 0 is reserved for noise"), ([7, 7], r"repeated \(particle_id 7 occurs 2 times\)")],
)
def test_bad_particle_ids_are_refused(ids, message):
    with pytest.raises(EventDataError, match=message):
        particles(particle_id=ids)


# ---- network outputs ------------------------------------------------------------------------


def test_scaled_parameters_are_divided_by_their_scales():
    parameters = HitParameters([[2.0, 9.0]], ["theta", "q"], [2.0, 3.0])
    assert parameters.scaled.tolist() == [[1, 3]]
    assert parameters.scaled.dtype == np.float32
    assert parameters.hit_rows.tolist() == [0]


@pytest.mark.parametrize(
    ("values", "names", "scales", "message"),
    [
        ([[np.nan, 1]], ["a", "b"], [1, 1], "non-finite parameters"),
        ([[1, 1]], ["a"], [1, 1], "1 names for 2 parameter columns"),
        ([[1, 1]], ["a", "b"], [1, 0], "scales must be positive"),
        ([[1, 1]], ["a", "b"], [1], r"'scales' must have shape \(2\)"),
        ([1, 1], ["a", "b"], [1, 1], r"'values' must have shape \(n, n\)"),
    ],
)
def test_bad_parameters_are_refused(values, names, scales, message):
    with pytest.raises(EventDataError, match=message):
        HitParameters(values, names, scales)


# ---- track candidates -----------------------------------------------------------------------

labels = st.lists(st.integers(-1, 6), max_size=40).map(lambda x: np.array(x, dtype=np.int64))


@given(labels, st.integers(1, 4))
def test_canonical_tracks_are_the_groups_of_the_labels(labels, min_hits):
    found = ProtoTracks.from_labels(labels, min_hits=min_hits)
    groups = {tuple(np.flatnonzero(labels == k)) for k in set(labels.tolist()) - {-1}}
    assert {tuple(found.hits_of(i)) for i in range(len(found))} == {g for g in groups if len(g) >= min_hits}
    firsts = found.hit_indices[found.offsets[:-1]]
    assert (np.diff(firsts) > 0).all()


@given(labels, st.permutations(range(7)))
def test_names_of_labels_do_not_matter(labels, names):
    renamed = np.where(labels < 0, -1, np.array(names)[labels])
    assert ProtoTracks.from_labels(labels).equals(ProtoTracks.from_labels(renamed))


@given(labels)
def test_labels_of_tracks_give_the_tracks_back(labels):
    found = ProtoTracks.from_labels(labels)
    assert ProtoTracks.from_labels(found.labels(len(labels))).equals(found)
    assert ((found.labels(len(labels)) >= 0) == (labels >= 0)).all()


@given(labels, st.randoms(use_true_random=False))
def test_order_of_lists_does_not_matter(labels, random):
    found = ProtoTracks.from_labels(labels)
    lists = [found.hits_of(i).tolist() for i in range(len(found))]
    for one in lists:
        random.shuffle(one)
    random.shuffle(lists)
    assert ProtoTracks.from_lists(lists).equals(found)


def test_membership_follows_its_hit():
    found = ProtoTracks.from_labels(np.array([5, -1, 2, 5]), membership=np.array([0.1, 0.2, 0.3, 0.4]))
    assert found.hit_indices.tolist() == [0, 3, 2]
    np.testing.assert_allclose(found.membership, [0.1, 0.4, 0.3])


@pytest.mark.parametrize(
    ("offsets", "indices", "message"),
    [
        ([0, 2], [0, 1, 2], "offsets must rise from 0 to 3"),
        ([0, 2, 2], [0, 1], "no track is empty"),
        ([], [], "offsets must rise"),
        ([0, 2], [-1, 1], "must not be negative"),
        ([0, 2, 4], [0, 1, 1, 2], "in two tracks"),
        ([0, 2], [1, 0], "not in canonical order"),
        ([0, 1, 2], [1, 0], "not in canonical order"),
    ],
)
def test_broken_candidates_are_refused(offsets, indices, message):
    with pytest.raises(EventDataError, match=message):
        ProtoTracks(np.array(offsets, int), np.array(indices, int))


def test_membership_has_one_entry_per_assigned_hit():
    with pytest.raises(EventDataError, match=r"'membership' must have shape \(2\)"):
        ProtoTracks([0, 2], [0, 1], membership=[0.5])


# ---- tracks ---------------------------------------------------------------------------------


def test_momentum_of_tracks():
    t = tracks()
    # p = 1/|q/p|, pT = p sin(theta), eta = -ln tan(theta/2) = asinh(cot(theta)).
    np.testing.assert_allclose(t.pt, [1.0, 2.0 * np.sin(np.pi / 4)])
    np.testing.assert_allclose(t.eta, [0.0, np.arcsinh(1.0)], atol=1e-12)


def test_tracks_without_a_fit_have_no_parameters():
    t = Tracks([0, 2], [0, 1])
    assert not t.fitted.any()
    assert np.isnan(t.d0).all()
    assert np.isnan(t.pt).all()
    assert t.ndf.tolist() == [0]
    assert t.covariance is None


def test_wrong_shape_of_the_covariance_is_refused():
    with pytest.raises(EventDataError, match=r"'covariance' must have shape \(2, 5, 5\)"):
        tracks(covariance=np.zeros((2, 6, 6)))


def test_selection_keeps_every_column_together():
    t = full_tracks()
    second = t.select(np.array([False, True]))
    assert second.hit_indices.tolist() == [1, 3]
    assert second.qop.tolist() == [-0.5]
    np.testing.assert_array_equal(second.membership, t.membership[3:])
    np.testing.assert_array_equal(second.covariance, t.covariance[1:])
    assert t.select(np.array([True, True])).equals(t)
    assert len(t.select(np.array([False, False]))) == 0


# ---- awkward and vector ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "collection",
    [
        hits(),
        hits(0),
        hits(
            time=[1, 2, 3],
            geometry_id=np.array([BIG, 1, 2], np.uint64),
            hit_id=np.array([BIG, 1, 2], np.uint64),
        ),
        particles(),
        particles(nhits=[9, 0], pdg_id=[211, -13]),
        tracks(),
        full_tracks(),
        Tracks([0, 2], [0, 1]),
        Tracks([0], np.zeros(0, int)),
        TruthLinks(np.array([BIG, 0], np.uint64)),
        TruthLinks(np.array([BIG, 0], np.uint64), weight=[0.5, 0.0]),
        ProtoTracks([0, 2, 3], [0, 4, 1]),
        ProtoTracks([0, 2, 3], [0, 4, 1], membership=[0.25, 1.0, 0.5]),
        ProtoTracks([0], np.zeros(0, int)),
    ],
    ids=lambda c: f"{type(c).__name__}-{len(c)}-{len(c.arrays())}",
)
def test_awkward_round_trip_is_exact(collection):
    there = collection.to_awkward()
    assert len(there) == len(collection)
    assert type(collection).from_awkward(there).equals(collection)


def test_vector_behaviours():
    t, p, h = tracks(), particles(), hits()
    np.testing.assert_allclose(ak.to_numpy(t.to_awkward().pt), t.pt)
    np.testing.assert_allclose(ak.to_numpy(t.to_awkward().eta), t.eta, atol=1e-12)
    np.testing.assert_allclose(ak.to_numpy(t.to_awkward().p), 1 / np.abs(t.qop))
    np.testing.assert_allclose(ak.to_numpy(p.to_awkward().pt), p.pt)
    np.testing.assert_allclose(ak.to_numpy(p.to_awkward().eta), p.eta, rtol=1e-6)
    np.testing.assert_allclose(ak.to_numpy(h.to_awkward().rho), h.r)


def test_awkward_tracks_select_like_tracks():
    array = full_tracks().to_awkward()
    kept = Tracks.from_awkward(array[array.pt > 1.2])
    assert kept.equals(full_tracks().select(full_tracks().pt > 1.2))


# ---- plain arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize("collection", [hits(), particles(), tracks(), full_tracks(), TruthLinks([1, 0])])
def test_array_round_trip_is_exact(collection):
    assert type(collection).from_arrays(collection.arrays()).equals(collection)


def test_equality_is_exact_and_typed():
    t = full_tracks()
    assert t.equals(full_tracks())
    assert not t.equals(tracks())
    assert not t.equals(ProtoTracks(t.offsets, t.hit_indices))
    assert not t.equals(dataclasses.replace(t, d0=np.nextafter(t.d0, 1)))
    assert not hits().equals(None)
