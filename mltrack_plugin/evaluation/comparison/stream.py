"""The events that two collections have in common, with their truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.event_data.file_tracks import (
    FileTracks,
    HitMatching,
    check_against_each_other,
    with_common_rows,
    with_rows,
)

if TYPE_CHECKING:
    from mltrack_plugin.framework.algorithm import ReadEvent

#: Event numbers that a message names.
_NUMBERS_SHOWN = 5


class ComparedEvent(NamedTuple):
    """An event that both collections have; without truth the last three are ``None``."""

    number: int
    tracks: tuple[FileTracks, FileTracks]
    hits: Hits | None
    truth_links: TruthLinks | None
    particles: Particles | None


class TrackCollection(Protocol):
    """A file or folder of tracks, as :class:`mltrack_plugin.io.track_collection.TrackCollection` reads it."""

    path: str
    label: str
    numbers: list[int]

    def take(self, number: int) -> FileTracks:
        """The tracks of the next event with this number."""


class EventStream:
    """Streams the events that both collections have; every file is read once, in order.

    Args:
        first: a collection.
        second: the other one.
        truth: the events with truth, free of errors, in the order of the collections.
        source: the truth's file, for messages.
        whole: whether ``truth`` is all of that file.
        skip: without truth, leave out the first so many common events.
        events: without truth, so many at most.
        hit_kind: what the hits of the truth are (see ``Reader.hit_kind``).

    Raises:
        InputError: if the collections have no event number in common.
        ConfigurationError: if all of them are skipped.
    """

    def __init__(
        self,
        first: TrackCollection,
        second: TrackCollection,
        truth: Iterable[ReadEvent] | None = None,
        source: str = "",
        whole: bool = True,
        skip: int = 0,
        events: int | None = None,
        hit_kind: str | None = None,
    ) -> None:
        self._collections = (first, second)
        self._matchings = (HitMatching(hit_kind), HitMatching(hit_kind))
        self._truth, self._source, self._whole = truth, source, whole
        common = set(first.numbers) & set(second.numbers)
        #: Events that both collections have, in the order of the first.
        self.common = [number for number in first.numbers if number in common]
        if not common:
            raise InputError(
                f"{second.path} does not belong to {first.path}: they have no event number in common "
                f"({first.path}: {some(first.numbers)}; {second.path}: {some(second.numbers)})"
            )
        if truth is None:
            if skip >= len(self.common):
                raise ConfigurationError(
                    f"cannot skip {skip} events: the collections have {len(self.common)} in common"
                )
            self.common = self.common[skip:][:events]
        #: Events that only one collection has, by label; they are not compared.
        self.left_out = {c.label: len(c.numbers) - len(common) for c in self._collections}

    def __iter__(self) -> Iterator[ComparedEvent]:
        if self._truth is None:
            for number in self.common:
                yield ComparedEvent(number, self._tracks(number), None, None, None)
            return
        known, seen = set(self.common), []
        numbers = []
        for event in self._truth:
            numbers.append(event.event_number)
            if event.event_number in known:
                seen.append(event.event_number)
                yield self._with_truth(event)
        if not seen:
            raise InputError(
                f"{self._collections[0].path} does not belong to {self._source}: they have no event number "
                f"in common (truth: {some(numbers)}; tracks: {some(self.common)})"
            )
        if self._whole and (strangers := known - set(seen)):
            raise InputError(
                f"{self._collections[0].path} does not belong to {self._source}: {len(strangers)} events "
                f"with tracks are not in the truth ({some(sorted(strangers))})"
            )

    def _tracks(self, number: int) -> tuple[FileTracks, FileTracks]:
        first, second = (collection.take(number) for collection in self._collections)
        paths = [collection.path for collection in self._collections]
        place = f"{paths[1]} does not belong to {paths[0]}: event {number}"
        first, second = with_common_rows(first, second, self._matchings, place)
        check_against_each_other(first, second, place)
        return first, second

    def _with_truth(self, event: ReadEvent) -> ComparedEvent:
        number = event.event_number
        found = event.collections.values()
        hits = next(c for c in found if isinstance(c, Hits))
        links = next(c for c in found if isinstance(c, TruthLinks))
        particles = next((c for c in found if isinstance(c, Particles)), None)
        tracks = (self._collections[0].take(number), self._collections[1].take(number))
        matched: list[FileTracks] = []
        for collection, mine, matching in zip(self._collections, tracks, self._matchings, strict=True):
            place = f"{collection.path} does not belong to {self._source}: event {number}"
            if mine.hit_indices is not None:
                rows = matching.rows(hits, mine.hit_indices, mine.identity, place)
                mine = with_rows(mine, rows, matching.unassigned(mine.identity, len(hits), place))
            matched.append(mine)
        return ComparedEvent(number, (matched[0], matched[1]), hits, links, particles)


def some(numbers: list[int]) -> str:
    """The first few numbers, for a message."""
    shown = ", ".join(map(str, numbers[:_NUMBERS_SHOWN]))
    return shown + (", ..." if len(numbers) > _NUMBERS_SHOWN else "") if numbers else "none"
