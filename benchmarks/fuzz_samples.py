"""A small good sample of every input format, made anew: what :mod:`fuzz` damages."""

from __future__ import annotations

import gzip
import itertools
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, Tracks, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io import open_events, tracks_files
from mltrack_plugin.io.acts_tracks_csv import ActsTracksCsvWriter
from mltrack_plugin.io.colliderml_tracks import ColliderMLTracksWriter
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.io.root_tracks import RootTracksWriter
from mltrack_plugin.io.trackml_submission import TrackMLSubmissionWriter
from mltrack_plugin.io.tracksummary import TrackSummaryWriter
from mltrack_plugin.io.tracksummary_reader import read_tracksummary
from mltrack_plugin.jobs.config import available_jobs, job_text, load_job

N_EVENTS, N_TRACKS, N_LAYERS = 3, 4, 6
_PARTS = ("vertex_primary", "vertex_secondary", "particle", "generation", "sub_particle")
_KINEMATICS = ("vx", "vy", "vz", "px", "py", "pz", "q")


class Sample(NamedTuple):
    """Files of one format and how they are read."""

    #: Makes the files in an empty folder; returns what is opened, relative to the folder.
    make: Callable[[Path], str]
    #: Reads everything; returns the content as bytes, and the events that cannot be read.
    read: Callable[[str], tuple[bytes, list[Exception]]]


def event(number: int) -> EventStore:
    """Hits on straight tracks with truth, particles and fitted tracks."""
    rng = np.random.default_rng(number)
    n = N_TRACKS * N_LAYERS
    track = np.arange(n) // N_LAYERS
    r = np.tile(np.arange(1, N_LAYERS + 1) * 50.0, N_TRACKS)
    phi = np.repeat(rng.uniform(-3, 3, N_TRACKS), N_LAYERS)
    hits = Hits(
        hit_id=np.arange(1, n + 1),
        x=r * np.cos(phi),
        y=r * np.sin(phi),
        z=r * 0.3,
        volume_id=np.full(n, 8),
        layer_id=np.tile(np.arange(N_LAYERS), N_TRACKS),
        module_id=np.arange(n),
    )
    proto = ProtoTracks.from_labels(track)
    parameters = {name: rng.uniform(0.1, 1, N_TRACKS) for name in ("d0", "z0", "phi", "theta", "qop", "chi2")}
    tracks = Tracks(
        proto.offsets,
        proto.hit_indices,
        covariance=np.tile(np.eye(5), (N_TRACKS, 1, 1)),
        ndf=np.full(N_TRACKS, 5),
        **parameters,
    )
    ids = np.arange(1, N_TRACKS + 1, dtype=np.uint64)
    store = EventStore(number)
    store.add("hits", hits)
    store.add("truth_links", TruthLinks(ids[track]))
    store.add("particles", Particles(ids, *rng.normal(size=(6, N_TRACKS)), q=np.ones(N_TRACKS)))
    store.add("tracks", tracks)
    return store


def _written(writer: Any, name: str, **settings: Any) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        one = writer(path=str(folder / name), **settings)
        one.initialize()
        for number in range(7, 7 + N_EVENTS):
            one.write(event(number))
        one.finalize()
        return name

    return make


def _columns(number: int) -> dict[str, np.ndarray[Any, Any]]:
    store = event(number)
    return store.get("hits", Hits).arrays() | {
        "particle_id": store.get("truth_links", TruthLinks).particle_id
    }


def _acts_root(folder: Path) -> str:
    hits: dict[str, list[Any]] = {}
    for number in range(N_EVENTS):
        c = _columns(number)
        n, zero = len(c["x"]), np.zeros(len(c["x"]), np.uint32)
        row = {"event_id": zero + number, "geometry_id": c["module_id"].astype(np.uint64) << np.uint64(8)}
        row |= {f"barcode_{p}": zero + (c["particle_id"] if p == "particle" else 0) for p in _PARTS}
        row |= {f"t{a}": c[a] for a in "xyz"} | {"tt": c["x"], "index": np.arange(n, dtype=np.int32)}
        for name, values in row.items():
            hits.setdefault(name, []).append(values)
    flat = {n: np.concatenate(v) for n, v in hits.items()}
    flat |= {n: v.astype(np.uint32) for n, v in flat.items() if n == "event_id" or n.startswith("barcode")}
    with uproot.recreate(folder / "hits.root") as file:
        file.mktree("hits", {n: v.dtype for n, v in flat.items()}).extend(flat)
    rows = ak.Array([list(range(1, N_TRACKS + 1))] * N_EVENTS)
    jagged = {p: ak.values_astype(rows * (p == "particle"), np.uint32) for p in _PARTS}
    jagged |= {n: ak.values_astype(rows, np.float32) for n in _KINEMATICS}
    with uproot.recreate(folder / "particles.root") as file:
        types = {n: ak.type(v).content for n, v in jagged.items()}
        tree = file.mktree("particles", {"event_id": "uint32", **types})
        tree.extend({"event_id": np.arange(N_EVENTS, dtype=np.uint32), **jagged})
    return "."


