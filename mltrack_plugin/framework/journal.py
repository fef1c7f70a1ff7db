"""Journal: finished chunks of a running job, kept beside the output so that a stopped job can be resumed.

The journal is a hidden directory ``.<output name>.journal``. It holds one file per finished chunk (what the
algorithms made, as arrays, written to a temporary name and renamed) and ``job.json``, the fingerprint of the
job. A resumed job gives the writers the same collections in the same order, so the output has the same bytes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mltrack_plugin.atomic import advice, sync_folder
from mltrack_plugin.errors import ConfigurationError, InputError, OutputError
from mltrack_plugin.framework.event_loop import EventResult
from mltrack_plugin.framework.packing import Packed, unpack

_log = logging.getLogger(__name__)
_CHUNK_NAME = re.compile(r"chunk-(\d+)-(\d+)\.npz")


class Journal:
    """Finished chunks of one job.

    Args:
        output: file or folder that the job writes.
    """

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self.output = Path(os.path.abspath(output))
        self.directory = self.output.with_name(f".{self.output.name}.journal")
        self._lock: BinaryIO | None = None

    def acquire(self, outputs: Iterable[str | os.PathLike[str]] = ()) -> None:
        """Lock the directory, and remove the unfinished outputs that a killed job left.

        Args:
            outputs: further files and folders that the job writes.

        Raises:
            ConfigurationError: if a running job holds it.
            OutputError: if the directory cannot be written.
        """
        with self._output_errors():
            self.directory.mkdir(exist_ok=True)
            self._take_lock()
            for output in {self.output, *(Path(os.path.abspath(path)) for path in outputs)}:
                for left in unfinished_outputs(output):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()

    def open(self, fingerprint: Mapping[str, str], resume: bool) -> int:
        """Prepare for writing chunks (call after :meth:`acquire`).

        Args:
            fingerprint: component -> text; everything that decides what the chunks hold.
            resume: keep the chunks that are there; otherwise they are deleted.

        Returns:
            Number of events in the chunks that were deleted.

        Raises:
            ConfigurationError: if ``resume`` and the chunks belong to a job with another fingerprint.
            OutputError: if the directory cannot be written.
        """
        finished = self.finished()
        if resume and finished:
            self._check_fingerprint(fingerprint)
        with self._output_errors():
            for path in self.directory.iterdir():
                if path.name.endswith(".partial") or (not resume and path.name.startswith("chunk-")):
                    path.unlink()
            text = json.dumps(dict(fingerprint), indent=1).encode()
            self._write("job.json", lambda file: file.write(text))
        return 0 if resume else sum(stop - start for start, stop in finished)

    def finished(self) -> list[tuple[int, int]]:
        """Ranges ``(start, stop)`` of event indices that are complete, ascending, without overlap."""
        try:
            names = os.listdir(self.directory)
        except OSError:
            # There is none, or there cannot be one (a name that is too long).
            return []
        found = [(int(match[1]), int(match[2])) for name in names if (match := _CHUNK_NAME.fullmatch(name))]
        ranges: list[tuple[int, int]] = []
        for start, stop in sorted(found):
            if not ranges or start >= ranges[-1][1]:
                ranges.append((start, stop))
        return ranges

    def store(self, start: int, stop: int, chunk: Packed) -> None:
        """Keep a finished chunk.

        Raises:
            OutputError: if the disk is full or the directory vanished.
        """
        header, data = (np.frombuffer(part, np.uint8) for part in (chunk.header, chunk.data))
        with self._output_errors():
            self._write(_chunk_name(start, stop), lambda file: np.savez(file, header=header, data=data))

    def load(self, start: int, stop: int) -> Packed:
        """The chunk of a range that :meth:`finished` lists.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.directory / _chunk_name(start, stop)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                return Packed(content["header"].tobytes(), content["data"].tobytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"the journal file {path} is damaged ({error})") from error

    def readable(self) -> Iterator[tuple[int, int, list[EventResult]]]:
        """Ranges of `finished` with their events; a damaged chunk is removed, with a notice, to be computed again."""
        for start, stop in self.finished():
            try:
                events = unpack(self.load(start, stop))
                if [event.index for event in events] != list(range(start, stop)):
                    raise ValueError("it holds other events than its name says")
            except (InputError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                _log.warning("events %d to %d are computed again: %s", start, stop - 1, error)
                with self._output_errors():
                    (self.directory / _chunk_name(start, stop)).unlink()
                continue
            yield start, stop, events

    def close(self, completed: bool) -> None:
        """Unlock the directory; it is removed if the job completed or nothing in it is worth keeping."""
        if self._lock is not None:
            if completed or not self.finished():
                shutil.rmtree(self.directory, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def _check_fingerprint(self, fingerprint: Mapping[str, str]) -> None:
        try:
            before = json.loads((self.directory / "job.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        for name in sorted({*before, *fingerprint}):
            was, now = before.get(name, "nothing"), fingerprint.get(name, "nothing")
            if was != now:
                raise ConfigurationError(
                    f"cannot resume: the interrupted job had another {name} (was {_short(was, now)}, "
                    f"now {_short(now, was)}). Repeat it with the same {name}, "
                    "or run without --resume to start afresh"
                )

    def _take_lock(self) -> None:
        import fcntl

        lock = (self.directory / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # File systems without locks (some network mounts) answer otherwise: go on without one.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                lock.close()
                raise ConfigurationError(
                    f"another running job writes {str(self.output)!r} (it holds {self.directory}); "
                    "wait for it or stop it"
                ) from error
        self._lock = lock

    @contextlib.contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"cannot keep the journal {self.directory}: {advice(error)}") from error

    def _write(self, name: str, fill: Callable[[BinaryIO], object]) -> None:
        partial = self.directory / f"{name}.partial"
        try:
            with partial.open("wb") as file:
                fill(file)
                # In this order, so that after a power cut a name stands for complete content.
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.directory / name)
            sync_folder(self.directory)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


def unfinished_outputs(output: Path) -> list[Path]:
    """Temporary files of other processes for this output, named as in :mod:`mltrack_plugin.atomic`."""
    pattern = re.compile(rf"\.{re.escape(output.name[:200])}\.(\d+)-[0-9a-f]+\.part")
    found = []
    for path in output.parent.iterdir():
        if (match := pattern.fullmatch(path.name)) and int(match[1]) != os.getpid():
            found.append(path)
    return sorted(found)


def input_identity(source: str) -> str:
    """Names the state of an input: path, size and modification time of every file in it.

    Sources that are not local files (remote URLs, generated events) are identified by their text.
    """
    path = Path(source)
    if not path.exists():
        return source
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        state = file.stat()
        digest.update(f"{file.relative_to(path)}|{state.st_size}|{state.st_mtime_ns}\n".encode())
    return f"{path.resolve()} (state {digest.hexdigest()[:16]})"


def _chunk_name(start: int, stop: int) -> str:
    return f"chunk-{start:09d}-{stop:09d}.npz"


def _short(text: str, other: str, width: int = 60) -> str:
    """The part of ``text`` around its first difference from ``other``."""
    pairs = enumerate(zip(text, other, strict=False))
    differs = next((i for i, (a, b) in pairs if a != b), min(len(text), len(other)))
    start = max(0, min(differs - width // 3, len(text) - width))
    part = text[start : start + width]
    return f"{'...' if start else ''}{part}{'...' if start + width < len(text) else ''}"
