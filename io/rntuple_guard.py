"""The description of an RNTuple is checked before uproot follows it, and its pages are registered to be verified.

Layout: ROOT's RNTuple Binary Format Specification (header, footer and page lists are "envelopes" that end with the XXH3
checksum of what is before it; a page with a checksum has it behind its bytes).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

import uproot
import xxhash

from mltrack_plugin.io.guarded import DamagedError, check_memory
from mltrack_plugin.io.root_guard import GuardedSource, Page, check_blocks

_CHECKSUM = struct.Struct("<Q")


def check_description(ntuple: Any, place: str) -> None:
    """Verify header and footer of an RNTuple.

    Raises:
        DamagedError: naming what is wrong.
    """
    source: GuardedSource = ntuple.file.source
    for name in ("Header", "Footer"):
        seek, stored, unpacked = (ntuple.member(f"f{m}{name}") for m in ("Seek", "NBytes", "Len"))
        _check_envelope(source, seek, stored, unpacked, f"{place}, {name.lower()}")


def check_clusters(ntuple: Any, place: str) -> None:
    """Verify the page lists of an RNTuple and the places and sizes of its pages, which are verified when they are read.

    Raises:
        DamagedError: naming the RNTuple, and the field, page and entries where it is a page.
    """
    source: GuardedSource = ntuple.file.source
    for k, group in enumerate(ntuple.footer.cluster_group_records):
        link = group.page_list_link
        here = f"{place}, page list {k}"
        _check_envelope(source, link.locator.offset, link.locator.num_bytes, link.env_uncomp_size, here)
    first = 0
    bits = [record.nbits for record in ntuple.column_records]
    sizes = source.cluster_bytes[ntuple.cache_key] = []
    for cluster, columns in zip(ntuple.cluster_summaries, ntuple.page_link_list, strict=True):
        if cluster.num_first_entry != first:
            raise DamagedError(
                f"{place}: a cluster begins with entry {cluster.num_first_entry}, {first} is next"
            )
        first += cluster.num_entries
        values = 0
        for column, pages in enumerate(columns):
            if not pages.suppressed:
                values += _check_pages(ntuple, source, place, cluster, column, bits[column], pages.pages)
        sizes.append((cluster.num_first_entry, first, 8 * values))


@contextlib.contextmanager
def clusters_before(ntuple: Any, stop: int) -> Iterator[None]:
    """Hide the clusters from entry ``stop`` on: where one ends there, uproot would read the next one, too."""
    clusters = ntuple.cluster_summaries
    ntuple._cluster_summaries = [c for c in clusters if c.num_first_entry < stop]
    try:
        yield
    finally:
        ntuple._cluster_summaries = clusters


def cluster_bytes(ntuple: Any, start: int, stop: int) -> int:
    """Bytes in memory of the clusters that hold the entries ``start <= i < stop``."""
    sizes = ntuple.file.source.cluster_bytes[ntuple.cache_key]
    return sum(size for first, end, size in sizes if first < stop and start < end)


def _check_envelope(source: GuardedSource, seek: int, stored: int, unpacked: int, place: str) -> None:
    size = source.size if source.size is not None else seek + stored
    check_memory(unpacked, size, place)
    chunk = source.chunk(seek, seek + stored)
    if stored != unpacked:
        check_blocks(chunk.raw_data, unpacked, place)
        cursor = uproot.source.cursor.Cursor(seek)
        chunk = uproot.compression.decompress(chunk, cursor, {}, stored, unpacked)
    data = bytes(chunk.raw_data)
    if (
        len(data) < 2 * _CHECKSUM.size
        or xxhash.xxh3_64_intdigest(data[:-8]) != _CHECKSUM.unpack(data[-8:])[0]
    ):
        raise DamagedError(f"{place}: the checksum is wrong; the file is damaged. Copy or produce it again")


def _check_pages(
    ntuple: Any,
    source: GuardedSource,
    place: str,
    cluster: Any,
    column: int,
    bits: int,
    pages: list[Any],
) -> int:
    """Values in the pages of a column of a cluster."""
    element = 0
    for k, page in enumerate(pages):
        n, locator = page.num_elements, page.locator
        describe = _page_name(ntuple, place, cluster, column, k, element, n)
        element += n
        begin, n_bytes = locator.offset, locator.num_bytes
        end = begin + n_bytes
        if source.size is not None and (n_bytes < 0 or not 0 <= begin <= end <= source.size):
            raise DamagedError(
                f"{describe()} lies at the bytes {begin} to {end} of {source.size}; the file is damaged"
            )
        unpacked = -(-n * bits // 8)
        check_memory(unpacked, source.size or end, describe)
        source.pages[begin] = Page(n_bytes, unpacked, page.has_checksum, describe)
    return element


def _page_name(
    ntuple: Any, place: str, cluster: Any, column: int, page: int, element: int, n_elements: int
) -> Callable[[], str]:
    def name() -> str:
        record = ntuple.column_records[column].field_id
        path: list[str] = []
        for _ in ntuple.field_records:
            field = ntuple.field_records[record]
            # The content of a collection is an anonymous field of this name.
            if field.field_name != "_0":
                path.append(field.field_name)
            if field.parent_field_id == record:
                break
            record = field.parent_field_id
        begin, stop = cluster.num_first_entry, cluster.num_first_entry + cluster.num_entries
        return (
            f"{place}, field {'.'.join(reversed(path))!r}, page {page} (values {element} to "
            f"{element + n_elements - 1} of the entries {begin} to {stop - 1})"
        )

    return name
