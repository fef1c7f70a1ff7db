"""Events of an input together with their tracks from a file, checked to belong together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mltrack_plugin.errors import ConfigurationError, EventError, InputError

if TYPE_CHECKING:
    from mltrack_plugin.event_data import Tracks
    from mltrack_plugin.framework.algorithm import Reader, ReadEvent


class PairedEvent(NamedTuple):
    """One event of the input."""

    event: ReadEvent
    #: ``None`` where the tracks file has no such event, or the event could not be read.
    tracks: Tracks | None


def event_range(reader: Reader, events: int | None, skip: int) -> tuple[int, int]:
    """Indices ``start, stop`` of the events to read (the reader is initialized).

    Raises:
        InputError: if the input has no events.
        ConfigurationError: if all of them are skipped.
    """
    total = reader.num_events()
    if not total:
        raise InputError(f"{reader.source} contains no events")
    if skip >= total:
        raise ConfigurationError(f"cannot skip {skip} events: {reader.source} contains {total}")
    return skip, total if events is None else min(total, skip + events)


def paired_events(
    reader: Reader, tracks_path: str, events: int | None = None, skip: int = 0
) -> Iterator[PairedEvent]:
    """Stream events ``skip`` ... of an initialized reader with their tracks, found by event number.

    The tracks may be those of a part of the events. Memory stays flat: both files are in the same order.

    Raises:
        InputError: if the tracks belong to other events: no common event number, an event number that the
            input does not have, another order, another number of hits, other hit ids.
    """
    from mltrack_plugin.evaluation.comparison.stream import some
    from mltrack_plugin.event_data import Hits
    from mltrack_plugin.event_data.file_tracks import HitMatching
    from mltrack_plugin.io.track_rows import with_rows
    from mltrack_plugin.io.tracks_files import read_event_numbers, read_tracks_with_identities

    start, stop = event_range(reader, events, skip)
    numbers = read_event_numbers(tracks_path)
    known = set(numbers)
    where = f"{tracks_path} does not belong to {reader.source}"
    tracks = read_tracks_with_identities(tracks_path)
    matching = HitMatching(getattr(reader, "hit_kind", None))
    seen: set[int] = set()
    input_numbers: list[int] = []
    for event in reader.events(start, stop):
        input_numbers.append(event.event_number)
        if event.event_number not in known or event.error is not None:
            yield PairedEvent(event, None)
            continue
        paired = next((found for found in tracks if found[0] == event.event_number), None)
        if paired is None:
            raise InputError(f"{where}: the events are in another order (event {event.event_number})")
        _, found, identity = paired
        seen.add(event.event_number)
        hits = next(c for c in event.collections.values() if isinstance(c, Hits))
        place = f"{where}: event {event.event_number}"
        rows = matching.rows(hits, found.hit_indices, identity, place)
        left_out = matching.unassigned(identity, len(hits), place)
        yield PairedEvent(event, with_rows(found, rows, left_out, place))
    unread = set(input_numbers) & known - seen
    if not seen and not unread:
        raise InputError(
            f"{where}: they have no event number in common (input: {some(input_numbers)}; "
            f"tracks: {some(numbers)})"
        )
    if (start, stop) == (0, reader.num_events()) and (strangers := known - set(input_numbers)):
        raise InputError(
            f"{where}: {len(strangers)} events with tracks are not in the input ({some(sorted(strangers))})"
        )


def checked_event(event: ReadEvent, source: str) -> ReadEvent:
    """The event, or an error that names it if it could not be read.

    Raises:
        EventError: if the reader gave an error instead of collections.
    """
    if event.error is None:
        return event
    text = str(event.error)
    if isinstance(event.error, EventError):
        raise event.error
    raise EventError(f"{source}: event {event.event_number}: {text}") from event.error
