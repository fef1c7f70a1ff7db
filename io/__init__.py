"""Reading and writing events, one format a file.

    open_events(path)       the reader that fits the file, or the one named by ``format``
    detect_format(path)     name of the format, from the content

Readers: root_events (own ROOT layout, and others by branch mapping), acts_root, acts_csv, trackml_csv,
trackml_parquet, colliderml, redvid_csv, and those of other packages (entry points). What they share: reading
(settings, chunks), columns (checks and delivery), source (what an input looks like), root_file and root_tables
(trees), csv_table, storage (folders, archives, URLs).
Writers: root_events_writer, root_tracks, root_vertices, tracksummary, colliderml_tracks, acts_tracks_csv,
trackml_submission, tracks_collector (memory). Tracks of any of these: tracks_files, track_collection (to compare).

Every registered reader and writer is an attribute: ``mltrack_plugin.io.RootTracksWriter``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mltrack_plugin.registry import class_named, class_names

if TYPE_CHECKING:
    from mltrack_plugin.framework.algorithm import Reader


def open_events(path: str, format: str | None = None, **settings: Any) -> Reader:
    """A reader for ``path``, not yet initialized.

    Args:
        path: file, folder, archive or URL.
        format: name of a format; by default it is found from the content.
        settings: further settings of the reader (see its ``Config``).

    Raises:
        InputError: if there is nothing at ``path`` or its format is not recognised.
        ConfigurationError: if there is no such format, or a setting is wrong.
    """
    from mltrack_plugin.registry import find

    reader: Reader = find("reader", format or detect_format(path))(path=str(path), **settings)
    return reader


def detect_format(path: str) -> str:
    """Name of the format of a file, folder or archive, from its content.

    Raises:
        InputError: if there is nothing, nothing that any reader knows, or two readers are equally sure of it.
    """
    from mltrack_plugin.io.detect import detect_format as detect

    return detect(str(path))


def __getattr__(name: str) -> Any:
    return class_named(__name__, name, "reader", "writer")


def __dir__() -> list[str]:
    return sorted(["open_events", "detect_format", *class_names("reader", "writer")])
