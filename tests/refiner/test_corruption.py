"""Damage to clusters: as much as the settings say, always the same for the same random numbers."""

import numpy as np
from straight_clusters import lines

from mltrack_plugin.refiner.corruption import Corruption, corrupted

AZIMUTHS = np.linspace(-3.0, 3.0, 200)
POSITIONS, LABELS = lines(AZIMUTHS.tolist(), [0.4] * 200)
POINTS = np.stack([np.arctan2(POSITIONS[:, 1], POSITIONS[:, 0]), 0.01 * POSITIONS[:, 2]], 1)
NONE = {"swapped": 0, "dropped": 0, "merged": 0, "cut": 0, "untouched": 0}


def damage(seed=0, **settings):
    return corrupted(LABELS, POINTS, Corruption(**(NONE | settings)), np.random.default_rng(seed))


def test_nothing_changes_without_settings_or_in_untouched_events():
    assert (damage() == LABELS).all()
    assert (damage(swapped=1, dropped=1, untouched=1) == LABELS).all()
    assert LABELS.flags.writeable


def test_each_kind_of_damage_does_what_it_says():
    dropped = np.mean([np.mean(damage(seed, dropped=0.2) == -1) for seed in range(50)])
    assert 0.07 < dropped < 0.13
    swapped = damage(3, swapped=1)
    moved = swapped != LABELS
    assert moved.any()
    # To the cluster of a neighbour.
    assert np.abs(swapped[moved] - LABELS[moved]).max() <= 3
    merged = damage(3, merged=1)
    assert len(np.unique(merged)) < 200
    of_track = merged.reshape(200, 6)
    assert (of_track == of_track[:, :1]).all()
    cut = damage(3, cut=1)
    assert len(np.unique(cut)) > 200
    for k in np.unique(cut):
        assert len(np.unique(LABELS[cut == k])) == 1


def test_the_same_random_numbers_do_the_same():
    settings = {"swapped": 0.5, "dropped": 0.5, "merged": 0.5, "cut": 0.5}
    assert (damage(7, **settings) == damage(7, **settings)).all()
    assert (damage(7, **settings) != damage(8, **settings)).any()
