"""Damages the samples of every input format at random and prints what reading them came to.

    python benchmarks/fuzz.py --inputs 10000 --seed 1 [--formats ttree rntuple] [--json] [--keep DIR]
    python benchmarks/fuzz.py --only rntuple:4711          (one input again, with its traceback)

Every input is made from its number alone, read in a process with limits (2 GB of memory, 20 s), and counted:

    equal      read as if nothing had happened       refused    by this package's own error
    changed    read, with other values               skipped    some events by an error of their own
    traceback  any other exception                   crash      the process ended
    hang       20 s were not enough                  memory     2 GB were not enough

The last four are failures; they are listed with the numbers that make them again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.connection
import os
import resource
import shutil
import struct
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_samples import SAMPLES

from mltrack_plugin.errors import MltrackError
from mltrack_plugin.registry import available, find

SECONDS, MEMORY = 20.0, 2 * 1024**3
#: Inputs that a process reads before a fresh one takes over.
INPUTS_PER_PROCESS = 500
FAILURES = ("traceback", "crash", "hang", "memory")
OUTCOMES = ("equal", "changed", "skipped", "refused", *FAILURES)
_EXTREMES = (
    0,
    1,
    -1,
    2**7,
    2**15,
    2**31,
    2**63 - 1,
    -(2**31),
    2**24,
    255,
    65535,
    2**32 - 1,
    -(2**63),
    50_000_000,
)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three kinds of damage to a file."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if len(result) < 2:
            break
        kind = _DAMAGE[int(rng.integers(len(_DAMAGE)))]
        result = bytearray(kind(result, rng))
    return bytes(result)


def _span(data: bytearray, rng: np.random.Generator, longest: int = 256) -> tuple[int, int]:
    # Half of the damage near one of the ends, where formats keep their descriptions.
    where = rng.random()
    n = len(data)
    low, high = (0, min(n, 600)) if where < 0.25 else (max(0, n - 600), n) if where < 0.5 else (0, n)
    start = int(rng.integers(low, high))
    return start, min(n, start + int(rng.integers(1, longest + 1)))


def _flips(data: bytearray, rng: np.random.Generator) -> bytearray:
    for _ in range(int(rng.integers(1, 9))):
        data[_span(data, rng)[0]] ^= 1 << int(rng.integers(8))
    return data


def _random(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b = _span(data, rng, 16)
    data[a:b] = rng.bytes(b - a)
    return data


def _zeros(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b = _span(data, rng)
    data[a:b] = bytes(b - a)
    return data


def _cut_tail(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(0, len(data)))]


def _cut_head(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[int(rng.integers(1, min(len(data), 64))) :]


def _remove(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b = _span(data, rng)
    return data[:a] + data[b:]


def _insert(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, _ = _span(data, rng)
    return data[:a] + rng.bytes(int(rng.integers(1, 64))) + data[a:]


def _duplicate(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b = _span(data, rng, 2048)
    to = int(rng.integers(0, len(data)))
    return data[:to] + data[a:b] + data[to:]


def _copy_over(data: bytearray, rng: np.random.Generator) -> bytearray:
    a, b = _span(data, rng, 512)
    to = int(rng.integers(0, len(data) - (b - a) + 1))
    data[to : to + b - a] = data[a:b]
    return data


def _swap(data: bytearray, rng: np.random.Generator) -> bytearray:
    length = int(rng.integers(1, max(2, min(512, len(data) // 2))))
    a, b = sorted(int(v) for v in rng.integers(0, len(data) - length + 1, 2))
    b = max(b, min(a + length, len(data) - length))
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]
    return data


def _extreme(data: bytearray, rng: np.random.Generator) -> bytearray:
    width = int(rng.choice([1, 2, 4, 8]))
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))] + int(rng.integers(-2, 3))
    order = "<" if rng.random() < 0.5 else ">"
    packed = struct.pack(order + "Q", value % 2**64)
    packed = packed[:width] if order == "<" else packed[-width:]
    a, _ = _span(data, rng)
    data[a : a + width] = packed[: len(data) - a]
    return data


def _number(data: bytearray, rng: np.random.Generator) -> bytearray:
    """Another number in a text, if there is one."""
    a, _ = _span(data, rng)
    digits = b"0123456789"
    while a < len(data) and data[a] not in digits:
        a += 1
    b = a
    while b < len(data) and data[b] in digits:
        b += 1
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    text = str(value) if rng.random() < 0.8 else ["nan", "inf", "1e400", "", "x"][int(rng.integers(5))]
    return data[:a] + text.encode() + data[b:] if b > a else data


_DAMAGE = (
    _flips, _flips, _random, _zeros, _cut_tail, _cut_head, _remove, _insert, _duplicate, _copy_over, _swap,
    _extreme, _extreme, _number,
)  # fmt: skip


def damaged(original: Path, name: str, number: int, folder: Path) -> str:
    """Input ``number`` of a sample in a fresh folder; returns what was damaged."""
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(original, folder)
    rng = np.random.default_rng([number, *name.encode()])
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    chosen = files[int(rng.integers(len(files)))]
    chosen.write_bytes(mutate(chosen.read_bytes(), rng))
    return str(chosen.relative_to(folder))


def outcome(name: str, path: str, good: bytes | None) -> tuple[str, str]:
    """What reading an input comes to, and why."""
    try:
        content, errors = SAMPLES[name].read(path)
    except MltrackError as error:
        return ("memory", str(error)) if _of_memory(error) else ("refused", str(error))
    except MemoryError as error:
        return "memory", repr(error)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = next((f for f in reversed(frames) if "site-packages" not in f.filename), frames[-1])
        return "traceback", f"{type(error).__name__}: {error} at {Path(ours.filename).name}:{ours.lineno}"
    for error in errors:
        if _of_memory(error):
            return "memory", str(error)
        if not isinstance(error, MltrackError):
            return "traceback", repr(error)
    if errors:
        return "skipped", str(errors[0])
    return ("equal" if content == good else "changed"), ""


def _of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


class Reading:
    """A process that reads one input after the other within limits."""

    def __init__(self, samples: Path, scratch: Path) -> None:
        self._context = multiprocessing.get_context("fork")
        self._samples, self._scratch = samples, scratch
        self._process: Any = None

    def _start(self) -> None:
        self.stop()
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=self._serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._left = INPUTS_PER_PROCESS

    def _serve(self, pipe: multiprocessing.connection.Connection) -> None:
        with open("/proc/self/statm") as file:
            virtual = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, virtual + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        good: dict[str, bytes] = {}
        while True:
            name, number = pipe.recv()
            if name not in good:
                opened = (self._samples / name / "opened").read_text()
                good[name] = SAMPLES[name].read(str(self._samples / name / "files" / opened))[0]
            folder = self._scratch / "input"
            damaged(self._samples / name / "files", name, number, folder)
            opened = (self._samples / name / "opened").read_text()
            pipe.send(outcome(name, str(folder / opened), good[name]))

    def read(self, name: str, number: int) -> tuple[str, str]:
        """Outcome and reason of one input; one that took too long is tried again, for the machine may be busy."""
        result, reason = self._once(name, number)
        return self._once(name, number) if result == "hang" else (result, reason)

    def _once(self, name: str, number: int) -> tuple[str, str]:
        if self._process is None or self._left == 0:
            self._start()
        self._left -= 1
        self._pipe.send((name, number))
        try:
            if self._pipe.poll(SECONDS):
                result: tuple[str, str] = self._pipe.recv()
                return result
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            self.stop()
            return "crash", f"exit code {code}"
        self.stop()
        return "hang", f"more than {SECONDS:g} s"

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def make_samples(folder: Path, names: list[str]) -> None:
    """The good files, and beside them what is opened."""
    for name in names:
        files = folder / name / "files"
        files.mkdir(parents=True)
        (folder / name / "opened").write_text(SAMPLES[name].make(files))


def run(names: list[str], inputs: int, seed: int, keep: Path | None = None) -> dict[str, Any]:
    """Outcomes per format, and the failures."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    for kind in available("reader"):
        # Loaded once here, and not by every process again.
        find("reader", kind)
    counts = {name: Counter[str]() for name in names}
    failures = []
    with tempfile.TemporaryDirectory(dir=place) as text:
        root = Path(text)
        make_samples(root / "samples", names)
        reading = Reading(root / "samples", root)
        try:
            for i in range(inputs):
                name, number = names[i % len(names)], seed * 10_000_000 + i
                result, reason = reading.read(name, number)
                counts[name][result] += 1
                if result in FAILURES:
                    failures.append({"input": f"{name}:{number}", "outcome": result, "reason": reason[:300]})
                    print(*failures[-1].values(), file=sys.stderr, flush=True)
                    if keep is not None:
                        damaged(root / "samples" / name / "files", name, number, keep / f"{name}-{number}")
        finally:
            reading.stop()
    return {"counts": {n: dict(c) for n, c in counts.items()}, "failures": failures}


