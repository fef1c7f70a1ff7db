"""``mltrack inspect``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading_events import hits_of, particles_of, write_events

from mltrack_plugin.cli.main import main


def write(tmp_path: Path, **changes: Any) -> str:
    hits = [hits_of(0), hits_of(1, n=3) | changes, hits_of(2, n=0)]
    return write_events(
        tmp_path / "e.root", {"hits": hits, "particles": [particles_of(i) for i in range(3)]}, [4, 5, 6]
    )


def test_json_tells_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path)
    assert main(["inspect", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["path"], facts["format"], facts["events"]) == (path, "root-events", 3)
    assert (facts["detector"], facts["truth"], facts["bad_events"]) == (None, True, [])
    assert {"table": "hits", "name": "x", "type": "float[]"} in facts["columns"]
    assert {"table": "particles", "name": "q", "type": "float[]"} in facts["columns"]
    assert facts["ranges"]["hits"]["rows"] == [0, 5]
    assert facts["ranges"]["hits"]["x"] == [0, 102]
    assert facts["ranges"]["truth_links"]["particle_id"] == [2**60 + 1, 2**60 + 2]
    assert all(set(job) == {"name", "fits", "reason"} and job["reason"] for job in facts["jobs"])
    assert main(["inspect", path, "--events", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ranges"]["hits"]["x"] == [0, 4]


def test_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, x=np.array([0, np.nan, 1], np.float32))
    assert main(["inspect", path]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for wanted in (
        "root-events",
        "detector not known",
        "truth yes",
        "hits layer_id int32_t[]",
        "truth_links particle_id",
    ):
        assert wanted in out
    assert "bad event:" in out
    assert "1 of 3 hits have a non-finite x" in out


def test_only_bad_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = [hits_of(i, n=2) | {"hit_id": np.array([1, 1], np.uint64)} for i in range(2)]
    path = write_events(tmp_path / "e.root", {"hits": hits}, [0, 1])
    assert main(["inspect", path, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts["bad_events"]) == 2
    assert facts["jobs"] == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.root", None, "does not exist"),
        ("e.root", b"", "is empty"),
        ("e.root", b"not a ROOT file\n", "is not a ROOT file"),
        ("e.csv", b"a,b\n1,2\n", "the format is not recognised"),
    ],
)
def test_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["inspect", str(tmp_path / name)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert name in captured.err
    assert "Traceback" not in captured.err
    assert main(["inspect", str(tmp_path / name), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_unknown_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", write(tmp_path), "--format", "acts"]) == 2
    assert "there is no reader 'acts'. Did you mean 'acts-csv'" in capsys.readouterr().err
