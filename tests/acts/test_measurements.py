"""Hits on the modules of the GenericDetector as measurements, proto tracks and truth maps of ACTS."""

import dataclasses

import numpy as np
import pytest
from acts_events import gun_event, shuffled, true_candidates

pytest.importorskip("acts")

import acts
import acts.examples

from mltrack_plugin.acts.measurements import (
    MEASUREMENTS,
    SUBSET,
    measurements_of,
    proto_track_container,
    put_measurements,
    truth_maps,
)
from mltrack_plugin.acts.whiteboard import ActsEvent
from mltrack_plugin.detectors.acts_geometry import PITCH, module_table, tracking_geometry
from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.errors import EventDataError, InputError
from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, TruthLinks


@pytest.fixture
def event():
    return gun_event()


def moved(hits, row, shift):
    """The hits with one of them moved, mm."""
    x, y, z = hits.x.copy(), hits.y.copy(), hits.z.copy()
    x[row], y[row], z[row] = np.array([x[row], y[row], z[row]]) + shift
    return dataclasses.replace(hits, x=x, y=y, z=z)


def test_all_modules_are_in_the_table():
    table = module_table()
    assert len(table.geometry_id) == len(table.identifiers) == 18728
    assert (np.diff(table.geometry_id) > 0).all()
    assert [table.identifiers[i].value for i in (0, -1)] == table.geometry_id[[0, -1]].tolist()
    frame = np.einsum("nki,nli->nkl", table.axes, table.axes)
    assert np.allclose(frame, np.eye(2), atol=1e-12)


def test_local_coordinates_are_those_of_the_surfaces_of_acts(event):
    found = measurements_of(event.hits)
    surfaces = {}
    tracking_geometry().visitSurfaces(lambda s: surfaces.__setitem__(s.geometryId.value, s))
    context = acts.GeometryContext.dangerouslyDefaultConstruct()
    ids = module_table().geometry_id[found.module]
    for i in range(len(found)):
        hit = event.hits.positions[found.hit_rows[i]]
        point = surfaces[int(ids[i])].localToGlobal(
            context, acts.Vector2(*found.local[i]), acts.Vector3(0, 0, 1)
        )
        # Hits are in single precision: 0.03 um at 1 m.
        assert [point[k] for k in range(3)] == pytest.approx(hit.tolist(), abs=2e-4)


def test_order_is_by_geometry_id_and_leads_back_to_the_hits(event):
    other, _ = shuffled(event)
    found = measurements_of(other.hits)
    ids = other.hits.geometry_id[found.hit_rows]
    assert (ids[1:] >= ids[:-1]).all()
    assert (found.hit_rows[found.measurement_of_hit] == np.arange(len(other.hits))).all()
    same_module = ids[1:] == ids[:-1]
    assert (np.diff(found.hit_rows)[same_module] > 0).all()


def test_noise_hits_are_measurements_too(event):
    assert (event.truth_links.particle_id == 0).sum() > 50
    assert len(measurements_of(event.hits)) == len(event.hits)


def test_variance_is_the_pitch_squared_over_12(event):
    found = measurements_of(event.hits, resolution=2.0)
    volume = split_geometry_id(event.hits.geometry_id[found.hit_rows])[0]
    for number, pitch in PITCH.items():
        expected = 4 * np.square(pitch) / 12
        assert np.allclose(found.variance[volume == number], expected, rtol=1e-12)
    assert set(volume.tolist()) == set(PITCH)


def test_volume_layer_and_module_do_in_place_of_the_geometry_id(event):
    plain = measurements_of(dataclasses.replace(event.hits, geometry_id=None))
    full = measurements_of(event.hits)
    assert (plain.module == full.module).all()
    assert (plain.local == full.local).all()


def test_acts_makes_space_points_of_the_measurements_where_the_hits_are(event):
    measurements = measurements_of(event.hits)
    board = ActsEvent()
    put_measurements(board, measurements)
    assert board.keys == sorted([MEASUREMENTS, SUBSET])
    board.run(
        acts.examples.SpacePointMaker(
            level=acts.logging.FATAL,
            inputMeasurements=SUBSET,
            outputSpacePoints="points",
            trackingGeometry=tracking_geometry(),
            geometrySelection=[acts.GeometryIdentifier(volume=v) for v in PITCH],
        )
    )
    points = board.read(acts.SpacePointContainer, "points")
    found = np.stack([points.x, points.y, points.z], axis=1)
    assert found == pytest.approx(event.hits.positions[measurements.hit_rows], abs=5e-4)


def test_measurements_hold_the_geometry_id_and_local_position(event):
    measurements = measurements_of(event.hits)
    board = ActsEvent()
    put_measurements(board, measurements)
    stored = board.read(acts.examples.MeasurementContainer, MEASUREMENTS)
    for i in (0, 17, len(measurements) - 1):
        assert stored[i].geometryId.value == event.hits.geometry_id[measurements.hit_rows[i]]
        assert [stored[i].fullParameters[k] for k in (0, 1)] == measurements.local[i].tolist()
        assert stored[i].fullCovariance[0, 0] == measurements.variance[i, 0]


def test_an_event_without_hits_gives_no_measurements():
    nothing = np.zeros(0)
    hits = Hits(nothing.astype(np.uint64), nothing, nothing, nothing, geometry_id=nothing.astype(np.uint64))
    board = ActsEvent()
    put_measurements(board, measurements_of(hits))
    assert len(board.read(acts.examples.MeasurementContainer, MEASUREMENTS)) == 0


