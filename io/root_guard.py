"""Sizes and positions inside of a ROOT file are checked here, before uproot takes memory or goes there.

uproot asks a :class:`GuardedSource` for bytes and a :class:`BasketCheck` to unpack baskets; keys, baskets and RNTuples
(see :mod:`mltrack_plugin.io.rntuple_guard`) are compared with the length of the file and with what their compressed
blocks state.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import uproot
import xxhash
from uproot.source.chunk import Chunk
from uproot.source.fsspec import FSSpecSource
from uproot.source.futures import TrivialFuture

from mltrack_plugin.io.guarded import DamagedError, check_memory

_KEY_HEAD = struct.Struct(">ihiIhh")
_BASKET_HEAD = struct.Struct(">Hiiii")
#: Algorithm, method, packed and unpacked size (24 bits each, lowest byte first): RZip.cxx.
_BLOCK_HEAD = 9
_CHECKSUM = struct.Struct("<Q")


class Page(NamedTuple):
    """A page of an RNTuple."""

    n_bytes: int
    unpacked_bytes: int
    #: Whether its checksum stands behind it.
    has_checksum: bool
    #: RNTuple, field, page and entries, for the message.
    place: Callable[[], str]


class GuardedSource(FSSpecSource):  # type: ignore[misc]
    """Bytes of a file, asked for only where the file has some; pages with their checksums."""

    def __init__(self, file_path: str, **options: Any) -> None:
        super().__init__(file_path, **options)
        #: None where the protocol cannot tell.
        self.size: int | None = self.num_bytes
        #: Pages of the RNTuples that are open, by position.
        self.pages: dict[int, Page] = {}
        #: First entry, end and bytes in memory of the clusters of each RNTuple.
        self.cluster_bytes: dict[str, list[tuple[int, int, int]]] = {}
        #: Branches whose baskets were compared with the file, by tree.
        self.checked_branches: dict[str, set[str]] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.file_path}>"

    def check(self, start: int, stop: int) -> None:
        """Raise ``DamagedError`` unless the file has the bytes ``start`` to ``stop``."""
        if not 0 <= start <= stop or (self.size is not None and stop > self.size):
            raise DamagedError(
                f"{self.file_path} points to its bytes {start} to {stop}, but it has {self.size}; it is damaged or "
                "truncated. Copy or produce it again"
            )

    def chunk(self, start: int, stop: int) -> Chunk:
        """Bytes of the file; those of a page are verified."""
        page = self.pages.get(start)
        if page is None or stop - start != page.n_bytes:
            self.check(start, stop)
            return super().chunk(start, stop)
        behind = _CHECKSUM.size if page.has_checksum else 0
        self.check(start, stop + behind)
        stored = super().chunk(start, stop + behind).raw_data
        data = stored[: page.n_bytes]
        if behind and xxhash.xxh3_64_intdigest(data) != _CHECKSUM.unpack(bytes(stored[page.n_bytes :]))[0]:
            raise DamagedError(
                f"{page.place()}: the checksum is wrong; the file is damaged. Copy or produce it again"
            )
        check_blocks(data, page.unpacked_bytes, page.place)
        return Chunk.wrap(self, data, start)

    def chunks(self, ranges: list[tuple[int, int]], notifications: Any) -> list[Chunk]:
        """Several ranges of bytes at once."""
        for start, stop in ranges:
            self.check(start, stop)
        chunks: list[Chunk] = super().chunks(ranges, notifications)
        return chunks


class BasketCheck:
    """Executor that looks at the head of a basket before uproot unpacks it.

    Args:
        path: of the file, for messages.
        file_bytes: size of the file.
    """

    def __init__(self, path: str, file_bytes: int) -> None:
        self.path, self.file_bytes = path, file_bytes
        self._unpacked = 0

    def begin(self) -> None:
        """A new read begins: what was unpacked before is not counted."""
        self._unpacked = 0

    def submit(self, task: Callable[..., Any], *args: Any) -> Any:
        """Run a task at once; that of a basket after a look at it."""
        if len(args) == 3:
            chunk, branch, number = args
            first, last = branch.basket_entry_start_stop(number)

            def place() -> str:
                return f"{self.path}, branch {branch.name!r}, basket {number} (entries {first} to {last - 1})"

            self._unpacked += _check_basket(chunk.raw_data, int(last - first), place)
            check_memory(self._unpacked, self.file_bytes, place)
        return TrivialFuture(task(*args))


def _check_basket(data: Any, n_entries: int, place: Callable[[], str]) -> int:
    """Unpacked bytes of a basket with its key."""
    stored, _, unpacked, _, key_bytes, _ = _KEY_HEAD.unpack_from(data)
    if not (_KEY_HEAD.size + _BASKET_HEAD.size < key_bytes <= stored <= len(data)) or unpacked < 0:
        raise DamagedError(f"{place()}: its head is damaged")
    _, _, _, entries, last = _BASKET_HEAD.unpack_from(data, key_bytes - _BASKET_HEAD.size - 1)
    if entries != n_entries or not key_bytes <= last <= key_bytes + unpacked:
        raise DamagedError(
            f"{place()}: its head states {entries} entries in {last - key_bytes} bytes; it is damaged"
        )
    check_blocks(data[key_bytes:stored], unpacked, place)
    return int(unpacked + key_bytes)


def check_blocks(data: Any, unpacked: int, place: str | Callable[[], str]) -> None:
    """Compare the unpacked size that a record states with those of its compressed blocks.

    Raises:
        DamagedError: if they differ.
    """
    if len(data) == unpacked:
        return
    position = total = 0
    while position + _BLOCK_HEAD <= len(data) and total < unpacked:
        head = bytes(data[position : position + _BLOCK_HEAD])
        position += _BLOCK_HEAD + int.from_bytes(head[3:6], "little")
        total += int.from_bytes(head[6:9], "little")
    if total != unpacked or position > len(data):
        where = place if isinstance(place, str) else place()
        raise DamagedError(
            f"{where} states {unpacked} unpacked bytes, its {len(data)} packed bytes are of {total}; it is damaged"
        )


def check_key(source: GuardedSource, key: Any, place: str) -> None:
    """Compare a key with the bytes that it points to, before its object is unpacked.

    Raises:
        DamagedError: if they do not agree.
    """
    begin = key.data_cursor.index
    check_memory(key.data_uncompressed_bytes, source.size or key.data_compressed_bytes, place)
    data = source.chunk(begin, begin + key.data_compressed_bytes).raw_data
    check_blocks(data, key.data_uncompressed_bytes, place)


def check_branches(tree: Any, wanted: Iterable[str], place: str) -> None:
    """Compare the baskets of branches of a TTree with the tree and the file.

    Raises:
        DamagedError: naming the branch whose baskets do not hold the tree's entries one after the other, or share
            bytes with another basket.
    """
    source, n = tree.file.source, int(tree.num_entries)
    branches: dict[str, Any] = {}
    for name in wanted:
        branch = tree[name]
        for one in (branch, *branch.itervalues(recursive=True)):
            branches[one.object_path] = one
            if one.count_branch is not None:
                branches[one.count_branch.object_path] = one.count_branch
    positions = []
    for branch in branches.values():
        here = f"{place}, branch {branch.name!r}"
        if branch.num_baskets == 0 and n and len(branch.branches):
            continue
        edges = np.asarray(branch.entry_offsets)
        if edges[0] != 0 or (np.diff(edges) < 0).any() or edges[-1] != n:
            raise DamagedError(
                f"{here}: its baskets do not hold the tree's {n} entries in order; it is damaged"
            )
        normal = branch.num_baskets - len(branch.embedded_baskets)
        seeks, sizes = (
            np.asarray(branch.member(m)[:normal], np.int64) for m in ("fBasketSeek", "fBasketBytes")
        )
        if len(seeks) != normal or len(sizes) != normal or (sizes <= 0).any() or (seeks <= 0).any():
            raise DamagedError(f"{here}: its list of baskets is damaged")
        if normal and source.size is not None and int((seeks + sizes).max()) > source.size:
            raise DamagedError(
                f"{here}: a basket ends at byte {(seeks + sizes).max()}, the file at {source.size}"
            )
        positions.append(seeks)
    # uproot waits forever for the second of two baskets in the same place.
    seeks = np.concatenate(positions) if positions else np.empty(0, np.int64)
    if len(np.unique(seeks)) != len(seeks):
        raise DamagedError(f"{place}: two baskets lie at the same byte of the file; it is damaged")


def is_tree(tree: Any) -> bool:
    """Whether what a key led to is a TTree."""
    return isinstance(tree, uproot.TTree)
