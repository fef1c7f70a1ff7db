"""The event store is append-only and typed."""

from __future__ import annotations

import pytest

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.framework.event_store import EventStore


@pytest.fixture
def store() -> EventStore:
    store = EventStore(7, "events.root")
    store.add("hits", [1, 2])
    store.add("proto_tracks", {"a": 1})
    return store


def test_what_is_stored_comes_back(store):
    assert store.get("hits", list) == [1, 2]
    assert "hits" in store
    assert "tracks" not in store
    assert list(store) == ["hits", "proto_tracks"]
    assert len(store) == 2
    assert (store.event_number, store.source) == (7, "events.root")
    assert repr(store) == "EventStore(event 7: hits, proto_tracks)"
    assert repr(EventStore()) == "EventStore(event 0: empty)"


def test_nothing_is_replaced(store):
    with pytest.raises(ConfigurationError, match="event 7: 'hits' is already in the event store"):
        store.add("hits", [3])
    assert store.get("hits", list) == [1, 2]


def test_missing_key_names_the_nearest(store):
    with pytest.raises(ConfigurationError, match=r"no 'proto_track' .* Did you mean 'proto_tracks'\?"):
        store.get("proto_track", dict)
    with pytest.raises(ConfigurationError, match="There is: 'hits', 'proto_tracks'"):
        store.get("xyz", dict)
    with pytest.raises(ConfigurationError, match="There is none"):
        EventStore().get("hits", list)


def test_wrong_type_names_both(store):
    with pytest.raises(ConfigurationError, match="'hits' is a list, not a dict"):
        store.get("hits", dict)


def test_empty_key_is_refused(store):
    with pytest.raises(ConfigurationError, match="must not be empty"):
        store.add("", 1)
