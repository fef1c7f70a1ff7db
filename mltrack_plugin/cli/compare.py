"""``mltrack compare``: two collections of tracks of the same events side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command

if TYPE_CHECKING:
    from mltrack_plugin.evaluation.comparison.accumulator import Comparison
    from mltrack_plugin.evaluation.comparison.truth import Cuts
    from mltrack_plugin.framework.algorithm import Reader
    from mltrack_plugin.io.track_collection import TrackCollection

#: Files in the output folder.
PAGE, RESULTS = "index.html", "comparison.json"
#: Output folder where none is named.
DEFAULT_OUTPUT = "comparison"


@click.command(cls=Command)
@click.option("--tracks", required=True, metavar="PATH", help="Tracks: any format that this package reads.")
@click.option("--reference", required=True, metavar="PATH", help="Other tracks of the same events.")
@click.option("--truth", metavar="PATH", help="The events with truth. Without: the overlap only.")
@click.option(
    "--label", "labels", multiple=True, metavar="NAME", help="Name of the tracks; again for the reference."
)
@click.option(
    "--output",
    metavar="DIR",
    help=f"Folder for the page and its numbers. Default: {DEFAULT_OUTPUT}, and none with --json.",
)
@click.option("--overwrite", is_flag=True, help="Replace the folder of an earlier comparison.")
@click.option("--json", "as_json", is_flag=True, help="Print all results as JSON instead of the table.")
@click.option(
    "--min-pt",
    type=click.FloatRange(0),
    default=0.0,
    metavar="GEV",
    help="Select particles above this pT.",
)
@click.option(
    "--max-eta",
    type=click.FloatRange(0, min_open=True),
    metavar="ETA",
    help="Select particles below this |eta|.",
)
@click.option(
    "--min-hits",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    metavar="N",
    help="Fewest hits that a particle must have left to count, and that a track must have to be matched.",
)
@click.option(
    "--field",
    "field_z",
    type=float,
    metavar="T",
    help="Solenoid field in which true particles are followed to the beam line. Default: that of the detector.",
)
@click.option("--events", type=click.IntRange(1), metavar="N", help="Compare N events at most.")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave out the first N events.")
@click.option("--format", "format_", metavar="FORMAT", help="Format of the truth. Default: by the content.")
@click.option(
    "--config", metavar="NAME|FILE", help="Job configuration whose reader settings the truth needs."
)
def command(
    tracks: str,
    reference: str,
    truth: str | None,
    labels: tuple[str, ...],
    output: str | None,
    overwrite: bool,
    as_json: bool,
    min_pt: float,
    max_eta: float | None,
    min_hits: int,
    field_z: float | None,
    events: int | None,
    skip: int,
    format_: str | None,
    config: str | None,
) -> None:
    """Compare two collections of tracks, e.g. ours and those of the CKF.

    Both must come from the same hits. The reference may come from elsewhere: ACTS tracks CSV, ColliderML
    parquet, ACTS tracksummary. Definitions and pitfalls are in docs/comparing.md.

        mltrack compare --tracks ours.root --reference ckf.root --truth events.root --label ours --label CKF
    """
    from mltrack_plugin.cli.job_display import job_log, progress
    from mltrack_plugin.errors import ConfigurationError
    from mltrack_plugin.evaluation.comparison.truth import Cuts
    from mltrack_plugin.io.track_collection import TrackCollection

    cuts = Cuts(min_hits, min_pt, max_eta)
    if truth is None and (cuts.need_momenta or config is not None or format_ is not None):
        raise ConfigurationError("--min-pt, --max-eta, --format and --config need the truth: give --truth")
    target = output if output is not None or as_json else DEFAULT_OUTPUT
    folder = _folder(target, overwrite, [p for p in (tracks, reference, truth) if p is not None])
    try:
        names = _labels(labels, tracks, reference)
        pair = (TrackCollection(tracks, names[0]), TrackCollection(reference, names[1]))
        with job_log() as console, progress(console) as show:
            comparison, left_out = compare_files(
                pair, truth, cuts, field_z, events, skip, format_, config, show
            )
        result = {**comparison.result(), "files": [tracks, reference], "truth": truth, "left_out": left_out}
        text = json.dumps(result, indent=1)
        if folder is not None:
            from mltrack_plugin.evaluation.comparison.page import page
            from mltrack_plugin.evaluation.comparison.plots import pictures

            folder.write(PAGE, page(result, pictures(result, comparison.disagreement)))
            folder.write(RESULTS, text.encode())
            folder.commit()
    finally:
        if folder is not None:
            folder.abort()
    if as_json:
        click.echo(text)
        return
    _show(result)
    click.echo(f"wrote {Path(str(target)) / PAGE} and {RESULTS} beside it")


def compare_files(
    pair: tuple[TrackCollection, TrackCollection],
    truth: str | None,
    cuts: Cuts,
    field_z: float | None,
    events: int | None,
    skip: int,
    format: str | None,
    config: str | None,
    show: Any,
) -> tuple[Comparison, dict[str, int]]:
    """Stream the events that two collections have in common.

    Args:
        pair: the collections.
        truth: the events with truth, if there are any.
        cuts: which particles count.
        field_z: solenoid field in T; ``None`` = that of the detector that the events are from.
        events: compare so many at most.
        skip: leave out the first so many.
        format: of the truth; found from the content if ``None``.
        config: job configuration whose reader settings the truth needs.
        show: called with the events done and the events in total.

    Returns:
        The comparison, and by label the events that only one collection has.

    Raises:
        InputError: if the files do not belong together, or there is nothing to compare.
        EventError: if an event of the truth cannot be read.
    """
    from mltrack_plugin.cli.evaluate import open_reader, require_truth
    from mltrack_plugin.cli.paired_events import checked_event, event_range
    from mltrack_plugin.detectors import has_momenta
    from mltrack_plugin.errors import ConfigurationError, InputError
    from mltrack_plugin.evaluation.collect import truth_keys
    from mltrack_plugin.evaluation.comparison.accumulator import Comparison
    from mltrack_plugin.evaluation.comparison.stream import EventStream
    from mltrack_plugin.evaluation.comparison.timing import times_beside

    labels = (pair[0].label, pair[1].label)
    times = (times_beside(pair[0].path), times_beside(pair[1].path))
    if truth is None:
        without = next((c for c in pair if not c.has_hits), None)
        if without is not None:
            raise InputError(
                f"{without.path} is a tracksummary file, which does not say which hits are on a track; it can "
                "be compared particle by particle: give --truth"
            )
        comparison = Comparison(labels, cuts, field_z, times=times)
        stream = EventStream(*pair, skip=skip, events=events)
        for done, event in enumerate(stream, start=1):
            comparison.add(event)
            show(done, len(stream.common))
        return comparison, stream.left_out
    reader = open_reader(truth, format, config)
    reader.initialize()
    try:
        require_truth(reader)
        momenta = has_momenta(getattr(reader, "detector", None))
        if cuts.need_momenta and not (momenta and "particles" in truth_keys(reader)):
            raise ConfigurationError(
                f"--min-pt and --max-eta need the momenta of the particles, which {truth} does not have"
            )
        start, stop = event_range(reader, events, skip)
        if field_z is None:
            field_z = _field_of(reader)
        comparison = Comparison(labels, cuts, field_z, momenta, times)
        truth_events = (checked_event(event, truth) for event in reader.events(start, stop))
        whole = (start, stop) == (0, reader.num_events())
        stream = EventStream(
            *pair, truth=truth_events, source=truth, whole=whole, hit_kind=getattr(reader, "hit_kind", None)
        )
        for done, event in enumerate(stream, start=1):
            comparison.add(event)
            show(done, stop - start)
    finally:
        reader.finalize()
    return comparison, stream.left_out


def _field_of(reader: Reader) -> float:
    """Field along z at the centre of the detector that an initialized reader's events are from, T."""
    from mltrack_plugin.detectors import lookup
    from mltrack_plugin.errors import ConfigurationError
    from mltrack_plugin.jobs.choice import look_at

    stated = getattr(reader, "detector", None)
    try:
        detector = (stated and lookup(stated)) or look_at(reader).detector
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; or give the field with --field") from error
    return float(detector.field_at([[0.0, 0.0, 0.0]])[0, 2])


