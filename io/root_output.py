"""ROOT files whose bytes depend on their content only, as TTrees or RNTuples.

Two properties of uproot would make two files with the same content differ: it stamps keys and directories
with the time of day, and it gives every file a UUID made from time and host. Here the clock stands still
while uproot writes, and the UUID is derived from the content (not constant: readers, uproot among them,
use it as a cache key).
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot
import uproot.writing._cascade
import uproot.writing._cascadentuple
import uproot.writing._cascadetree
import uproot.writing.writable

from mltrack_plugin.atomic import AtomicFile, output_errors
from mltrack_plugin.errors import OutputError

#: How a table is stored: the classic TTree, or RNTuple (ROOT 6.34 and later).
Container = Literal["ttree", "rntuple"]

#: Name of the table with key/value text pairs about the job.
META = "meta"

#: The date in every key: the first that ROOT's TDatime can express.
_EPOCH = datetime.datetime(1995, 1, 1)
#: Stands in for the UUID until the content is known; any 16 bytes that occur nowhere else.
_PROVISIONAL = uuid.UUID("5ca1ab1e-0ddb-4a11-8bad-f00dfacade55")
_MODULES = (
    uproot.writing._cascade,
    uproot.writing._cascadentuple,
    uproot.writing._cascadetree,
    uproot.writing.writable,
)
_LOCK = threading.RLock()


class Column(NamedTuple):
    """Type of a column; with ``counter`` one list per event, whose length is the column of that name."""

    dtype: str
    counter: str | None = None


class _Clock(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _EPOCH


@contextlib.contextmanager
def _clock_stands_still() -> Iterator[None]:
    """uproot's writing modules see a constant time; nothing else in the process does."""
    with _LOCK:
        for module in _MODULES:
            module.datetime = SimpleNamespace(datetime=_Clock)
        try:
            yield
        finally:
            for module in _MODULES:
                module.datetime = datetime


class RootTable:
    """One TTree or RNTuple that grows by chunks of entries."""

    def __init__(self, path: Path, handle: Any, columns: Mapping[str, Column]) -> None:
        self._path = path
        self._handle = handle
        self._columns = dict(columns)

    def extend(self, values: Mapping[str, npt.NDArray[Any]], counts: Mapping[str, npt.NDArray[Any]]) -> None:
        """Append entries (one basket per branch, one cluster).

        Args:
            values: every column without its counters; jagged ones flattened over the entries.
            counts: (n_entries,) list lengths by counter name.

        Raises:
            OutputError: if the disk is full and the like.
        """
        offsets = {name: np.concatenate([[0], np.cumsum(n, dtype=np.int64)]) for name, n in counts.items()}
        data: dict[str, Any] = {name: np.asarray(n, dtype=np.int32) for name, n in counts.items()}
        for name, column in self._columns.items():
            if name in counts:
                continue
            flat = np.ascontiguousarray(values[name], dtype=column.dtype)
            if column.counter is None:
                data[name] = flat
            else:
                # Built from its buffers: the data type stays what it is, also for lists that are all empty.
                index = ak.index.Index64(offsets[column.counter])
                data[name] = ak.Array(ak.contents.ListOffsetArray(index, ak.contents.NumpyArray(flat)))
        with output_errors(self._path), _clock_stands_still():
            self._handle.extend(data)


class RootFile:
    """A ROOT file under a temporary name until :meth:`commit`.

    Args:
        path: the final name.
        container: kind of every table in the file.
        overwrite: replace an existing file.

    Raises:
        OutputError: if the output exists or cannot be written.
    """

    def __init__(self, path: Path | str, *, container: Container = "ttree", overwrite: bool = False) -> None:
        self._atomic = AtomicFile(path, overwrite=overwrite)
        self.path = self._atomic.path
        self.container = container
        try:
            with output_errors(self.path), _clock_stands_still():
                # An open file instead of its name: uproot would store the (temporary) name in the file.
                # Zstandard is four times faster than uproot's default zlib on track parameters.
                self._root = uproot.recreate(
                    self._atomic.file, compression=uproot.ZSTD(1), uuid_function=lambda: _PROVISIONAL
                )
        except BaseException:
            self.abort()
            raise

    def table(self, name: str, columns: Mapping[str, Column]) -> RootTable:
        """Create an empty table; counters are added for the jagged columns.

        Raises:
            OutputError: if the disk is full and the like.
        """
        counters = dict.fromkeys(c.counter for c in columns.values() if c.counter is not None)
        full = {k: c for k, c in columns.items() if c.counter is None}
        full |= {counter: Column("i4") for counter in counters}
        full |= {k: c for k, c in columns.items() if c.counter is not None}
        types: dict[str, Any] = {}
        for key, column in full.items():
            dtype = np.dtype(column.dtype)
            types[key] = (
                dtype if column.counter is None else ak.types.ListType(ak.types.NumpyType(dtype.name))
            )
        with output_errors(self.path), _clock_stands_still():
            if self.container == "rntuple":
                handle = self._root.mkrntuple(name, types)
            else:
                handle = self._root.mktree(name, types, counter_name=lambda branch: full[branch].counter)
        return RootTable(self.path, handle, full)

    def write_meta(self, info: Mapping[str, str]) -> None:
        """Write the ``meta`` table: one entry per key/value pair, keys sorted.

        A TTree stores ``key`` and ``value`` as UTF-8 bytes (jagged uint8), an RNTuple as strings.

        Args:
            info: at least one pair.

        Raises:
            OutputError: if the disk is full and the like.
        """
        columns = dict(zip(("key", "value"), zip(*sorted(info.items()), strict=True), strict=True))
        if self.container == "rntuple":
            with output_errors(self.path), _clock_stands_still():
                self._root.mkrntuple(META, {name: ak.Array(list(texts)) for name, texts in columns.items()})
            return
        table = self.table(META, {name: Column("u1", f"n_{name}") for name in columns})
        encoded = {name: [text.encode() for text in texts] for name, texts in columns.items()}
        table.extend(
            {name: np.frombuffer(b"".join(texts), np.uint8) for name, texts in encoded.items()},
            {f"n_{name}": np.array([len(text) for text in texts]) for name, texts in encoded.items()},
        )

    def commit(self) -> None:
        """Complete the file and give it its final name; on failure nothing is left.

        Raises:
            OutputError: if the disk is full and the like.
        """
        try:
            with output_errors(self.path):
                self._identify()
            self._atomic.commit()
        except BaseException:
            self.abort()
            raise

    def _identify(self) -> None:
        """Replace the provisional UUID (file header and root directory) by one made from the content."""
        file, digest = self._atomic.file, hashlib.sha256()
        file.seek(0)
        while block := file.read(1 << 20):
            digest.update(block)
        identity = uuid.UUID(bytes=digest.digest()[:16], version=5)
        file.seek(0)
        head = file.read(512)
        if head.count(_PROVISIONAL.bytes) != 2:
            raise OutputError(
                f"cannot write {str(self.path)!r}: uproot {uproot.__version__} lays the file header out in a "
                "way that this package does not know; install another version of uproot"
            )
        file.seek(0)
        file.write(head.replace(_PROVISIONAL.bytes, identity.bytes))

    def abort(self) -> None:
        """Remove what was written; harmless after :meth:`commit`."""
        self._atomic.abort()
