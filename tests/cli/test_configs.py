"""``mltrack configs``: jobs and trainings, as tables, YAML and JSON."""

from __future__ import annotations

import json

import pytest
import yaml

pytest.importorskip("lightning")

from mltrack_plugin.archives.manifest import available_models
from mltrack_plugin.cli.main import main
from mltrack_plugin.jobs.config import available_jobs
from mltrack_plugin.training.config import training_configs


@pytest.mark.parametrize(("options", "names"), [([], available_jobs()), (["--training"], training_configs())])
def test_tables_hold_every_configuration_and_fit_a_terminal(options, names, capsys):
    assert main(["configs", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in names:
        assert any(line.split(" ")[0] == name for line in lines)


def test_the_list_says_what_jobs_do_and_how_good_they_are(capsys):
    assert main(["configs"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "repair-tracks" in text
    assert "TrackML score 96.4%" in text
    assert main(["configs", "encreg-trackml-10-50", "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert job["figures"][0]["metrics"]["trackml_score"] == 0.964
    assert main(["configs", "encreg-trackml-10-50"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["figures"] == [
        {key: value for key, value in job["figures"][0].items() if value}
    ]


def test_one_training_configuration(capsys):
    assert main(["configs", "--training", "gnn-hits"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["architecture"] == "gnn-hits"
    assert main(["configs", "--training", "gnn-hits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["network"] == {"hidden": 64, "iterations": 7, "mirrors": True}
    assert main(["configs", "--training", "--json"]) == 0
    assert {c["name"] for c in json.loads(capsys.readouterr().out)} == set(training_configs())


def test_a_wrong_name_names_the_nearest(capsys):
    assert main(["configs", "--training", "gnn-hit"]) == 2
    assert "Did you mean 'gnn-hits'" in capsys.readouterr().err


def test_every_shipped_model_has_a_job_that_runs_it():
    jobs = set(available_jobs())
    assert {name: entry.job for name, entry in available_models().items() if entry.job not in jobs} == {}
