"""The order of hits and the slots of their tracks."""

import numpy as np
from barrel_events import event, lines
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.published.heptrkx.sequences.barrel import cylindrical
from mltrack_plugin.published.heptrkx.sequences.slots import order_by_azimuth, true_slots


def hits(*phi, r=None, z=None):
    n = len(phi)
    columns = [np.full(n, 100.0) if r is None else r, phi, np.zeros(n) if z is None else z]
    return np.stack(columns, axis=1).astype(np.float32)


def test_order_starts_behind_the_widest_gap():
    # Gaps: 0.5 -> 1.0, 1.0 -> 3.0 (the widest but the seam at pi is none), -2.5 -> 0.5 is 3.0: the widest.
    order, ordered = order_by_azimuth(hits(1.0, 3.0, -2.5, 0.5))
    assert order.tolist() == [3, 0, 1, 2]
    np.testing.assert_allclose(np.diff(ordered[:, 1]), [0.5, 2.0, 2 * np.pi - 5.5], atol=1e-6)
    np.testing.assert_allclose(ordered[0, 1], 1.5, atol=1e-6)


def test_hits_of_equal_azimuth_go_outwards_whatever_the_input_order():
    values = hits(1.0, 1.0, 1.0, r=[300.0, 100.0, 200.0])
    assert order_by_azimuth(values)[0].tolist() == [1, 2, 0]


@given(st.lists(st.floats(-3.14, 3.14), min_size=1, max_size=20), st.floats(-6.0, 6.0))
def test_turning_the_event_changes_nothing(phi, angle):
    phi = np.unique(np.round(phi, 2))
    rng = np.random.default_rng(4)
    values = hits(*phi, r=rng.uniform(30, 1000, len(phi)), z=rng.normal(size=len(phi)))
    turned = values.copy()
    turned[:, 1] = (values[:, 1] + angle + np.pi) % (2 * np.pi) - np.pi
    order, ordered = order_by_azimuth(values)
    again, ordered_again = order_by_azimuth(turned)
    assert (np.diff(ordered[:, 1]) >= 0).all()
    assert (ordered[:, 1] >= 0).all()
    assert (ordered[:, 1] < 2 * np.pi).all()
    gaps = np.sort(np.append(np.diff(ordered[:, 1]), 2 * ordered[0, 1]))
    # Two gaps of the same width may change places.
    if len(phi) > 1 and gaps[-1] - gaps[-2] > 1e-3:
        assert order.tolist() == again.tolist()
        np.testing.assert_allclose(ordered, ordered_again, atol=1e-4)


def test_an_event_without_hits():
    order, ordered = order_by_azimuth(np.zeros((0, 3), dtype=np.float32))
    assert order.shape == (0,)
    assert ordered.shape == (0, 3)
    assert true_slots(ordered, np.zeros(0, dtype=np.uint64), 4).tolist() == []


def test_slots_follow_the_innermost_hits():
    tracks = lines(5, turn=3e-4)
    found, truth = event(tracks)
    order, ordered = order_by_azimuth(cylindrical(found))
    slot = true_slots(ordered, truth.particle_id[order], 8)
    # One slot per particle, the slots rise with the azimuth of the hits on layer 0.
    innermost = np.flatnonzero(ordered[:, 0] < 40.0)
    assert slot[innermost].tolist() == [1, 2, 3, 4, 5]
    for particle in range(1, 6):
        assert len(set(slot[truth.particle_id[order] == particle].tolist())) == 1


def test_noise_and_tracks_beyond_the_last_slot_are_in_slot_0():
    ordered = hits(0.1, 0.2, 0.3, 0.4, 0.5)
    particle_id = np.array([7, 3, 0, 9, 3], dtype=np.uint64)
    assert true_slots(ordered, particle_id, 3).tolist() == [1, 2, 0, 3, 2]
    assert true_slots(ordered, particle_id, 2).tolist() == [1, 2, 0, 0, 2]
    assert true_slots(ordered, np.zeros(5, dtype=np.uint64), 2).tolist() == [0] * 5
