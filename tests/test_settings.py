"""Settings: YAML that is no setting is refused before it costs memory; former names are accepted with a notice."""

import logging

import pytest

from mltrack_plugin import settings
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.repair.settings import RepairSettings
from mltrack_plugin.settings import MAX_YAML_DEPTH, load_yaml, validated


def test_aliases_are_plain_sharing():
    content = load_yaml("a: &table {7: 1.0}\nb: *table", "job.yaml")
    assert content == {"a": {7: 1.0}, "b": {7: 1.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30))]),
            "values",
        ),
        ("a: &a [*a]", "deeper"),
        ("[" * (MAX_YAML_DEPTH + 1) + "]" * (MAX_YAML_DEPTH + 1), "deeper"),
        ("[" * 5000, "no valid YAML|deeper"),
        ("\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 100))]), "deeper"),
        ("day: 2026-99-99", "no valid YAML"),
    ],
    ids=["aliases of aliases", "itself", "nested", "open", "chain", "no date"],
)
def test_what_is_too_much_is_refused(text, message):
    with pytest.raises(ConfigurationError, match=f"^job.yaml: .*({message})"):
        load_yaml(text, "job.yaml")


def test_a_former_name_of_a_setting_is_accepted_and_said_once(caplog):
    settings._notice.cache_clear()
    with caplog.at_level(logging.WARNING):
        made = [validated(RepairSettings, {"loyalty": value}, "repair-tracks") for value in (1.5, 2.5)]
    assert [one.own_group_chi2 for one in made] == [1.5, 2.5]
    assert caplog.messages == ["setting loyalty is now called own_group_chi2"]


def test_a_setting_is_not_given_twice_under_both_names():
    with pytest.raises(ConfigurationError, match="loyalty is the former name of own_group_chi2"):
        validated(RepairSettings, {"loyalty": 1.0, "own_group_chi2": 2.0}, "repair-tracks")


def test_a_former_name_does_not_let_unknown_settings_pass():
    with pytest.raises(ConfigurationError, match="'loyality'"):
        validated(RepairSettings, {"loyality": 1.0}, "repair-tracks")
