"""Configurations are validated and frozen; handles carry key and type."""

from __future__ import annotations

import pytest
from fake_sequence import Halves
from pydantic import Field, ValidationError

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode, ReadHandle, WriteHandle
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config, validated


class Settings(Config):
    min_hits: int = Field(default=3, ge=1)
    name: str = "x"


def test_settings_by_name_mapping_or_config_are_the_same():
    by_name, by_mapping = Halves(wait_s=0.5), Halves({"wait_s": 0.5})
    by_config = Halves(Halves.Config(wait_s=0.5))
    assert by_name.config == by_mapping.config == by_config.config


def test_config_and_settings_together_are_refused():
    with pytest.raises(ConfigurationError, match="give a config or settings, not both"):
        Halves({"wait_s": 1.0}, kill_at=3)


def test_config_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Halves().config.wait_s = 1.0


def test_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"Halves: no setting 'wait'. Did you mean 'wait_s'"):
        Halves(wait=1.0)


def test_every_wrong_setting_is_reported_with_its_value():
    with pytest.raises(ConfigurationError) as error:
        validated(Settings, {"min_hits": 0, "name": 5}, "job")
    assert "min_hits: Input should be greater than or equal to 1 (got 0)" in str(error.value)
    assert "name: Input should be a valid string (got 5)" in str(error.value)


def test_handles_declare_and_check():
    algorithm = Halves(hits="my_hits", output="my_tracks")
    assert [(h.key, h.kind.__name__, h.optional) for h in algorithm.inputs] == [("my_hits", "Hits", False)]
    assert [(h.key, h.kind.__name__) for h in algorithm.outputs] == [("my_tracks", "Tracks")]


def test_read_handle_checks_the_type_and_can_be_optional():
    store = EventStore()
    store.add("n", 3)
    assert ReadHandle("n", int)(store) == 3
    assert ReadHandle("m", int, optional=True).get(store) is None
    with pytest.raises(ConfigurationError, match="'n' is a int, not a str"):
        ReadHandle("n", str)(store)


def test_write_handle_refuses_another_type_than_declared():
    store = EventStore()
    with pytest.raises(ConfigurationError, match="output 'n' was declared as int, got str"):
        WriteHandle("n", int)(store, "3")
    assert "n" not in store
    WriteHandle("n", int)(store, 3)
    assert store.get("n", int) == 3


def test_an_algorithm_must_execute():
    class Nothing(Algorithm):
        pass

    with pytest.raises(TypeError, match="execute"):
        Nothing()


def test_process_codes_are_distinct():
    assert len({code.value for code in ProcessCode}) == 3