def _csv(columns: Mapping[str, Any], separator: str = ",") -> str:
    rows = zip(*(np.asarray(v).tolist() for v in columns.values()), strict=True)
    return "\n".join([separator.join(columns), *(separator.join(map(str, row)) for row in rows)]) + "\n"


def _particles(ids: Mapping[str, Any]) -> str:
    return _csv({**ids, **{n: np.ones(N_TRACKS) for n in _KINEMATICS}})


def _trackml_files() -> dict[str, str]:
    files = {}
    for number in range(N_EVENTS):
        c, stem = _columns(number), f"event{number:09d}"
        files[f"{stem}-hits.csv"] = _csv(
            {n: c[n] for n in ("hit_id", *"xyz", "volume_id", "layer_id", "module_id")}
        )
        files[f"{stem}-truth.csv"] = _csv({n: c[n] for n in ("hit_id", "particle_id")})
        files[f"{stem}-particles.csv"] = _particles({"particle_id": np.arange(1, N_TRACKS + 1)})
    return files


def _acts_files() -> dict[str, str]:
    files, names = {}, [f"particle_id_{p}" for p in ("pv", "sv", "part", "gen", "subpart")]
    for number in range(N_EVENTS):
        c, stem = _columns(number), f"event{number:09d}"
        parts = {n: c["particle_id"] * (n == "particle_id_part") for n in names}
        files[f"{stem}-hits.csv"] = _csv(
            {**parts, "geometry_id": c["module_id"], **{f"t{a}": c[a] for a in "xyz"}, "tt": c["x"]}
        )
        barcode = {n: np.arange(1, N_TRACKS + 1) * (n == "particle_id_part") for n in names}
        files[f"{stem}-particles_initial.csv"] = _particles(barcode)
        files[f"{stem}-measurements.csv"] = _csv(
            {
                "measurement_id": c["hit_id"] - 1,
                "geometry_id": c["module_id"],
                **{f"global_{a}": c[a] for a in "xyz"},
            }
        )
        ids = np.arange(len(c["x"]))
        files[f"{stem}-measurement-simhit-map.csv"] = _csv({"measurement_id": ids, "hit_id": ids})
    return files


def _folder(files: Callable[[], dict[str, str]], packed: bool = False) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        for name, text in files().items():
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
            else:
                (folder / name).write_text(text)
        return "."

    return make


