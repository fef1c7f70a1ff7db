"""Which candidates are kept, and second hits on overlapping modules."""

import dataclasses

import numpy as np
import pytest
from barrel_events import RADII, event, lines, straight_line
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.published.heptrkx.sequences.ambiguity import overlap_hits, ranking, resolve_shared
from mltrack_plugin.published.heptrkx.sequences.barrel import barrel_layer, cylindrical
from mltrack_plugin.published.heptrkx.sequences.builder import BuilderConfig, Candidates, build_candidates


def one_by_one(rows, order, max_shared, min_hits):
    """The definition: candidate after candidate, from the best on."""
    taken, kept = set(), []
    for i in order:
        mine = [h for h in rows[i] if h >= 0]
        left = [h for h in mine if h not in taken]
        if len(mine) >= min_hits and len(mine) - len(left) <= max_shared and len(left) >= min_hits:
            kept.append((int(i), set(left)))
            taken.update(left)
    return kept


@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(0, 3), st.integers(1, 4))
def test_all_at_once_equals_one_by_one(seed, n, max_shared, min_hits):
    rng = np.random.default_rng(seed)
    rows = np.full((n, 6), -1, dtype=np.int64)
    for i in range(n):
        k = rng.integers(0, 7)
        rows[i, :k] = rng.choice(18, size=k, replace=False)
    order = rng.permutation(n)
    chosen, kept = resolve_shared(rows, order, max_shared=max_shared, min_hits=min_hits)
    mine = [(int(i), {int(h) for h in r if h >= 0}) for i, r in zip(chosen, kept, strict=True)]
    assert mine == one_by_one(rows, order, max_shared, min_hits)


def test_better_candidates_have_more_hits_then_smaller_distance():
    n = 4
    rows = np.full((n, 10), -1, dtype=np.int64)
    for i, k in enumerate((6, 8, 8, 8)):
        rows[i, :k] = np.arange(k)
    distance = np.zeros((n, 10))
    distance[:, 2:8] = np.array([0.0, 3.0, 1.0, 1.0])[:, None]
    candidates = Candidates(
        np.arange(n),
        np.zeros((n, 10, 3)),
        rows,
        distance,
        np.array([0.0, 0.0, 1.0, 2.0]),
        np.zeros(n, dtype=int),
    )
    assert ranking(candidates).tolist() == [3, 2, 1, 0]


def tracks_and_second_hits(shift):
    """Five tracks, with a second hit of track 0 on layer 3 at a larger radius, displaced by ``shift`` in z."""
    exact = lines(5)
    second = exact[:1].copy()
    slope = (exact[0, 4] - exact[0, 2]) / (RADII[4] - RADII[2])
    second[0, 3] = exact[0, 3] + slope * 1.5 + [0.0, 0.0, shift]
    second[0, 3, 0] = RADII[3] + 1.5
    present = np.ones((6, 10), dtype=bool)
    present[5] = False
    present[5, 3] = True
    hits, truth = event(np.concatenate([exact, second]), present)
    module = np.where(truth.particle_id == 6, 8, 7)
    hits = dataclasses.replace(hits, module_id=module)
    values, layer = cylindrical(hits), barrel_layer(hits)
    candidates = build_candidates(values, layer, straight_line, RADII, BuilderConfig())
    complete = candidates.take(candidates.n_hits == 10)
    pure = [len(set(truth.particle_id[rows].tolist())) == 1 for rows in complete.rows]
    return hits, truth, values, layer, complete.take(np.array(pure))


def test_second_hit_on_the_overlapping_module_joins_its_track():
    hits, truth, values, layer, tracks = tracks_and_second_hits(0.0)
    used = np.zeros(len(hits), dtype=bool)
    used[tracks.rows] = True
    track, row = overlap_hits(values, layer, hits.module_id, tracks, used)
    assert truth.particle_id[row].tolist() == [6]
    assert truth.particle_id[tracks.rows[track[0], 3]] == 1
    # Not if it lies on the same module, is on another track already, or lies too far away.
    same = np.full(len(hits), 7)
    assert len(overlap_hits(values, layer, same, tracks, used)[0]) == 0
    assert len(overlap_hits(values, layer, None, tracks, used)[0]) == 1
    assert len(overlap_hits(values, layer, hits.module_id, tracks, np.ones(len(hits), dtype=bool))[0]) == 0


@pytest.mark.parametrize(("shift", "joins"), [(0.25, 1), (0.5, 0)])
def test_second_hit_must_lie_within_the_window(shift, joins):
    hits, _, values, layer, tracks = tracks_and_second_hits(shift)
    used = np.zeros(len(hits), dtype=bool)
    used[tracks.rows] = True
    assert len(overlap_hits(values, layer, hits.module_id, tracks, used)[1]) == joins
