"""Options that are wrong: refused before any work, with the nearest thing that is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_input import JOB, CommandLine
from model_fixtures import write_checkpoint

RUN: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("--events", "-1"), ("--events", "-1 is not in the range x>=1")),
    (("--events", "0"), ("--events", "0 is not in the range x>=1")),
    (("--events", "many"), ("--events", "'many' is not a valid integer")),
    (("--skip", "-1"), ("--skip", "-1 is not in the range x>=0")),
    (("--skip", "3"), ("cannot skip 3 events", "good.root", "contains 3")),
    (("--workers", "0"), ("--workers", "0 is not in the range x>=1")),
    (("--threads", "0"), ("--threads", "0 is not in the range x>=1")),
    (("--on-error", "skp"), ("--on-error", "'skp' is not one of", "'skip'")),
    (("--device", "gpu"), ("--device", "'gpu' is not one of", "'cuda'")),
    (("--format", "root-event"), ("no reader 'root-event'", "Did you mean 'root-events'")),
    (("--output-format", "root-track"), ("no writer 'root-track'", "Did you mean 'root-tracks'")),
    (
        ("--config", "encreg-redvid-10-50-liner"),
        ("Did you mean 'encreg-redvid-10-50-linear'", "mltrack configs"),
    ),
    (("--config", "nothing.yaml"), ("nothing.yaml", "no such job configuration file")),
    (("--evnts", "3"), ("--evnts", "Did you mean '--events'")),
    (("--events",), ("--events", "requires an argument")),
    (("extra.root",), ("unexpected extra argument",)),
]


@pytest.mark.parametrize(("options", "parts"), RUN, ids=[" ".join(options) for options, _ in RUN])
def test_run(mltrack: CommandLine, good: Path, options, parts) -> None:
    outcome = mltrack.run(good, *options)
    outcome.err = outcome.err.replace("unexpected extra", "extra") if "extra.root" in options else outcome.err
    mltrack.refused(outcome, 2, *(part.removeprefix("unexpected ") for part in parts))


@pytest.mark.parametrize(
    ("name", "code", "parts"),
    [
        ("encreg-redvid-10-50-liner", 1, ("Did you mean 'encreg-redvid-10-50-linear'", "mltrack models")),
        (".", 1, ("no shipped model '.'", "mltrack models")),
        ("", 1, ("mltrack models",)),
    ],
)
def test_unknown_model(mltrack: CommandLine, good: Path, name: str, code: int, parts) -> None:
    outcome = mltrack("run", "--input", good, "--config", JOB, "--output", mltrack.tracks, "--model", name)
    mltrack.refused(outcome, code, *parts)


JOBS = [
    ("sequence: [", "no valid YAML"),
    ("- a list", "a job configuration is a mapping"),
    ("name: nothing to do", "sequence"),
    ("sequence: []", "sequence"),
    (
        "sequence: [{algorithm: encrg}]",
        "step 1 (encrg): there is no algorithm 'encrg'. Did you mean 'encreg'",
    ),
    ("sequence: [{algorithm: hdbscan, min_clustersize: 3}]", "Did you mean 'min_cluster_size'"),
    ("sequence: [{algorithm: hdbscan, min_cluster_size: few}]", "min_cluster_size: Input should be"),
    ("sequence: [hdbscan]", "needs 'hit_parameters', which nothing before it writes"),
    ("sequence: [preprocess-hits]", "needs 'tracks', which nothing before it writes"),
    ("sequence: [preprocess-hits]\nreadr: {}", "no setting 'readr'. Did you mean 'reader'"),
    ("sequence: [preprocess-hits]\nreader: {lenght_unit: m}", "Did you mean 'length_unit'"),
    ("sequence: [preprocess-hits]\nreader: {length_unit: inch}", "length_unit"),
    ("sequence: [preprocess-hits]\nwriters: [root-trakcs]", "Did you mean 'root-tracks'"),
]


@pytest.mark.parametrize(("text", "part"), JOBS)
def test_job_file(mltrack: CommandLine, good: Path, tmp_path: Path, text: str, part: str) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(text)
    outcome = mltrack("run", "--input", good, "--config", job, "--output", mltrack.tracks)
    mltrack.refused(outcome, 2, part)


def test_job_file_that_is_no_text(mltrack: CommandLine, good: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_bytes(b"\xff\xfe\x00")
    mltrack.refused(
        mltrack("run", "--input", good, "--config", job, "--output", mltrack.tracks), 2, "job.yaml"
    )


OTHERS: list[tuple[tuple[str, ...], int, tuple[str, ...]]] = [
    (("evluate",), 2, ("no command 'evluate'", "Did you mean 'evaluate'")),
    (("run",), 2, ("Missing option '--input'",)),
    (("evaluate", "--input", "GOOD", "--min-hits", "0"), 2, ("--min-hits", "x>=1")),
    (("evaluate", "--input", "GOOD", "--tracks", "GOOD", "--model", "x"), 2, ("not both",)),
    (("simulate", "redvid-10-50-liner", "--events", "1", "--output", "OUT"), 2, ("redvid-10-50-linear",)),
    (("simulate", "redvid-10-50-linear", "--events", "-1", "--output", "OUT"), 2, ("--events", "x>=1")),
    (("simulate", "redvid-10-50-linear", "--events", "1", "--seed", "-1", "--output", "OUT"), 2, ("--seed",)),
    (
        ("simulate", "redvid-10-50-linear", "--events", "1", "--split", "tests", "--output", "OUT"),
        2,
        ("'test'",),
    ),
    (
        ("simulate", "redvid-10-50-linear", "--events", "1", "--tracks", "9-3", "--output", "OUT"),
        2,
        ("tracks",),
    ),
    (
        ("simulate", "redvid-10-50-linear", "--events", "1", "--noise", "-0.1", "--output", "OUT"),
        2,
        ("noise",),
    ),
    (
        ("simulate", "redvid-10-50-linear", "--events", "1", "--nose", "0.1", "--output", "OUT"),
        2,
        ("--noise",),
    ),
    (("simulate", "redvid-10-50-linear", "--output", "OUT"), 2, ("Missing option '--events'",)),
    (("inspect", "GOOD", "--events", "0"), 2, ("--events", "x>=1")),
    (("inspect", "GOOD", "--format", "root-event"), 2, ("Did you mean 'root-events'",)),
    (("export", "CHECKPOINT", "--output", "OUT"), 2, ("x.root", "must end in .pt")),
    (("export", "nothing.ckpt", "--output", "OUT.pt"), 1, ("nothing.ckpt", "no such file")),
    (("export", "GOOD", "--output", "OUT.pt"), 1, ("good.root",)),
    (
        ("train", "encreg-redvid-10-50-liner", "--output", "OUT"),
        2,
        ("Did you mean 'encreg-redvid-10-50-linear'",),
    ),
    (
        ("train", JOB, "--output", "OUT", "--set", "stpes=5"),
        2,
        ("no setting 'stpes'", "Did you mean 'steps'"),
    ),
    (("train", JOB, "--output", "OUT", "--set", "steps"), 2, ("expected NAME=VALUE",)),
    (("train", JOB, "--output", "OUT", "--set", "steps=-5"), 2, ("steps", "greater than or equal to 1")),
    (("train", JOB, "--output", "OUT", "--set", "steps=[5"), 2, ("--set steps=[5",)),
    (("train", JOB, "--output", "OUT", "--resume"), 2, ("nothing to resume",)),
    (
        ("display", "--input", "GOOD", "--tracks", "TRACKS", "--event", "5", "--output", "OUT.png"),
        1,
        ("event 5",),
    ),
    (("display", "--input", "GOOD", "--tracks", "TRACKS", "--output", "OUT"), 1, (".png",)),
    (("models", "encreg-redvid-10-50-liner"), 1, ("Did you mean 'encreg-redvid-10-50-linear'",)),
    (("configs", "encreg-redvid-10-50-liner"), 2, ("Did you mean 'encreg-redvid-10-50-linear'",)),
]


@pytest.mark.parametrize(("arguments", "code", "parts"), OTHERS, ids=[" ".join(a) for a, _, _ in OTHERS])
def test_other_commands(mltrack: CommandLine, good: Path, tmp_path: Path, arguments, code, parts) -> None:
    paths = {"GOOD": good, "OUT": mltrack.output / "x.root"}
    paths |= {"OUT.pt": mltrack.output / "x.pt", "OUT.png": mltrack.output / "x.png"}
    if "CHECKPOINT" in arguments:
        paths["CHECKPOINT"] = write_checkpoint(tmp_path / "best.ckpt")
    if "TRACKS" in arguments:
        paths["TRACKS"] = tmp_path / "tracks.root"
        assert mltrack.run(good, output=paths["TRACKS"]).code == 0
    mltrack.refused(mltrack(*(paths.get(argument, argument) for argument in arguments)), code, *parts)