def show(result: dict[str, Any]) -> None:
    """Print a table and the failures."""
    print(f"{'format':22}" + "".join(f"{o:>10}" for o in OUTCOMES))
    total: Counter[str] = Counter()
    for name, counts in result["counts"].items():
        total.update(counts)
        print(f"{name:22}" + "".join(f"{counts.get(o, 0):>10}" for o in OUTCOMES))
    print(f"{'all':22}" + "".join(f"{total[o]:>10}" for o in OUTCOMES))
    for failure in result["failures"]:
        print(f"{failure['outcome']}: {failure['input']}: {failure['reason']}")


def again(text: str) -> None:
    """Read one input in this process and show its outcome."""
    name, number = text.rsplit(":", 1)
    with tempfile.TemporaryDirectory() as root:
        make_samples(Path(root), [name])
        print("damaged:", damaged(Path(root) / name / "files", name, int(number), Path(root) / "input"))
        opened = str(Path(root) / "input" / (Path(root) / name / "opened").read_text())
        content, errors = SAMPLES[name].read(opened)
        print(f"read {len(content)} bytes", *errors, sep="\n")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--formats", nargs="+", choices=[*SAMPLES], default=[*SAMPLES])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--keep", type=Path, help="folder for the inputs of the failures")
    parser.add_argument("--only", metavar="FORMAT:NUMBER", help="read one input again, without limits")
    arguments = parser.parse_args()
    if arguments.only:
        again(arguments.only)
        return 0
    result = run(arguments.formats, arguments.inputs, arguments.seed, arguments.keep)
    print(json.dumps(result, indent=1)) if arguments.json else show(result)
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
