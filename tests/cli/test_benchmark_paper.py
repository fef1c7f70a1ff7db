"""mltrack benchmark paper: three tables, what is missing, short or failed, JSON."""

import json

import pytest
from click.testing import CliRunner

from mltrack_plugin.cli.main import cli
from mltrack_plugin.errors import EventError
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.published.trackformers import designs, measure
from mltrack_plugin.published.trackformers.designs import OWN
from mltrack_plugin.published.trackformers.measure import METRICS, Figure, Measurement
from mltrack_plugin.published.trackformers.published import DATASETS

JOB = load_job("encreg-redvid-10-50-linear")


@pytest.fixture
def asked(monkeypatch):
    """Three shipped designs; instead of reconstructing, figures that say what each was asked for."""
    found = []
    jobs = {
        ("redvid-10-50-linear", "EncReg"): JOB.model_copy(update={"name": "encreg-a"}),
        ("redvid-10-50-linear", OWN): JOB.model_copy(update={"name": "encemb-a"}),
        ("trackml-200-500", "EncReg-FA"): JOB.model_copy(update={"name": "broken"}),
    }

    def measured(job, dataset, events, seed, device, advance):
        found.append((job.name, dataset.name, events, seed, device))
        if job.name == "broken":
            raise EventError("the network gave up")
        score = 0.9649 if job.name == "encreg-a" else 0.999
        return Measurement(
            job.name,
            events,
            dict.fromkeys(METRICS, Figure(score, 0.002)),
            Figure(7.25, 0.04),
            Figure(4.0, 0.03),
        )

    monkeypatch.setattr(designs, "shipped_designs", lambda: jobs)
    monkeypatch.setattr(measure, "measure", measured)
    return found


def run(*arguments):
    result = CliRunner().invoke(cli, ["benchmark", "paper", *arguments], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result


def test_tables_fit_a_terminal_and_say_what_is_missing_short_or_failed(asked):
    lines = run().stdout.splitlines()
    assert max(map(len, lines)) <= 80
    titles = [line.split(":")[0] for line in lines if line.startswith("Table ")]
    assert titles == ["Table 1", "Table 2", "Table 3"]
    first = [line.split() for line in lines]
    # 96.49 is 96 where the published 97 has no decimals either.
    assert ["EncReg", "97", "96.5", "±", "0.2", "short"] in first
    assert ["redvid-10-50-linear", "99.9", "±", "0.2"] in first
    assert ["EncDec", "93", "missing"] in first
    assert ["EncReg-FA", "67", "failed"] in first
    assert ["EncReg", "perfect", "match", "94", "96.5", "±", "0.2", "99.9", "±", "0.2"] in first
    assert ["EncCla", "CPU", "side", "0.1", "missing", "4.00", "±", "0.03"] in first
    assert ["EncReg", "CPU", "side", "8.3", "4.00", "±", "0.03"] in first
    assert ["GPU", "side", "2.4", "7.25", "±", "0.04"] in first
    text = " ".join(" ".join(lines).split())
    assert "Failed: trackml-200-500 EncReg-FA: broken: the network gave up" in text
    assert "Jobs: encemb-a, encreg-a." in text
    assert "torch" in text


def test_default_events_and_options(asked):
    run()
    assert {(dataset, events, seed) for _, dataset, events, seed, _ in asked} == {
        ("redvid-10-50-linear", 500, 2026),
        ("trackml-200-500", 50, 2026),
    }
    asked.clear()
    run("--events", "7", "--seed", "3", "--datasets", "redvid-10-50-linear", "--designs", "U-Net")
    # Our own model stands beside every published design.
    assert asked == [("encemb-a", "redvid-10-50-linear", 7, 3, "cpu")]


def test_json_holds_every_row_with_machine_and_protocol(asked):
    content = json.loads(run("--json", "--events", "5").stdout)
    assert content["events"] == dict.fromkeys(DATASETS, 5)
    assert (content["split"], content["seed"]) == ("test", 2026)
    assert "thread" in content["machine"]
    rows = {(r["table"], r["dataset"], r["design"], r["quantity"]): r for r in content["rows"]}
    assert len(rows) == len(content["rows"]) == 18 + 6 * 3 + 11 * 2
    row = rows[1, "redvid-10-50-linear", "EncReg", "TrackML score"]
    assert (row["published"], row["status"], row["job"]) == (97, "short", "encreg-a")
    assert row["here"] == pytest.approx(96.49)
    assert row["own"] == pytest.approx(99.9)
    assert rows[1, "redvid-10-50-helical", "EncReg", "TrackML score"]["status"] == "missing"
    assert rows[2, "redvid-10-50-linear", "EncReg", "perfect match"]["status"] == "reached"


def test_progress_is_said_where_nothing_is_drawn(asked):
    assert "1 of 3: redvid-10-50-linear, EncReg (encreg-a)" in run().stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["paper", "--datasets", "redvid"], "'redvid' is not one of"),
        (["paper", "--designs", "GNN"], "'GNN' is not one of"),
        (["paper", "--events", "1"], "1 is not in the range"),
        (["papers"], "No such command 'papers'"),
    ],
)
def test_wrong_options_name_the_right_ones(arguments, message):
    result = CliRunner().invoke(cli, ["benchmark", *arguments])
    assert result.exit_code == 2
    assert message in result.output
