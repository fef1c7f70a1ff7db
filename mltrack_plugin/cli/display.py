"""``mltrack display``: a picture of one event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mltrack_plugin.cli.command import Command

if TYPE_CHECKING:
    from mltrack_plugin.cli.paired_events import PairedEvent
    from mltrack_plugin.detectors import Detector
    from mltrack_plugin.event_data import Hits
    from mltrack_plugin.framework.algorithm import Reader


@click.command(cls=Command)
@click.option("--input", "input_", required=True, metavar="PATH", help="The events: file, folder or URL.")
@click.option("--tracks", required=True, metavar="PATH", help="Tracks of these events.")
@click.option("--event", type=int, metavar="N", help="Number of the event. Default: the first with tracks.")
@click.option("--output", metavar="FILE", help="Picture (.png, .pdf, .svg). Default: event<N>.png.")
@click.option("--format", "format_", metavar="FORMAT", help="Input format. Default: by the content.")
@click.option(
    "--config", metavar="NAME|FILE", help="Job configuration whose reader settings the input needs."
)
@click.option(
    "--min-pt",
    type=click.FloatRange(0),
    default=0.0,
    metavar="GEV",
    help="Leave out tracks below this fitted pT.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing picture.")
def command(
    input_: str,
    tracks: str,
    event: int | None,
    output: str | None,
    format_: str | None,
    config: str | None,
    min_pt: float,
    overwrite: bool,
) -> None:
    """Draw the hits and tracks of one event in the x-y and the r-z plane, on the layers of their detector.

    Tracks are coloured, hits on no track grey. If the input carries truth, noise is a lighter grey and hits on a
    wrong track are circled.

        mltrack display --input events.root --tracks events.tracks.root --event 3 --output event.png
    """
    from mltrack_plugin.atomic import check_file
    from mltrack_plugin.errors import require_extra

    require_extra("matplotlib", "plot", "mltrack display")
    if output is not None:
        check_file(Path(output), overwrite=overwrite)
    path = draw_from_files(input_, tracks, event, output, format_, config, overwrite, min_pt)
    click.echo(f"wrote {path}")


def draw_from_files(
    source: str,
    tracks_path: str,
    event_number: int | None = None,
    output: str | None = None,
    format: str | None = None,
    config: str | None = None,
    overwrite: bool = False,
    min_pt: float = 0.0,
) -> Path:
    """Draw one event of an input with its tracks from a file.

    Args:
        source: the events.
        tracks_path: their tracks.
        event_number: number of the event in the input; the first event with tracks if ``None``.
        output: the picture; ``event<number>.png`` if ``None``.
        format: format of the input; found from the content if ``None``.
        config: job configuration whose reader settings the input needs.
        overwrite: replace an existing picture.
        min_pt: smallest fitted transverse momentum of the tracks drawn, GeV.

    Returns:
        The picture.

    Raises:
        InputError: if an input cannot be read, the files do not belong together, or there is no such event.
        ConfigurationError: if there is a cut on pT and the tracks have no fit.
        OutputError: if the picture exists or cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    from mltrack_plugin.atomic import check_file
    from mltrack_plugin.cli.evaluate import open_reader
    from mltrack_plugin.evaluation.event_display import draw_event
    from mltrack_plugin.event_data import Hits, TruthLinks

    reader = open_reader(source, format, config)
    reader.initialize()
    try:
        event, tracks = _find(reader, tracks_path, event_number)
    finally:
        reader.finalize()
    assert tracks is not None
    picture = Path(output) if output is not None else Path(f"event{event.event_number}.png")
    check_file(picture, overwrite=overwrite)
    found = event.collections.values()
    hits = next(c for c in found if isinstance(c, Hits))
    truth = next((c for c in found if isinstance(c, TruthLinks)), None)
    title = f"event {event.event_number}"
    detector = _detector_of(reader, hits)
    return draw_event(hits, tracks, picture, truth=truth, title=title, detector=detector, min_pt=min_pt)


def _detector_of(reader: Reader, hits: Hits) -> Detector | None:
    """The detector that the hits lie on; ``None``, with a line that says so, where it is not certain."""
    from mltrack_plugin.detectors import recognise
    from mltrack_plugin.errors import ConfigurationError

    try:
        return recognise([hits], getattr(reader, "detector", None), reader.source).detector
    except ConfigurationError as error:
        click.echo(f"no layers are drawn: {error}", err=True)
        return None


def _find(reader: Reader, tracks_path: str, event_number: int | None) -> PairedEvent:
    from mltrack_plugin.cli.paired_events import checked_event, paired_events
    from mltrack_plugin.errors import InputError

    for pair in paired_events(reader, tracks_path):
        if event_number is None and pair.tracks is not None:
            return pair
        if pair.event.event_number == event_number:
            checked_event(pair.event, reader.source)
            if pair.tracks is None:
                raise InputError(f"{tracks_path} holds no event {event_number}")
            return pair
    raise InputError(f"{reader.source} holds no event {event_number}")
