"""Static checks of a sequence: every input is written before it is read, and nothing is written twice.

Peer: the data-flow check of the Sequencer of the ACTS examples framework.
"""

from __future__ import annotations

from collections.abc import Sequence

from mltrack_plugin.detectors import names_of, same_detector
from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, SequenceElement, Writer


def check_chain(elements: Sequence[SequenceElement]) -> None:
    """Refuse a sequence whose data flow is broken.

    Args:
        elements: reader, algorithms and writers in the order in which they run.

    Raises:
        ConfigurationError: listing every broken link, with the nearest existing key.
    """
    written: dict[str, tuple[type, str]] = {}
    problems = []
    for position, element in enumerate(elements):
        for needed in element.inputs:
            if needed.key in written:
                kind, writer = written[needed.key]
                if not issubclass(kind, needed.kind):
                    problems.append(
                        f"{element.name} needs {needed.key!r} as {needed.kind.__name__}, "
                        f"but {writer} writes it as {kind.__name__}"
                    )
            elif not needed.optional:
                problems.append(
                    f"{element.name} needs {needed.key!r}, which nothing before it writes. "
                    + (_written_later(needed.key, elements[position:]) or did_you_mean(needed.key, written))
                )
        for made in element.outputs:
            if made.key in written:
                problems.append(
                    f"{element.name} writes {made.key!r}, which {written[made.key][1]} writes already; "
                    "collections are never replaced, write to a new key"
                )
            else:
                written[made.key] = (made.kind, element.name)
    if problems:
        raise ConfigurationError("the sequence cannot run:\n  " + "\n  ".join(problems))


def dropped_outputs(algorithms: Sequence[Algorithm], writers: Sequence[Writer]) -> str:
    """A notice if no writer takes anything that the algorithms make; empty if one does."""
    made = {handle.key: (handle.kind, a.name) for a in algorithms for handle in a.outputs}
    if not made or any(handle.key in made for writer in writers for handle in writer.inputs):
        return ""
    read = {handle.key for algorithm in algorithms for handle in algorithm.inputs}
    ends = {key: value for key, value in made.items() if key not in read}
    tracks = {key: value for key, value in ends.items() if issubclass(value[0], ProtoTracks)}
    named = ", ".join(
        f"{key!r} ({kind.__name__}, by {name})" for key, (kind, name) in (tracks or ends).items()
    )
    return (
        f"no writer takes what the sequence makes, so {named} will be computed and dropped. To keep tracks: "
        'add_writer(RootTracksWriter(path="tracks.root")) of mltrack_plugin.io, or add_writer(TracksCollector()) for '
        "its .tracks in memory"
    )


def for_detector(algorithm: Algorithm, detector: str | None) -> Algorithm:
    """The algorithm for events of a detector: its setting ``detector``, if it has one that is not set, is filled in.

    So a model is checked against the input before the first event, in the job and in every worker process.

    Args:
        algorithm: any algorithm; one without such a setting is returned as it is.
        detector: what the input states; ``None`` = nothing.

    Raises:
        ConfigurationError: if the setting names another detector.
    """
    if detector is None or "detector" not in type(algorithm.config).model_fields:
        return algorithm
    given = algorithm.config.detector
    if given is None:
        return type(algorithm)(algorithm.config.model_copy(update={"detector": detector}))
    if not same_detector(given, detector):
        raise ConfigurationError(
            f"{algorithm.name} is set up for the detector {names_of(given)[0]}, but the events are of {detector}. "
            f"Choose a job for {detector}; or, if the input states a wrong one, name the right one: --detector NAME, "
            "or in a job file reader: {detector: NAME}"
        )
    return algorithm


def data_flow(elements: Sequence[SequenceElement]) -> list[str]:
    """One line per element: its name, what it reads (``<-``) and what it writes (``->``)."""
    width = max((len(element.name) for element in elements), default=0)
    available: set[str] = set()
    lines = []
    for element in elements:
        inputs = [handle.key for handle in element.inputs if not handle.optional or handle.key in available]
        arrows = [f"<- {', '.join(inputs)}"] if inputs else []
        if outputs := [handle.key for handle in element.outputs]:
            arrows.append(f"-> {', '.join(outputs)}")
            available.update(outputs)
        lines.append(f"{element.name:<{width}}  {'  '.join(arrows)}".rstrip())
    return lines


def unique_names(elements: Sequence[SequenceElement]) -> list[str]:
    """Names for timing tables: the second ``HDBSCAN`` of a sequence becomes ``HDBSCAN #2``."""
    seen: dict[str, int] = {}
    names = []
    for element in elements:
        count = seen[element.name] = seen.get(element.name, 0) + 1
        names.append(element.name if count == 1 else f"{element.name} #{count}")
    return names


def _written_later(key: str, elements: Sequence[SequenceElement]) -> str:
    for element in elements:
        if any(handle.key == key for handle in element.outputs):
            return f"{element.name} writes it, but runs later: change the order."
    return ""