def _archive(files: Callable[[], dict[str, str]]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        with zipfile.ZipFile(folder / "events.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files().items():
                archive.writestr(name, text)
        return "events.zip"

    return make


def _colliderml(folder: Path) -> str:
    rows = [_columns(number) for number in range(N_EVENTS)]
    types = dict.fromkeys("xyz", pa.float32()) | {"volume_id": pa.uint8(), "layer_id": pa.uint16()}
    hits: dict[str, Any] = {"event_id": pa.array(range(N_EVENTS), pa.uint32())}
    hits |= {n: pa.array([c[n] for c in rows], pa.list_(t)) for n, t in types.items()}
    hits["time"] = pa.array([c["x"] for c in rows], pa.list_(pa.float32()))
    hits["surface_id"] = pa.array([c["module_id"] for c in rows], pa.list_(pa.uint32()))
    hits["particle_id"] = pa.array([c["particle_id"] - np.uint64(1) for c in rows], pa.list_(pa.uint64()))
    pq.write_table(pa.table(hits), folder / "a.reco.tracker_hits.parquet", row_group_size=1)
    each = [list(range(N_TRACKS))] * N_EVENTS
    particles: dict[str, Any] = {
        "event_id": hits["event_id"],
        "particle_id": pa.array(each, pa.list_(pa.uint64())),
    }
    names = (*_KINEMATICS[:-1], "charge")
    particles |= {n: pa.array([[1.0] * N_TRACKS] * N_EVENTS, pa.list_(pa.float32())) for n in names}
    pq.write_table(pa.table(particles), folder / "a.truth.particles.parquet", row_group_size=2)
    return "."


def _trackml_parquet(folder: Path) -> str:
    rows = [_columns(number) for number in range(N_EVENTS)]
    columns = {n: np.concatenate([c[n] for c in rows]) for n in (*rows[0],)}
    n = len(columns["x"])
    columns |= {"event_id": np.repeat(np.arange(N_EVENTS), n // N_EVENTS), "nhits": np.full(n, N_LAYERS)}
    columns |= {name: np.ones(n) for name in _KINEMATICS}
    pq.write_table(pa.table(columns), folder / "labelled.parquet", row_group_size=n // N_EVENTS)
    return "labelled.parquet"


def _redvid_text() -> str:
    rows: dict[str, list[Any]] = {}
    for number in range(N_EVENTS):
        c = _columns(number)
        n = len(c["x"])
        columns = {
            "event_id": np.full(n, number),
            "sub_detector_id": c["layer_id"],
            "sub_detector_type": ["barrel"] * n,
            "track_id": c["particle_id"] - np.uint64(1),
            "track_type": ["linear"] * n,
            **{name: np.full(n, 0.5) for name in ("r_0", "theta_0", "z_0", "r_d", "theta_d", "z_d")},
            "hit_id": c["hit_id"],
            "hit_r": np.hypot(c["x"], c["y"]),
            "hit_theta": c["x"],
            "hit_z": c["z"],
        }
        for name, values in columns.items():
            rows.setdefault(name, []).extend(np.asarray(values).tolist())
    return _csv(rows, ";")


def _redvid(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        text = _redvid_text().encode()
        (folder / name).write_bytes(gzip.compress(text, mtime=0) if name.endswith(".gz") else text)
        return name

    return make


def _job(folder: Path) -> str:
    (folder / "job.yaml").write_text(job_text(available_jobs()[0]))
    return "job.yaml"


def read_events(path: str) -> tuple[bytes, list[Exception]]:
    """All events of an input whose format is found from its content."""
    reader = open_events(path)
    reader.initialize()
    events = list(reader.events())
    reader.column_info()
    reader.finalize()
    content = [
        (e.event_number, {k: c.arrays() for k, c in sorted(e.collections.items())})
        for e in events
        if not e.error
    ]
    return pickle.dumps(content), [e.error for e in events if e.error]


def read_tracks(path: str) -> tuple[bytes, list[Exception]]:
    """All that is read from a file of tracks."""
    tracks_files.read_meta_any(path)
    tracks_files.read_event_numbers(path)
    listed = list(itertools.islice(tracks_files.read_rows_with_identities(path), N_EVENTS))
    rows = [tuple(r) for r in tracks_files.read_rows_any(path)]
    events = [
        (number, tracks.offsets, tracks.hit_indices) for number, tracks in tracks_files.read_tracks_any(path)
    ]
    return pickle.dumps(([tuple(r[2:]) for r in rows], events, [tuple(i) for _, i in listed])), []


def read_summary(path: str) -> tuple[bytes, list[Exception]]:
    """All events of a tracksummary file."""
    return pickle.dumps(list(read_tracksummary(path))), []


def read_job(path: str) -> tuple[bytes, list[Exception]]:
    """A job file."""
    return load_job(path).model_dump_json().encode(), []


SAMPLES = {
    "ttree": Sample(_written(RootEventsWriter, "events.root"), read_events),
    "rntuple": Sample(_written(RootEventsWriter, "events.root", container="rntuple"), read_events),
    "acts-root": Sample(_acts_root, read_events),
    "acts-csv": Sample(_folder(_acts_files), read_events),
    "acts-zip": Sample(_archive(_acts_files), read_events),
    "trackml-csv": Sample(_folder(_trackml_files), read_events),
    "trackml-gz": Sample(_folder(_trackml_files, packed=True), read_events),
    "trackml-zip": Sample(_archive(_trackml_files), read_events),
    "trackml-parquet": Sample(_trackml_parquet, read_events),
    "colliderml": Sample(_colliderml, read_events),
    "redvid-csv": Sample(_redvid("events.csv"), read_events),
    "redvid-gz": Sample(_redvid("events.csv.gz"), read_events),
    "root-tracks": Sample(_written(RootTracksWriter, "tracks.root"), read_tracks),
    "root-tracks-rntuple": Sample(
        _written(RootTracksWriter, "tracks.root", container="rntuple"), read_tracks
    ),
    "tracksummary": Sample(_written(TrackSummaryWriter, "summary.root"), read_summary),
    "colliderml-tracks": Sample(_written(ColliderMLTracksWriter, "tracks.parquet"), read_tracks),
    "acts-tracks-csv": Sample(_written(ActsTracksCsvWriter, "tracks"), read_tracks),
    "trackml-submission": Sample(_written(TrackMLSubmissionWriter, "submission.csv"), read_tracks),
    "job": Sample(_job, read_job),
}
