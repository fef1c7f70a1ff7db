"""REDVID CSV: coordinates, particles, ranges of bytes."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from reading_events import read_all

from mltrack_plugin.errors import InputError
from mltrack_plugin.io import detect_format, open_events
from mltrack_plugin.io.redvid_csv import RedvidCsvReader

COMMON = ["event_id", "sub_detector_id", "sub_detector_type", "track_id", "track_type"]
LINEAR = ["r_0", "theta_0", "z_0", "r_d", "theta_d", "z_d"]
HELICAL = ["radial_const", "azimuthal_const", "pitch_const", "radial_coeff", "azimuthal_coeff", "pitch_coeff"]
HIT = ["hit_id", "hit_r", "hit_theta", "hit_z"]


def text(
    n_events: int = 6, track: list[str] = LINEAR, *, per_track_ids: bool = False, tail: str = "\n"
) -> str:
    """Event i: two tracks of i + 1 hits each, hits of the tracks alternating."""
    lines = [";".join([*COMMON, *track, *HIT])]
    for event in range(n_events):
        for hit in range(2 * (event + 1)):
            number = hit % 2
            line = [str(event + 100), str(hit % 5), '"barrel"', str(number), "linear"]
            line += ["0", "0", "0", f"{0.5 + number}", f"{0.25 * (1 + number)}", "-1"]
            line += [
                str(hit // 2 if per_track_ids else hit),
                f"{2.0 + event}",
                f"{0.1 * hit}",
                f"{event - hit}",
            ]
            lines.append(";".join(line))
    return "\n".join(lines) + tail


@pytest.mark.parametrize("tail", ["\n", "", "\n\n"])
@pytest.mark.parametrize("chunk_bytes", [1024, 10**6])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_hits_and_particles(tmp_path: Path, tail: str, chunk_bytes: int, ending: str) -> None:
    path = tmp_path / f"events{ending}"
    data = text(tail=tail).encode()
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    for source in (path, tmp_path):
        assert detect_format(str(source)) == "redvid-csv"
        reader = open_events(str(source), chunk_bytes=chunk_bytes)
        read = read_all(reader)
        assert reader.detector == "redvid"  # type: ignore[attr-defined]
        assert [e.event_number for e in read] == list(range(100, 106))
        for i, event in enumerate(read):
            assert event.error is None
            hits = event.collections["hits"]
            number = np.arange(2 * (i + 1))
            np.testing.assert_allclose(hits.r, 2 + i, rtol=1e-6)
            np.testing.assert_allclose(hits.phi, 0.1 * number, rtol=1e-5, atol=1e-7)
            assert hits.z.tolist() == (i - number).tolist()
            assert hits.hit_id.tolist() == number.tolist()
            assert hits.layer_id.tolist() == (number % 5).tolist()
            assert event.collections["truth_links"].particle_id.tolist() == (number % 2 + 1).tolist()
            particles = event.collections["particles"]
            assert particles.particle_id.tolist() == [1, 2]
            assert particles.nhits.tolist() == [i + 1, i + 1]
            np.testing.assert_allclose(particles.pt, [0.5, 1.5])
            np.testing.assert_allclose(particles.phi, [0.25, 0.5], rtol=1e-6)
            assert particles.pz.tolist() == [-1, -1]
            assert particles.q.tolist() == [0, 0]


def test_helical_parameters(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text(1, HELICAL))
    (event,) = read_all(RedvidCsvReader(path=str(path)))
    particles = event.collections["particles"]
    # radial_coeff, azimuthal_const = 0, pitch_coeff, azimuthal_coeff
    assert particles.px.tolist() == [0.5, 1.5]
    assert particles.py.tolist() == [0, 0]
    assert particles.pz.tolist() == [-1, -1]
    assert particles.q.tolist() == [0.25, 0.5]


def test_ids_that_count_per_track_become_rows(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text(3, per_track_ids=True))
    read = read_all(RedvidCsvReader(path=str(path)))
    assert read[2].collections["hits"].hit_id.tolist() == list(range(6))
    path.write_text(text(3).replace(";5;4.0;", ";3;4.0;"))
    read = read_all(RedvidCsvReader(path=str(path)))
    assert [e.error is None for e in read] == [True, True, False]
    assert "hit_id 3 occurs 2 times" in str(read[2].error)


def test_noise_has_no_particle(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text(1).replace('"barrel";1;', '"barrel";-1;'))
    (event,) = read_all(RedvidCsvReader(path=str(path)))
    assert event.collections["truth_links"].particle_id.tolist() == [1, 0]
    assert event.collections["particles"].particle_id.tolist() == [1]


def test_a_bad_value_costs_no_other_event(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    for bad, message in (("abc", "'hit_r'"), ("nan", "non-finite x")):
        path.write_text(text().replace(";4.0;", f";{bad};", 1))
        read = read_all(RedvidCsvReader(path=str(path)))
        assert [e.error is None for e in read] == [True, True, False, True, True, True]
        assert message in str(read[2].error)
        assert "event 102" in str(read[2].error)
        assert read[5].collections["hits"].r[0] == pytest.approx(7)


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text(text().replace("hit_theta", "theta"))
    with pytest.raises(InputError, match=r"e.csv has no column 'hit_theta'. Did you mean"):
        read_all(open_events(str(path)))
    path.write_text(text().replace("track_type", "flavour"))
    with pytest.raises(InputError, match=r"does not know: 'flavour'"):
        read_all(open_events(str(path)))
    assert read_all(open_events(str(path), allow_extra_columns=True))[0].error is None
    path.write_text(text(0))
    with pytest.raises(InputError, match="holds no events"):
        read_all(open_events(str(path)))
    path.write_text(text()[:-30])
    *others, last = read_all(open_events(str(path)))
    assert re.search(r"event 105: .*[Ee]xpected 15 columns", str(last.error))
    assert [e.error for e in others] == [None] * 5
    (tmp_path / "x.csv").write_text("a,b,c\n1,2,3\n")
    with pytest.raises(
        InputError, match=r"the format is not recognised. If it is one of acts-csv, .*--format"
    ):
        open_events(str(tmp_path / "x.csv"))


def test_rows_of_an_event_must_be_together(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    head, *rows = text(3).splitlines()
    path.write_text("\n".join([head, rows[3], *rows[:3], *rows[4:]]) + "\n")
    with pytest.raises(
        InputError, match=r"e.csv, column 'event_id': the rows of event 101 lie in 2 separate blocks"
    ):
        open_events(str(path)).initialize()  # type: ignore[attr-defined]
    path.write_text(text(3).replace("\n101;", "\n-101;"))
    with pytest.raises(InputError, match=r"e.csv, column 'event_id': event number -101 is negative"):
        open_events(str(path)).initialize()  # type: ignore[attr-defined]
    path.write_text(text(3))
    (tmp_path / "f.csv").write_text(text(2))
    with pytest.raises(InputError, match=r"column 'event_id': event number 100 is that of 2 files \(2 of 3"):
        open_events(str(tmp_path)).initialize()  # type: ignore[attr-defined]


def test_events_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mltrack_plugin.io.redvid_csv as module

    path = tmp_path / "e.csv"
    path.write_text(text(12))
    whole = read_all(RedvidCsvReader(path=str(path)))
    monkeypatch.setattr(module, "_SCAN_BYTES", 97)
    pieces = read_all(RedvidCsvReader(path=str(path), chunk_bytes=1024), 3, 11)
    assert [e.event_number for e in pieces] == list(range(103, 111))
    for got, wanted in zip(pieces, whole[3:11], strict=True):
        assert got.collections["hits"].equals(wanted.collections["hits"])
