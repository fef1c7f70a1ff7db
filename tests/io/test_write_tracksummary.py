"""The tracksummary tree: branches of ACTS, truth, residuals and pulls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from writing_events import NUMBERS, make_event, without, write_all

from mltrack_plugin.errors import InputError, OutputError
from mltrack_plugin.event_data import Hits, Particles, Tracks, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_tracks import read_meta
from mltrack_plugin.io.tracks_files import read_tracks_any
from mltrack_plugin.io.tracksummary import TrackSummaryWriter

#: Branches that ``RootTrackSummaryWriter`` of ACTS books for tracks of a Kalman filter (August 2026), without
#: its six vector<vector> branches, which uproot cannot write.
_BRANCHES = """
event_nr track_nr nStates nMeasurements nOutliers nHoles nSharedHits chi2Sum NDF nMajorityHits
majorityParticleId_vertex_primary majorityParticleId_vertex_secondary majorityParticleId_particle
majorityParticleId_generation majorityParticleId_sub_particle trackClassification t_charge t_time t_vx
t_vy t_vz t_px t_py t_pz t_theta t_phi t_eta t_p t_pT t_d0 t_z0 t_prodR hasFittedParams eLOC0_fit
eLOC1_fit ePHI_fit eTHETA_fit eQOP_fit eT_fit err_eLOC0_fit err_eLOC1_fit err_ePHI_fit err_eTHETA_fit
err_eQOP_fit err_eT_fit res_eLOC0_fit res_eLOC1_fit res_ePHI_fit res_eTHETA_fit res_eQOP_fit res_eT_fit
pull_eLOC0_fit pull_eLOC1_fit pull_ePHI_fit pull_eTHETA_fit pull_eQOP_fit pull_eT_fit cov_eLOC0_eLOC0
cov_eLOC0_eLOC1 cov_eLOC0_ePHI cov_eLOC0_eTHETA cov_eLOC0_eQOP cov_eLOC0_eT cov_eLOC1_eLOC0
cov_eLOC1_eLOC1 cov_eLOC1_ePHI cov_eLOC1_eTHETA cov_eLOC1_eQOP cov_eLOC1_eT cov_ePHI_eLOC0 cov_ePHI_eLOC1
cov_ePHI_ePHI cov_ePHI_eTHETA cov_ePHI_eQOP cov_ePHI_eT cov_eTHETA_eLOC0 cov_eTHETA_eLOC1 cov_eTHETA_ePHI
cov_eTHETA_eTHETA cov_eTHETA_eQOP cov_eTHETA_eT cov_eQOP_eLOC0 cov_eQOP_eLOC1 cov_eQOP_ePHI
cov_eQOP_eTHETA cov_eQOP_eQOP cov_eQOP_eT cov_eT_eLOC0 cov_eT_eLOC1 cov_eT_ePHI cov_eT_eTHETA cov_eT_eQOP
cov_eT_eT
"""
ACTS_BRANCHES = _BRANCHES.split()


def write(path: Path, events: Any, **settings: Any) -> dict[str, Any]:
    write_all(TrackSummaryWriter(path=str(path), **settings), events, {"job": "test"})
    with uproot.open(path) as file:
        arrays = file["tracksummary"].arrays()
    return {name: arrays[name] for name in arrays.fields}


def two_particles() -> EventStore:
    """Particle A (charge +1, vertex (0, 1, 5), p = (3, 0, 4) GeV) and B; four tracks, the last of noise."""
    a, b = (1 << 52) | (7 << 24), (1 << 52) | (8 << 24) | 2
    truth = [a] * 5 + [b] * 4 + [a] * 3 + [0, 0]
    n = len(truth)
    store = EventStore(77)
    store.add("hits", Hits(np.arange(n), *np.zeros((3, n))))
    store.add("truth_links", TruthLinks(np.array(truth, dtype=np.uint64)))
    store.add(
        "particles",
        Particles([a, b], vx=[0, 0], vy=[1, 0], vz=[5, 0], px=[3, 1], py=[0, 0], pz=[4, 0], q=[1, -1]),
    )
    covariance = np.zeros((4, 5, 5))
    covariance[0] = np.diag([0.04, 1.0, 0.01, 0.01, 0.0001])
    theta = np.arctan2(3, 4)
    tracks = Tracks(
        offsets=np.array([0, 5, 9, 12, 14]),
        # the second track holds one hit of A and three of B, the third two of A and one of B
        hit_indices=np.array([0, 1, 2, 3, 4, 5, 6, 7, 9, 8, 10, 11, 12, 13]),
        d0=[1.2, np.nan, np.nan, np.nan],
        z0=[4.0, np.nan, np.nan, np.nan],
        phi=[-0.1, np.nan, np.nan, np.nan],
        theta=[theta, np.nan, np.nan, np.nan],
        qop=[0.21, np.nan, np.nan, np.nan],
        covariance=covariance,
        chi2=[10.0, np.nan, np.nan, np.nan],
        ndf=[5, 0, 0, 0],
    )
    store.add("tracks", tracks)
    return store


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_branches_are_those_of_acts(tmp_path: Path, container: str) -> None:
    arrays = write(tmp_path / "a.root", [make_event(1)], container=container)
    assert sorted(arrays) == sorted([*ACTS_BRANCHES, "n_tracks"])
    without_covariance = write(
        tmp_path / "b.root", [make_event(1)], write_covariance=False, container=container
    )
    assert sorted(without_covariance) == sorted([*(b for b in ACTS_BRANCHES if b[:4] != "cov_"), "n_tracks"])


def test_types_are_those_of_acts(tmp_path: Path) -> None:
    write(tmp_path / "a.root", [make_event(1)])
    with uproot.open(tmp_path / "a.root") as file:
        types = file["tracksummary"].typenames()
    assert types["event_nr"] == "uint32_t"
    unsigned = {
        "track_nr",
        "nStates",
        "nMeasurements",
        "nOutliers",
        "nHoles",
        "nSharedHits",
        "NDF",
        "nMajorityHits",
    }
    for name, kind in types.items():
        if name in unsigned or name.startswith("majorityParticleId"):
            assert kind == "uint32_t[]", name
        elif name in {"trackClassification", "t_charge"}:
            assert kind == "int32_t[]", name
        elif name == "hasFittedParams":
            assert kind == "bool[]"
        elif name not in {"event_nr", "n_tracks"}:
            assert kind == "float[]", name


def test_truth_residuals_and_pulls(tmp_path: Path) -> None:
    arrays = write(tmp_path / "a.root", [two_particles()])
    get = {name: ak.to_numpy(values[0]) for name, values in arrays.items() if values.ndim == 2}
    assert arrays["event_nr"].tolist() == [77]
    assert get["nMeasurements"].tolist() == [5, 4, 3, 2]
    assert get["nMajorityHits"].tolist() == [5, 3, 2, 0]
    # A: found, B: found, the third track is a second one of A, the fourth is noise only
    assert get["trackClassification"].tolist() == [1, 1, 2, 3]
    assert get["majorityParticleId_vertex_primary"].tolist() == [1, 1, 1, 0]
    assert get["majorityParticleId_particle"].tolist() == [7, 8, 7, 0]
    assert get["majorityParticleId_sub_particle"].tolist() == [0, 2, 0, 0]
    assert get["t_charge"].tolist() == [1, -1, 1, 2**31 - 1]
    assert get["hasFittedParams"].tolist() == [True, False, False, False]
    expected = {
        # the straight line through (0, 1, 5) along (3, 0, 4) is closest to the z axis at its vertex
        "t_d0": 1.0,
        "t_z0": 5.0,
        "t_p": 5.0,
        "t_pT": 3.0,
        "t_phi": 0.0,
        "t_theta": np.arctan2(3, 4),
        "t_eta": np.arcsinh(4 / 3),
        "t_prodR": 1.0,
        "err_eLOC0_fit": 0.2,
        "res_eLOC0_fit": 0.2,
        "res_eLOC1_fit": -1.0,
        "res_ePHI_fit": -0.1,
        "res_eTHETA_fit": 0.0,
        "res_eQOP_fit": 0.01,
        "pull_eLOC0_fit": 1.0,
        "pull_eLOC1_fit": -1.0,
        "pull_ePHI_fit": -1.0,
        "pull_eQOP_fit": 1.0,
        "cov_eQOP_eQOP": 0.0001,
        "chi2Sum": 10.0,
    }
    for name, value in expected.items():
        assert get[name][0] == pytest.approx(value, abs=1e-6), name
    assert np.isnan(get["t_d0"][3])
    assert np.isnan(get["eT_fit"]).all()


def test_vertex_beside_the_beam_has_the_sign_of_acts(tmp_path: Path) -> None:
    event = without(two_particles(), "particles")
    a = (1 << 52) | (7 << 24)
    # flying along +y through (2, 3, 1): passes the axis at x = 2 on its right side, so d0 = -2
    event.add("particles", Particles([a], vx=[2], vy=[3], vz=[1], px=[0], py=[1], pz=[1], q=[1]))
    arrays = write(tmp_path / "a.root", [event])
    assert arrays["t_d0"][0, 0] == pytest.approx(-2.0)
    assert arrays["t_z0"][0, 0] == pytest.approx(-2.0)


def test_phi_residual_is_periodic(tmp_path: Path) -> None:
    event = without(two_particles(), "particles", "tracks")
    a = (1 << 52) | (7 << 24)
    event.add("particles", Particles([a], vx=[0], vy=[0], vz=[0], px=[-1], py=[1e-3], pz=[0], q=[1]))
    event.add(
        "tracks",
        Tracks(np.array([0, 5]), np.arange(5), d0=[0], z0=[0], phi=[-np.pi + 1e-3], theta=[1.5], qop=[1.0]),
    )
    arrays = write(tmp_path / "a.root", [event])
    assert arrays["res_ePHI_fit"][0, 0] == pytest.approx(2e-3, rel=1e-3)


def test_without_truth(tmp_path: Path) -> None:
    arrays = write(tmp_path / "a.root", [without(make_event(n), "truth_links", "particles") for n in NUMBERS])
    assert arrays["event_nr"].tolist() == list(NUMBERS)
    assert ak.all(arrays["trackClassification"] == 0)
    assert ak.all(arrays["majorityParticleId_particle"] == 0)
    assert ak.all(np.isnan(arrays["t_pT"]))
    assert not ak.any(np.isnan(arrays["eLOC0_fit"]))


def test_plain_particle_numbers(tmp_path: Path) -> None:
    event = without(two_particles(), "truth_links", "particles")
    event.add("truth_links", TruthLinks(np.array([3] * 5 + [4] * 9, dtype=np.uint64)))
    arrays = write(tmp_path / "a.root", [event])
    assert arrays["majorityParticleId_particle"][0].tolist() == [3, 4, 4, 4]
    assert ak.all(arrays["majorityParticleId_vertex_primary"] == 0)
    assert arrays["trackClassification"][0].tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_no_events_no_tracks_and_meta(tmp_path: Path, container: str) -> None:
    assert len(write(tmp_path / "a.root", [], container=container)["track_nr"]) == 0
    arrays = write(tmp_path / "b.root", [make_event(1, n_hits=0), make_event(2)], container=container)
    assert arrays["n_tracks"].tolist()[0] == 0
    assert read_meta(tmp_path / "b.root")["job"] == "test"


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / name, [make_event(n) for n in NUMBERS])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_event_number_too_large(tmp_path: Path) -> None:
    writer = TrackSummaryWriter(path=str(tmp_path / "a.root"))
    with pytest.raises(OutputError, match=r"event number 4294967296 does not fit"):
        write_all(writer, [make_event(2**32)])
    writer.abort()
    assert os.listdir(tmp_path) == []


def test_it_is_no_input_for_the_evaluation(tmp_path: Path) -> None:
    write(tmp_path / "a.root", [make_event(1)])
    with pytest.raises(InputError, match="does not say which hits are on a track"):
        read_tracks_any(tmp_path / "a.root")