# ---- hits that do not fit ----------------------------------------------------------------


def test_hits_without_modules_are_refused(event):
    bare = Hits(event.hits.hit_id, event.hits.x, event.hits.y, event.hits.z, layer_id=event.hits.layer_id)
    with pytest.raises(InputError, match=r"neither geometry_id nor volume_id, module_id.*branches"):
        measurements_of(bare)


def test_a_hit_off_its_module_is_named_with_its_distance(event):
    row = 5
    volume, layer, module = (int(part[row]) for part in split_geometry_id(event.hits.geometry_id))
    found, _ = module_table().rows_of(event.hits.geometry_id[[row]])
    hits = moved(event.hits, row, 0.4 * module_table().normal[found[0]])
    where = rf"hit 5 \(hit_id 6\) is 0\.4 mm from volume {volume}, layer {layer}, module {module}\."
    with pytest.raises(EventDataError, match=rf"^1 of \d+ hits are off.*{where}"):
        measurements_of(hits)
    # Whoever knows better may allow more.
    assert len(measurements_of(hits, tolerance=0.5)) == len(hits)


def test_a_hit_beyond_the_edge_of_its_module_is_refused(event):
    """All modules of an endcap ring lie in one plane: the height alone would not tell."""
    row = int(np.flatnonzero(split_geometry_id(event.hits.geometry_id)[0] == 9)[0])
    found, _ = module_table().rows_of(event.hits.geometry_id[[row]])
    along = module_table().axes[found[0], 0] * (2 * module_table().half[found[0], 0] + 1.0)
    with pytest.raises(EventDataError, match=rf"hit {row} "):
        measurements_of(moved(event.hits, row, along))


def test_turned_events_are_refused_with_the_reason(event):
    angle = 0.1
    x = np.cos(angle) * event.hits.x - np.sin(angle) * event.hits.y
    y = np.sin(angle) * event.hits.x + np.cos(angle) * event.hits.y
    with pytest.raises(EventDataError, match="Turned events"):
        measurements_of(dataclasses.replace(event.hits, x=x, y=y))


def test_a_module_that_the_detector_does_not_have_is_named(event):
    ids = event.hits.geometry_id.copy()
    ids[3] = (np.uint64(16) << np.uint64(56)) | (np.uint64(400) << np.uint64(36))
    text = r"^1 of \d+ hits.*hit 3 \(hit_id 4\), volume 16, layer 400, module 0"
    with pytest.raises(EventDataError, match=text):
        measurements_of(dataclasses.replace(event.hits, geometry_id=ids))


# ---- proto tracks and truth ----------------------------------------------------------------


def test_proto_tracks_hold_measurement_indices_from_the_origin_outwards(event):
    other, _ = shuffled(event)
    measurements, candidates = measurements_of(other.hits), true_candidates(other.truth_links)
    for track, found in enumerate(proto_track_container(measurements, candidates)):
        rows = measurements.hit_rows[list(found)]
        assert sorted(rows) == candidates.hits_of(track).tolist()
        distance = np.linalg.norm(other.hits.positions[rows], axis=1)
        assert (np.diff(distance) >= 0).all()


def test_candidates_of_another_event_are_refused(event):
    candidates = ProtoTracks.from_lists([[0, 1, len(event.hits)]])
    with pytest.raises(EventDataError, match=rf"hit index {len(event.hits)}.*another event"):
        proto_track_container(measurements_of(event.hits), candidates)


def test_truth_maps_hold_every_hit_but_noise(event):
    other, _ = shuffled(event)
    measurements = measurements_of(other.hits)
    maps = truth_maps(measurements, other.truth_links, other.particles)
    truth = other.truth_links.particle_id[measurements.hit_rows]
    assert len(maps.of_measurement) == len(maps.of_particle) == (truth != 0).sum()
    assert len(maps.particles) == len(other.particles)
    for i, particle in enumerate(truth.tolist()):
        expected = [maps.numbers[particle]] if particle else []
        assert [b.particle for b in maps.of_measurement.valuesFor(i)] == expected


def test_truth_is_asked_for_where_it_is_missing(event):
    measurements = measurements_of(event.hits)
    with pytest.raises(InputError, match="no truth links"):
        truth_maps(measurements, None, event.particles)
    with pytest.raises(InputError, match="no particles"):
        truth_maps(measurements, event.truth_links, None)


def test_hits_of_unlisted_particles_are_refused(event):
    listed = Particles(**{name: values[1:] for name, values in event.particles.arrays().items()})
    absent = event.particles.particle_id[0]
    with pytest.raises(EventDataError, match=f"1 particles.*particle_id {absent}$"):
        truth_maps(measurements_of(event.hits), event.truth_links, listed)


def test_64_bit_particle_ids_do_not_collapse(event):
    big = np.uint64(2**60)
    truth = TruthLinks(
        np.where(event.truth_links.particle_id, event.truth_links.particle_id + big, np.uint64(0))
    )
    particles = dataclasses.replace(event.particles, particle_id=event.particles.particle_id + big)
    numbers = truth_maps(measurements_of(event.hits), truth, particles).numbers
    assert len(set(numbers.values())) == len(particles)
