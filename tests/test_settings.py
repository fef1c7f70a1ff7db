"""Settings as YAML: what is no setting at all is refused before it costs memory."""

import pytest

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.settings import MAX_YAML_DEPTH, load_yaml


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