def _labels(given: tuple[str, ...], tracks: str, reference: str) -> tuple[str, str]:
    """Names of the two collections.

    Raises:
        ConfigurationError: if there are more than two, or they are equal.
    """
    from mltrack_plugin.errors import ConfigurationError

    if len(given) > 2:
        raise ConfigurationError(f"there are two collections to name, got {len(given)} times --label")
    names = [*given, *("tracks" if k == 0 else "reference" for k in range(len(given), 2))]
    if not given and Path(tracks).stem != Path(reference).stem:
        names = [Path(tracks).stem, Path(reference).stem]
    if names[0] == names[1]:
        raise ConfigurationError(f"both collections are called {names[0]!r}; give them different --label")
    return names[0], names[1]


def _folder(target: str | None, overwrite: bool, inputs: list[str]) -> Any:
    """The output folder, opened before any work is done; ``None`` if there is none."""
    if target is None:
        return None
    from mltrack_plugin.atomic import AtomicFolder, check_apart
    from mltrack_plugin.errors import require_extra

    require_extra("matplotlib", "plot", "the page of mltrack compare (not needed with --json)")
    check_apart([target], inputs)
    return AtomicFolder(target, overwrite=overwrite, marker=RESULTS)


def _show(result: dict[str, Any]) -> None:
    """Print notes, the table and warnings to standard output."""
    import shutil

    from mltrack_plugin.evaluation.comparison.report import notes, warnings
    from mltrack_plugin.evaluation.comparison.table import table

    for line in notes(result):
        click.echo(line)
    click.echo()
    for text, heading in table(result, shutil.get_terminal_size().columns):
        click.echo(click.style(text, bold=True) if heading else text)
    click.echo()
    # Last, where the eye ends up after a long table.
    for line in warnings(result):
        click.echo(click.style(line, fg="red", bold=True))
