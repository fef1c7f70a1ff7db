"""Reading and writing events, one format a file.

    open_events(path)       the reader that fits the file, or the one named by ``format``
    detect_format(path)     name of the format, from the content

Readers: root_events (own ROOT layout, and others by branch mapping), acts_root, acts_csv, trackml_csv,
trackml_parquet, colliderml, redvid_csv. What they share: reading (settings, chunks), columns (checks and
delivery), root_file and root_tables (trees), csv_table, storage (folders, archives, URLs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mltrack_plugin.framework.algorithm import Reader

#: Format name -> "module:class" of the readers that come with the package.
FORMATS = {
    "root-events": "mltrack_plugin.io.root_events:RootEventsReader",
    "acts-root": "mltrack_plugin.io.acts_root:ActsRootReader",
    "acts-csv": "mltrack_plugin.io.acts_csv:ActsCsvReader",
    "trackml-csv": "mltrack_plugin.io.trackml_csv:TrackmlCsvReader",
    "trackml-parquet": "mltrack_plugin.io.trackml_parquet:TrackmlParquetReader",
    "colliderml": "mltrack_plugin.io.colliderml:ColliderMLReader",
    "redvid-csv": "mltrack_plugin.io.redvid_csv:RedvidCsvReader",
}


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
    kind = reader_class(format or detect_format(path))
    return kind(path=str(path), **settings)


def detect_format(path: str) -> str:
    """Name of the format of a file, folder or archive, from its content.

    Raises:
        InputError: if there is nothing, or nothing that any reader of this package knows.
    """
    from mltrack_plugin.io.detect import detect_format as detect

    return detect(str(path))


def reader_class(format: str) -> type[Reader]:
    """The reader of a format: one of FORMATS, or one that another package registers as an entry point.

    Raises:
        ConfigurationError: naming the nearest formats if there is no such one.
    """
    import importlib

    from mltrack_plugin.errors import ConfigurationError, did_you_mean
    from mltrack_plugin.registry import available, find

    if format in FORMATS:
        module, name = FORMATS[format].split(":")
        kind: type[Reader] = getattr(importlib.import_module(module), name)
        return kind
    others = available("reader")
    if format in others:
        return find("reader", format)
    raise ConfigurationError(
        f"there is no input format {format!r}. {did_you_mean(format, {*FORMATS, *others})}"
    )
